"""The panel *Analyze*: which blocks of a LoRA change the picture, how much and where, and what to do with it."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from lbw.analysis.cells import whole_number
from lbw.analysis.groups import apart
from lbw.analysis.measure import rectangle_mask
from lbw.analysis.tuner_start import from_suggestion
from lbw.core.errors import LbwError, WeightsError
from lbw.core.limits import SEEDS
from lbw.core.numbers import parse_number
from lbw.core.presets import check_name

from .analyze_controls import PAINTED, QUICK, AnalyzeControls
from .analyze_run import Run, going_on, preset_name
from .analyze_views import (
    block_view,
    progress_view,
    prompt_with,
    results_view,
    sheet_view,
    tag_with,
    words_view,
)
from .analyzer_host import AnalyzerHost
from .gradio_versions import listen, on_page_load
from .markup import BAD, REMARK, data_uri, message
from .mask_painter import painted_mask, painter_view
from .picture_fields import PictureFields
from .presets import PresetsPanel
from .tuner import TunerPanel

_LOOK = 0.25
"""Seconds between two looks at a running analysis."""
_BEAT = 2.0
"""Seconds after which the page hears something even if nothing is new: servers of Gradio 3 close silent connections."""
_REST = 8
"""How much longer than a drawing of the grid takes the next one is waited for: the pictures come first."""


class AnalyzePanel(AnalyzeControls):
    """The analyzer, within the page that is being built.

    It runs one analysis at a time and keeps the latest; a page that is opened anew shows it.
    """

    def __init__(self, host: AnalyzerHost, presets: PresetsPanel, tuner: TunerPanel) -> None:
        super().__init__(host)
        self.host = host
        self.presets = presets
        self.tuner = tuner
        self.latest: Run | None = None
        self._starting = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="lbw-analysis-")
        self._wire()

    def _wire(self) -> None:
        question = [
            self.mode, self.prompt, self.negative, self.seed, self.steps, self.width, self.height, self.cfg,
            self.sampler, self.span, self.blocks, self.seeds, self.threshold, self.background, self.swap,
            self.rectangle, self.is_masked, self.painted, self.shown_seed,
        ]  # fmt: skip
        on_page_load(self._opened, [self.lora, *self.views])
        listen(self.lora.input, _tagged, [self.prompt, self.lora], [self.prompt])
        listen(self.start.click, self._analyze, question, self.views, queue=True)
        listen(self.stop.click, self._stop, [], [self.progress])
        sorted_again = [self.table, self.chart, self.files]
        for slider in (self.low, self.high):
            listen(slider.input, self._sorted, [self.low, self.high], sorted_again)
        listen(self.automatic.click, self._automatic, [], [self.low, self.high, *sorted_again])
        listen(self.pick.input, self._picked, [self.pick, self.shown_seed], [self.block, self.large])
        listen(self.block.input, self._block_view, [self.block, self.shown_seed], [self.large])
        listen(
            self.shown_seed.input, self._seed_views, [self.block, self.shown_seed, self.is_masked],
            [self.large, self.grid, self.mask],
        )  # fmt: skip
        listen(self.is_masked.change, self._masked, [self.is_masked, self.shown_seed], [self.mask_part, self.mask])
        listen(self.to_tuner.click, self._to_tuner, self.tuner.inputs, [self.message, *self.tuner.outputs])
        listen(
            self.save.click, self._save, [self.name, self.presets.text, self.presets.known],
            [self.message, *self.presets.outputs],
        )  # fmt: skip
        listen(self.open_folder.click, self._open_folder, [], [self.message])
        sent = listen(self.send_tag.click, self._tag, [], [self.message, self.tag])
        listen(sent.then, None, [self.tag], [], js="lbwPrompt.insertTag")

    # Analyses ------------------------------------------------------------------------------------

    def _analyze(self, *fields: Any) -> Iterator[list[Any]]:
        """Start an analysis, or follow the one that runs; yield what the page shows of it."""
        shown_seed = fields[-1]
        said = ""
        with self._starting:
            run = self.latest
            if run is None or run.over.is_set():
                try:
                    run = self._new(run, *fields[:-1])
                except LbwError as error:
                    yield self._only(message(str(error), BAD))
                    return
                self.latest = run
                run.start()
            else:
                said = message("This analysis was running already; Stop ends it.", REMARK)
        yield self._only(said, progress_view(run))
        drawn, next_drawing, before, told = 0, 0.0, "", time.monotonic()
        while not run.over.wait(_LOOK):
            progress = progress_view(run)
            if time.monotonic() - told > _BEAT:
                before = ""
            if run.version != drawn and time.monotonic() >= next_drawing:
                drawn, began = run.version, time.monotonic()
                views = self._running_views(run, said, shown_seed)
                next_drawing = time.monotonic() + max(_LOOK, _REST * (time.monotonic() - began))
                yield views
            elif progress != before:
                yield self._only(said, progress)
            else:
                continue
            before, told = progress, time.monotonic()
        yield self._views(run, shown_seed, is_masked=fields[-3])
        # Gradio sends what comes last once more: not the pictures, and not over what was typed meanwhile.
        yield [gr.update() for _ in self.views]

    def _new(
        self, before: Run | None, mode: str, prompt: str, negative: str, seed: Any, steps: Any, width: Any, height: Any,
        cfg: Any, sampler: str | None, span: str, blocks: str, seeds: str, threshold: str, background: str, swap: bool,
        rectangle: str, is_masked: bool, painted: str,
    ) -> Run:  # fmt: skip
        """Return the analysis that the fields describe, not begun.

        Raises:
            LbwError: a field cannot be understood.
        """
        picture = PictureFields.question(
            whole_number(seed, "Seed", -1, 2**32 - 2), prompt, negative, steps, width, height, cfg, sampler
        )
        question = replace(
            picture,
            span=span or "",
            blocks=blocks or "",
            seeds=str(whole_number(seeds, "number of seed", 1, SEEDS)),
            threshold=str(whole_number(threshold, "difference threshold", 0, 255)),
            background=background,
            swap_axes=bool(swap),
            mask=_mask(rectangle or "", painted, width, height) if is_masked else None,
        )
        is_quick = mode == QUICK
        run = Run(self.host, going_on(question, is_quick, before), is_quick)
        if before is not None and before.question.prompt == question.prompt and before.is_quick == is_quick:
            run.low, run.high = before.low, before.high
        return run

    def _stop(self) -> str:
        run = self.latest
        if run is None or run.over.is_set():
            return message("Nothing runs.", REMARK)
        run.stop()
        return progress_view(run)

    # Thresholds ----------------------------------------------------------------------------------

    def _sorted(self, low: Any, high: Any) -> list[Any]:
        run = self.latest
        if run is None or not run.results or parse_number(str(low)) is None or parse_number(str(high)) is None:
            return [gr.update()] * 3
        run.low, run.high = float(low), max(float(low), float(high))
        return self._sorted_views(run)

    def _automatic(self) -> list[Any]:
        run = self.latest
        if run is None or not run.results:
            return [gr.update()] * 5
        run.low = run.high = None
        return [*_sliders(run), *self._sorted_views(run)]

    def _sorted_views(self, run: Run) -> list[Any]:
        if run.over.is_set():
            run.write(with_grids=False)
        return [results_view(run), sheet_view(run.chart(), "bar chart", is_photo=False), self._downloads(run)]

    # One block -----------------------------------------------------------------------------------

    def _picked(self, picked: str, seed: Any) -> list[Any]:
        label = (picked or "").rpartition("\n")[0]
        if self.latest is None or label not in _labels(self.latest):
            return [gr.update(), gr.update()]
        return [label, self._block_view(label, seed)]

    def _block_view(self, label: str | None, seed: Any) -> str:
        run = self.latest
        return block_view(run, label, _seed(run, seed)) if run is not None and label else ""

    def _seed_views(self, label: str | None, seed: Any, is_masked: bool) -> list[Any]:
        run = self.latest
        return [self._block_view(label, seed), _grid(run, seed) if run else "", _source(run, seed, is_masked)]

    def _masked(self, is_masked: bool, seed: Any) -> list[Any]:
        return [gr.update(visible=bool(is_masked)), _source(self.latest, seed, is_masked)]

    # What to do with it --------------------------------------------------------------------------

    def _found(self) -> Run:
        """Return the latest analysis.

        Raises:
            WeightsError: there is none, or it found nothing.
        """
        run = self.latest
        if run is None or run.prepared is None or not run.suggestion.verdicts:
            raise WeightsError("There is no suggestion yet: press Analyze")
        return run

    def _to_tuner(self, *values: Any) -> list[Any]:
        try:
            run = self._found()
            assert run.prepared
            analysis = run.prepared.analysis
            tuner = from_suggestion(run.suggestion, analysis.architecture)
        except LbwError as error:
            return [message(str(error), BAD), *[gr.update() for _ in self.tuner.outputs]]
        seed = analysis.settings.seeds[0]
        groups = apart((choice.blocks for choice in analysis.settings.choices), tuner.blocks)
        begun = self.tuner.begun(replace(tuner, seed=seed, groups=groups), values, run.question)
        return [message("The tuner begins with this suggestion: open its tab."), *begun]

    def _save(self, name: str, text: str, known: Any) -> list[Any]:
        try:
            run = self._found()
            name = check_name(name or "")
            return self.presets.with_preset(name, _weights(run), text, known, is_saved=True)
        except LbwError as error:
            return [message(str(error), BAD), *[gr.update() for _ in self.presets.outputs]]

    def _tag(self) -> list[Any]:
        try:
            run = self._found()
        except LbwError as error:
            return [message(str(error), BAD), ""]
        tag = tag_with(run.question.prompt, _weights(run))
        return [message("The tag is below, to copy." if tag else "The prompt has no tag with XYZ.", REMARK), tag]

    def _open_folder(self) -> str:
        run = self.latest
        if run is None or run.prepared is None or not run.files:
            return message("There are no results yet: press Analyze.", REMARK)
        try:
            self.host.open_folder(run.prepared.stem.parent)
        except LbwError as error:
            return message(str(error), BAD)
        return message("The folder opens on the machine that the server runs on.")

    # Updates -------------------------------------------------------------------------------------

    def _opened(self) -> list[Any]:
        try:
            names = gr.update(choices=self.host.loras())
        except LbwError as error:
            return [gr.update(), *self._only(message(str(error), BAD))]
        run = self.latest
        if run is None:
            return [names, *[gr.update() for _ in self.views]]
        if run.over.is_set():
            return [names, *self._views(run, None, is_masked=False)]
        said = message("An analysis is running: press Analyze to follow it.", REMARK)
        return [names, *self._running_views(run, said, None)]

    def _only(self, said: str, progress: Any = None) -> list[Any]:
        shown = gr.update() if progress is None else progress
        return [said, shown, *[gr.update() for _ in self.views[2:]]]

    def _running_views(self, run: Run, said: str, seed: Any) -> list[Any]:
        """Return updates that show what is there while more comes."""
        views = [
            said, progress_view(run), results_view(run), gr.update(), _grid(run, seed), *_sliders(run),
            *_choices(run, seed), gr.update(), gr.update(), gr.update(), gr.update(), gr.update(), _shown(run),
        ]  # fmt: skip
        assert len(views) == len(self.views)
        return views

    def _views(self, run: Run, seed: Any, is_masked: bool) -> list[Any]:
        """Return updates that show an analysis that is over."""
        if run.prepared is None:
            return self._only(words_view(run.said), "")
        is_found = bool(run.results)
        views = [
            words_view(run.said), progress_view(run), results_view(run),
            sheet_view(run.chart(), "bar chart", is_photo=False) if is_found else "", _grid(run, seed), *_sliders(run),
            *_choices(run, seed), "", str(run.prepared.stem.parent), self._downloads(run),
            preset_name(run.prepared.lora), _source(run, seed, is_masked), _shown(run),
        ]  # fmt: skip
        assert len(views) == len(self.views)
        return views

    def _downloads(self, run: Run) -> Any:
        """Return copies of the results: Gradio hands out no file that lies elsewhere."""
        folder = Path(self._folder.name)
        for old in folder.iterdir():
            old.unlink(missing_ok=True)
        copies = [shutil.copy(file, folder / file.name) for file in run.files if file.is_file()]
        return [str(copy) for copy in copies] or None


def analyze_panel(host: AnalyzerHost, presets: PresetsPanel, tuner: TunerPanel) -> AnalyzePanel:
    """Put the analyzer into the page that is being built."""
    return AnalyzePanel(host, presets, tuner)


def _tagged(prompt: str, name: str | None) -> str:
    return prompt_with(prompt or "", name) if name else prompt


def _mask(rectangle: str, painted: str, width: Any, height: Any) -> np.ndarray | None:
    """Return the region as a grey picture: the rectangle, or else what is painted.

    Raises:
        WeightsError: the rectangle is none, or what is painted cannot be read.
    """
    if rectangle.strip():
        return rectangle_mask(rectangle, int(width), int(height)).astype(np.uint8) * 255
    return painted_mask(painted)


def _labels(run: Run) -> list[str]:
    return [result.choice.label for result in run.results]


def _seeds(run: Run) -> Sequence[int]:
    return run.prepared.analysis.settings.seeds if run.prepared else ()


def _seed(run: Run, seed: Any) -> int:
    """Return the seed that is shown: the first where `seed` is none of the run's."""
    return next((known for known in _seeds(run) if str(known) == str(seed)), next(iter(_seeds(run)), 0))


