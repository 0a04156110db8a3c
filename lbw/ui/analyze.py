"""The panel *Analyze*: which blocks of a LoRA change the picture, how much and where, and what to do with it."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from lbw.analysis.analysis_session import AnalysisSession
from lbw.analysis.effective_blocks import Sample
from lbw.analysis.groups import apart
from lbw.analysis.request import AnalysisRequest
from lbw.analysis.sessions import Sessions
from lbw.analysis.tuner_start import from_suggestion
from lbw.core.errors import LbwError, WeightsError
from lbw.core.numbers import parse_number
from lbw.core.presets import check_name
from lbw.core.texts import t

from .analyze_controls import MODES, PAINTED, AnalyzeControls
from .analyze_views import (
    block_view,
    messages_view,
    progress_view,
    prompt_with,
    results_view,
    sheet_view,
    tag_with,
)
from .gradio_versions import Updates, Values, listen, on_page_load
from .markup import BAD, REMARK, data_uri, message_view
from .mask_painter import painted_mask, painter_view
from .page_grid import page_grid
from .panel_host import PanelHost
from .presets import PresetsPanel
from .tuner import TunerPanel

_LOOK = 0.25
"""Seconds between updates of a running analysis."""
_BEAT = 2.0
"""Seconds after which the page gets an update even without news: servers of Gradio 3 close silent connections."""
_REST = 8
"""The pause between two drawings of the grid, in multiples of the time that one takes: rendering has priority."""


class AnalyzePanel(AnalyzeControls):
    """The analyzer panel, within the current page: a view of the server's sessions.

    It shows the latest analysis, whoever started it, and does so again when the page is reloaded.
    """

    def __init__(self, host: PanelHost, sessions: Sessions, presets: PresetsPanel, tuner: TunerPanel) -> None:
        super().__init__(host)
        self.host = host
        self.sessions = sessions
        self.presets = presets
        self.tuner = tuner
        self._folder = tempfile.TemporaryDirectory(prefix="lbw-analysis-")
        self._wire()

    def _wire(self) -> None:
        shown = {self.shown_source, self.is_masked}
        on_page_load(self._opened, {self.lora, *self.views})
        listen(self.lora.input, self._tagged, {self.prompt, self.lora}, {self.prompt})
        asked = {*self.fields.values(), self.painted, *shown}
        listen(self.start.click, self._analyze, asked, self.views, queue=True)
        listen(self.stop.click, self._stop, outputs={self.progress})
        listen(self.earlier.input, self._reopened, {self.earlier}, {*self.fields.values(), *self.views})
        sorted_again = {self.low, self.high, self.table, self.chart, self.files}
        for slider in (self.low, self.high):
            listen(slider.input, self._sorted, {self.low, self.high}, sorted_again)
        listen(self.automatic.click, self._automatic, outputs=sorted_again)
        listen(self.pick.input, self._picked, {self.pick, self.shown_source}, {self.block, self.large})
        listen(self.block.input, self._block_shown, {self.block, self.shown_source}, {self.large})
        listen(self.shown_source.input, self._source_shown, {self.block, *shown}, {self.large, self.grid, self.mask})
        listen(self.is_masked.change, self._masked, shown, {self.mask_part, self.mask})
        listen(self.to_tuner.click, self._to_tuner, self.tuner.inputs, {self.message, *self.tuner.outputs})
        saved = {self.name, *self.presets.inputs}
        listen(self.save.click, self._save, saved, {self.message, *self.presets.outputs})
        listen(self.open_folder.click, self._open_folder, outputs={self.message})
        sent = listen(self.send_tag.click, self._tag, outputs={self.message, self.tag})
        listen(sent.then, None, {self.tag}, js="lbwPrompt.insertTag")

    @property
    def latest(self) -> AnalysisSession | None:
        """The analysis that is shown."""
        return self.sessions.latest

    # Analyses ------------------------------------------------------------------------------------

    def _analyze(self, values: Values) -> Iterator[Updates]:
        """Start an analysis, or follow the running one; yield updates of the page."""
        shown, message = values[self.shown_source], ""
        session = self.latest
        if session is None or session.over.is_set():
            try:
                session = self._started(values, session)
            except LbwError as error:
                yield {self.message: message_view(str(error), BAD)}
                return
        else:
            message = message_view(t("This analysis was already running; press Stop to end it."), REMARK)
        yield {self.message: message, self.progress: progress_view(session)}
        drawn, next_drawing, before, told = 0, 0.0, "", time.monotonic()
        while not session.over.wait(_LOOK):
            progress = progress_view(session)
            if time.monotonic() - told > _BEAT:
                before = ""
            if session.version != drawn and time.monotonic() >= next_drawing:
                drawn, began = session.version, time.monotonic()
                updates = self._running_views(session, message, shown)
                next_drawing = time.monotonic() + max(_LOOK, _REST * (time.monotonic() - began))
                yield updates
            elif progress != before:
                yield {self.message: message, self.progress: progress}
            else:
                continue
            before, told = progress, time.monotonic()
        yield self._views(session, shown, values[self.is_masked])
        # Gradio sends the last update twice: it must not contain the pictures or overwrite fields edited meanwhile.
        yield {self.progress: gr.update()}

    def _started(self, values: Values, before: AnalysisSession | None) -> AnalysisSession:
        """Start the analysis that the fields describe.

        Raises:
            LbwError: a field is not valid.
        """
        given = {name: values[control] for name, control in self.fields.items()}
        given["mode"] = MODES[given["mode"]]
        if not values[self.is_masked]:
            given["region"] = ""
        elif not given["region"].strip():
            given["mask"] = painted_mask(values[self.painted])
        request = AnalysisRequest.read(given)
        if before is not None and (before.asked.prompt, before.request.mode) == (request.prompt, request.mode):
            request = replace(request, needed=before.request.needed, not_needed=before.request.not_needed)
        session = self.sessions.start(request)
        assert isinstance(session, AnalysisSession)
        return session

    def _tagged(self, values: Values) -> Updates:
        prompt, name = values[self.prompt] or "", values[self.lora]
        return {self.prompt: prompt_with(prompt, name) if name else prompt}

    def _stop(self) -> Updates:
        session = self.latest
        if session is None or session.over.is_set():
            return {self.progress: message_view(t("Nothing is running."), REMARK)}
        session.stop()
        return {self.progress: progress_view(session)}

    def _reopened(self, values: Values) -> Updates:
        """Show an earlier analysis, and fill the fields with its request."""
        try:
            found = self.sessions.get(str(values[self.earlier] or ""))
            if not isinstance(found, AnalysisSession):
                raise WeightsError(t("This analysis no longer exists"))
        except LbwError as error:
            return {self.message: message_view(str(error), BAD)}
        session = self.sessions.show(found)
        asked = {
            name: "\n".join(value) if isinstance(value, list) else value
            for name, value in session.request.plain().items()
        }
        fields = {control: asked[name] for name, control in self.fields.items() if name != "mode"}
        mode = next(label for label, mode in MODES.items() if mode == session.request.mode)
        return {**fields, self.mode: mode, **self._views(session, None, is_masked=False)}

    # Thresholds ----------------------------------------------------------------------------------

    def _sorted(self, values: Values) -> Updates:
        session = self.latest
        low, high = (parse_number(str(values[slider])) for slider in (self.low, self.high))
        if session is None or low is None or high is None:
            return {self.table: gr.update()}
        session.sort(low, max(low, high))
        return self._sorted_views(session)

    def _automatic(self) -> Updates:
        session = self.latest
        if session is None:
            return {self.table: gr.update()}
        session.sort(None, None)
        return {**self._sliders(session), **self._sorted_views(session)}

    def _sorted_views(self, session: AnalysisSession) -> Updates:
        return {
            self.table: results_view(session),
            self.chart: sheet_view(session.chart(), "bar chart", is_photo=False),
            self.files: self._downloads(session),
        }

    # One block -----------------------------------------------------------------------------------

    def _picked(self, values: Values) -> Updates:
        label = (values[self.pick] or "").rpartition("\n")[0]
        if self.latest is None or label not in _labels(self.latest):
            return {self.block: gr.update()}
        return {self.block: label, self.large: self._block_view(label, values[self.shown_source])}

    def _block_shown(self, values: Values) -> Updates:
        return {self.large: self._block_view(values[self.block], values[self.shown_source])}

    def _block_view(self, label: str | None, shown: Any) -> str:
        session = self.latest
        return block_view(session, label, _sample(session, shown)) if session is not None and label else ""

    def _source_shown(self, values: Values) -> Updates:
        session, shown = self.latest, values[self.shown_source]
        return {
            self.large: self._block_view(values[self.block], shown),
            self.grid: _grid(session, shown) if session else "",
            self.mask: _source(session, shown, values[self.is_masked]),
        }

    def _masked(self, values: Values) -> Updates:
        is_masked = bool(values[self.is_masked])
        return {
            self.mask_part: gr.update(visible=is_masked),
            self.mask: _source(self.latest, values[self.shown_source], is_masked),
        }

    # What to do with it --------------------------------------------------------------------------

    def _found(self) -> AnalysisSession:
        """Return the latest analysis.

        Raises:
            WeightsError: there is none, or it found nothing.
        """
        session = self.latest
        if session is None or not session.suggestion.verdicts:
            raise WeightsError(t("There is no suggestion yet: press Analyze"))
        return session

    def _to_tuner(self, values: Values) -> Updates:
        try:
            session = self._found()
            tuner = from_suggestion(session.suggestion, session.prepared.architecture, touched=session.touched)
        except LbwError as error:
            return {self.message: message_view(str(error), BAD)}
        groups = apart((choice.blocks for choice in session.settings.choices), tuner.blocks)
        begun = self.tuner.begun(replace(tuner, seed=session.request.seed, groups=groups), values, session.request)
        return {**begun, self.message: message_view(t("The tuner starts with this suggestion: open its tab."))}

    def _save(self, values: Values) -> Updates:
        try:
            session = self._found()
            name = check_name(values[self.name] or "")
        except LbwError as error:
            return {self.message: message_view(str(error), BAD)}
        updates = self.presets.with_preset(name, _weights(session), values, is_saved=True)
        return {**updates, self.message: updates[self.presets.message]}

    def _tag(self) -> Updates:
        try:
            session = self._found()
        except LbwError as error:
            return {self.message: message_view(str(error), BAD), self.tag: ""}
        tag = tag_with(session.request.prompt, _weights(session))
        message = t("The tag is below, ready to copy.") if tag else t("The prompt has no tag with XYZ.")
        return {self.message: message_view(message, REMARK), self.tag: tag}

    def _open_folder(self) -> Updates:
        session = self.latest
        if session is None or session.folder is None or not session.files:
            return {self.message: message_view(t("There are no results yet: press Analyze."), REMARK)}
        try:
            self.host.open_folder(session.folder)
        except LbwError as error:
            return {self.message: message_view(str(error), BAD)}
        return {self.message: message_view(t("The folder opens on the machine where the server is running."))}

    # Updates -------------------------------------------------------------------------------------

    def _opened(self) -> Updates:
        try:
            names = {self.lora: gr.update(choices=self.host.loras()), **self._earlier()}
        except LbwError as error:
            return {self.message: message_view(str(error), BAD)}
        session = self.latest
        if session is None:
            return names
        if session.over.is_set():
            return {**names, **self._views(session, None, is_masked=False)}
        message = message_view(t("An analysis is running: press Analyze to follow it."), REMARK)
        return {**names, **self._running_views(session, message, None)}

    def _running_views(self, session: AnalysisSession, message: str, shown: Any) -> Updates:
        """Return updates that show the results so far."""
        return {
            self.message: message,
            self.progress: progress_view(session),
            self.table: results_view(session),
            self.grid: _grid(session, shown),
            self.found: gr.update(visible=bool(session.results)),
            **self._sliders(session),
            **self._choices(session, shown),
        }

    def _views(self, session: AnalysisSession, shown: Any, is_masked: bool) -> Updates:
        """Return updates that show an analysis that has ended."""
        message = messages_view(session.messages)
        if not any(result.changes for result in session.results):
            return {self.message: message, self.progress: progress_view(session)}
        return {
            **self._running_views(session, message, shown),
            self.chart: sheet_view(session.chart(), "bar chart", is_photo=False),
            self.large: "",
            self.folder: str(session.folder or ""),
            self.files: self._downloads(session),
            self.name: session.preset_name,
            self.mask: _source(session, shown, is_masked),
            **self._earlier(),
        }

    def _earlier(self) -> Updates:
        return {self.earlier: gr.update(choices=[one.id for one in self.sessions.earlier()], value=None)}

    def _sliders(self, session: AnalysisSession) -> Updates:
        """Return updates of the thresholds: their values and ranges."""
        suggestion = session.suggestion
        largest = max([result.mean or 0.0 for result in session.results] + [suggestion.high, 0.01])
        top = round(largest * 1.05, 3)
        pairs = ((self.low, suggestion.low), (self.high, suggestion.high))
        return {slider: gr.update(maximum=top, value=round(value, 3)) for slider, value in pairs}

    def _choices(self, session: AnalysisSession, shown: Any) -> Updates:
        samples = [session.settings.label(sample) for sample in session.settings.samples]
        label = session.settings.label(_sample(session, shown))
        return {
            self.block: gr.update(choices=_labels(session)),
            self.shown_source: gr.update(choices=samples, value=label),
        }

    def _downloads(self, session: AnalysisSession) -> Any:
        """Return copies of the results: Gradio does not serve files from other folders."""
        folder = Path(self._folder.name)
        for old in folder.iterdir():
            old.unlink(missing_ok=True)
        copies = [shutil.copy(file, folder / file.name) for file in session.files if file.is_file()]
        return [str(copy) for copy in copies] or None


def analyze_panel(host: PanelHost, sessions: Sessions, presets: PresetsPanel, tuner: TunerPanel) -> AnalyzePanel:
    """Add the analyzer to the current page."""
    return AnalyzePanel(host, sessions, presets, tuner)


def _labels(session: AnalysisSession) -> list[str]:
    return [result.choice.label for result in session.results]


def _sample(session: AnalysisSession, shown: Any) -> Sample:
    """Return the source with this label; the first one if the session does not have it."""
    samples = session.settings.samples
    return next((sample for sample in samples if session.settings.label(sample) == shown), samples[0])


def _grid(session: AnalysisSession, shown: Any) -> str:
    words = f"grid of {session.lora}: difference, heat map, changed, source"
    return sheet_view(page_grid(session, _sample(session, shown)), words)


def _source(session: AnalysisSession | None, shown: Any, is_masked: bool) -> Any:
    """Return an update of the picture for painting the mask: the source that is shown, if it exists."""
    if session is None or session.request.is_quick or not is_masked:
        return gr.update()
    source = session.analysis.store.load(session.analysis.sources[_sample(session, shown)])
    if source is None:
        return gr.update()
    return painter_view(data_uri(Image.fromarray(source.pictures[0])), PAINTED)


def _weights(session: AnalysisSession) -> str:
    return session.suggestion.preset("X").partition(":")[2]