def _shown(run: Run) -> Any:
    return gr.update(visible=bool(run.results))


def _grid(run: Run, seed: Any) -> str:
    if run.prepared is None:
        return ""
    return sheet_view(run.grid(_seed(run, seed)), f"grid of {run.prepared.lora}: difference, heat map, changed, source")


def _source(run: Run | None, seed: Any, is_masked: bool) -> Any:
    """Return an update of the picture that the mask is painted on: the source of `seed`, if it is there and wanted."""
    if run is None or run.analysis is None or not is_masked:
        return gr.update()
    source = run.analysis.store.load(run.analysis.sources[_seed(run, seed)])
    if source is None:
        return gr.update()
    return painter_view(data_uri(Image.fromarray(source.pictures[0])), PAINTED)


def _sliders(run: Run) -> list[Any]:
    """Return updates of the thresholds: where they stand, and how far they reach."""
    suggestion = run.suggestion
    largest = max([result.mean or 0.0 for result in run.results] + [suggestion.high, 0.01])
    top = round(largest * 1.05, 3)
    return [gr.update(maximum=top, value=round(value, 3)) for value in (suggestion.low, suggestion.high)]


def _choices(run: Run, seed: Any) -> list[Any]:
    seeds = [str(known) for known in _seeds(run)]
    shown = str(_seed(run, seed)) if seeds else None
    return [gr.update(choices=_labels(run)), gr.update(choices=seeds, value=shown)]


def _weights(run: Run) -> str:
    return run.suggestion.preset("X").partition(":")[2]
