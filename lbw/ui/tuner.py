"""The panel *Tuner*: blocks sorted and narrowed down by rounds of pictures, of which the better ones are clicked."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from lbw.analysis.cells import plain_number
from lbw.analysis.groups import groups_text, usual_groups
from lbw.analysis.png import write_png
from lbw.analysis.prompt import lora_looked_at
from lbw.analysis.request import PictureRequest
from lbw.analysis.tuner import Tuner, chosen
from lbw.analysis.tuner_round import round_pictures
from lbw.analysis.tuner_start import from_json, from_suggestion, suggestion_in
from lbw.core.architectures import USUAL
from lbw.core.errors import LbwError, WeightsError
from lbw.core.family import Architecture
from lbw.core.numbers import format_number
from lbw.core.presets import check_name
from lbw.core.texts import t
from lbw.files.user_presets import PresetStore

from .gradio_versions import Updates, Values, listen, on_page_load
from .keepalive import with_keepalive
from .lora_files import LoraFiles, lora_architecture
from .markup import BAD, REMARK, message_view, progress
from .panel_host import PanelHost
from .presets import PresetsPanel
from .tuner_controls import TunerControls
from .tuner_fields import Fields, set_up, set_up_anew
from .tuner_models import is_fresh, model_called, new_tuner, new_tuner_of, title_of, titles_with
from .tuner_views import Shot, Shown, gallery_view, state_view

Picture = np.ndarray[Any, Any]
Change = Callable[[Tuner, Values], Tuner]
"""Returns the next tuner: takes the one that is shown, and what the controls hold."""


class TunerPanel(TunerControls):
    """The tuner, within the page that is being built.

    It keeps the latest tuner that somebody changed; a page that is opened anew shows it.

    inputs: what `begun` takes the values of. outputs: what it gives updates for.
    """

    def __init__(
        self,
        host: PanelHost,
        store: PresetStore,
        presets: PresetsPanel | None = None,
        loras: LoraFiles | None = None,
    ) -> None:
        """Build it.

        presets: the editor that *Add to presets* writes into. loras: the host's, of which the prompt's says which model
        is tuned as long as nobody has tuned anything.
        """
        super().__init__(host, presets is not None)
        self.host = host
        self.store = store
        self.presets = presets
        self.loras = loras
        self.inputs = {*self.fields.values(), *self.trainer.fields}
        self.outputs = {*self.views, self.pictures, *self.settings, *self.picture.fields.values()}
        self.latest: Tuner | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="lbw-tuner-")
        self._wire()

    def _wire(self) -> None:
        given = {self.state, self.pictures, *self.inputs}

        def change(button: Any, make: Change, inputs: Set[Any] = frozenset()) -> None:
            listen(button.click, self._changing(make), given | inputs, self.views)

        change(self.load_button, self._with_weights, {self.weights, self.fill})
        for verdict, button in self.sorters.items():
            change(button, self._sorting(verdict), {self.blocks})
        change(self.fix, lambda tuner, values: tuner.fixed(self._chosen(tuner, values)), {self.blocks})
        change(self.open, lambda tuner, values: tuner.fixed(self._chosen(tuner, values), False), {self.blocks})
        change(self.set_value, self._with_value, {self.blocks, self.value})
        change(self.undo, lambda tuner, values: tuner.undone())
        for control in self.inputs:
            listen(control.change, self._changing(lambda tuner, values: tuner), given, self.views)
        for event in (self.new.click, self.model.input):
            listen(event, self._anew, {*self.inputs, self.model}, self.outputs)
        followed = {self.state, self.picture.prompt, *self.inputs}
        listen(self.picture.prompt.change, self._followed, followed, {*self.views, self.pictures, *self.settings})
        listen(self.from_suggestion.click, self._suggested, {*self.inputs, self.suggestion, self.model}, self.outputs)
        listen(self.usual_groups.click, self._usual, {self.state}, {self.groups})
        rendering = listen(
            self.next.click, self._round, {self.state, *self.fields.values(), *self.picture.fields.values()},
            {self.message, self.progress, self.gallery, self.pictures}, queue=True,
        )  # fmt: skip
        listen(self.stop.click, self._stopped, outputs={self.progress}, cancels=[rendering])
        listen(self.gallery.select, self._accepted, {self.fix_accepted, *given}, self.views)
        if self.presets:
            written = {self.state, self.name, *self.presets.inputs}
            listen(self.add.click, self._added, written, {self.message, *self.presets.outputs})
            listen(self.add_and_save.click, self._saved, written, {self.message, *self.presets.outputs})
        on_page_load(self._opened, self.outputs)

    # Beginnings ----------------------------------------------------------------------------------

    def begun(self, tuner: Tuner, values: Values, request: PictureRequest | None = None) -> Updates:
        """Return updates that show `tuner` and no pictures, for a button of this panel or another: *send to tuner*.

        values: of `inputs`. request: what its pictures are rendered with; as the fields say if not given.
        """
        self.latest = tuner
        return self._beginning(tuner, values, request)

    def _beginning(self, tuner: Tuner, values: Values, request: PictureRequest | None = None) -> Updates:
        low, high = map(format_number, tuner.bounds)
        return {
            **self._views(tuner, Shown(), values),
            self.pictures: Shown(),
            self.model: gr.update(choices=titles_with(tuner, self.host.loaded()), value=title_of(tuner)),
            self.step: format_number(tuner.step),
            self.bounds: f"{low},{high}",
            self.seed: str(tuner.seed),
            self.groups: groups_text(tuner.groups, tuner.family),
            **(self.picture.showing(request) if request else {}),
        }

    def _opened(self) -> Updates:
        tuner = self.latest or new_tuner_of(self._wanted(self.picture.prompt.value) or USUAL)
        first = {control: getattr(Fields(), name) for name, control in self.fields.items()}
        return self._beginning(tuner, {**first, **self.trainer.first})

    def _anew(self, values: Values) -> Updates:
        """Begin with what *Weights type* says; groups are kept where that model has them."""
        try:
            tuner = set_up_anew(new_tuner(values[self.model]), self._fields(values))
        except LbwError as error:
            return {self.message: message_view(str(error), BAD)}
        return self.begun(tuner, values)

    def _followed(self, values: Values) -> Updates:
        """Begin with the model that the prompt's LoRA is for, as long as nothing is tuned."""
        tuner = values[self.state]
        if is_fresh(tuner):
            wanted = self._wanted(values[self.picture.prompt])
            if wanted is not None and wanted.name != tuner.architecture:
                with suppress(LbwError):
                    return self._beginning(set_up_anew(new_tuner_of(wanted), self._fields(values)), values)
        return {self.state: tuner}

    def _wanted(self, prompt: str | None) -> Architecture | None:
        """Return the model that the LoRA of `prompt` is for, None if it is not known.

        Without such a LoRA it is the one that is loaded, unless somebody chose what to tune.
        """
        loaded = self.host.loaded()
        with suppress(LbwError):
            name = lora_looked_at(prompt or "")
            if self.loras and name:
                return lora_architecture(self.loras, name, loaded)
        return None if self.latest else loaded

    def _suggested(self, values: Values) -> Updates:
        """Begin with a state that was kept, or with the analyzer's suggestion."""
        text = values[self.suggestion] or ""
        try:
            tuner = from_json(text)
        except WeightsError:
            try:
                tuner = from_suggestion(suggestion_in(text), *model_called(values[self.model]))
                tuner = set_up(tuner, self._fields(values))
            except LbwError as error:
                return {self.message: message_view(str(error), BAD)}
        return self.begun(tuner, values)

    # Changes -------------------------------------------------------------------------------------

    def _changing(self, make: Change) -> Callable[[Values], Updates]:
        """Return the handler of a control that turns the tuner into the one that `make` returns."""

        def handler(values: Values) -> Updates:
            before = tuner = values[self.state]
            message = ""
            try:
                tuner = set_up(make(tuner, values), self._fields(values))
            except LbwError as error:
                message = message_view(str(error), BAD)
            shown = None if tuner.states == before.states else values[self.pictures]
            return self._views(tuner, shown, values, message)

        return handler

    def _with_weights(self, tuner: Tuner, values: Values) -> Tuner:
        fill = plain_number(values[self.fill] or "", t("Fill value"), "0.5")
        return tuner.with_weights(values[self.weights] or "", fill, self.store.presets())

    def _with_value(self, tuner: Tuner, values: Values) -> Tuner:
        value = plain_number(values[self.value] or "", t("Value"), "0.5")
        return tuner.with_value(self._chosen(tuner, values), value)

    def _sorting(self, verdict: str) -> Change:
        return lambda tuner, values: tuner.sorted_as(self._chosen(tuner, values), verdict)

    def _chosen(self, tuner: Tuner, values: Values) -> list[str]:
        return chosen(values[self.blocks] or "", tuner)

    def _usual(self, values: Values) -> Updates:
        tuner = values[self.state]
        return {self.groups: groups_text(usual_groups(tuner.family, tuner.blocks), tuner.family)}

    def _accepted(self, values: Values, event: gr.SelectData) -> Updates:
        tuner, shown = values[self.state], values[self.pictures]
        index = event.index if isinstance(event.index, int) else -1
        if not 0 <= index < len(shown.pictures):
            return self._views(tuner, shown, values)
        proposal = shown.pictures[index].proposal
        if not {move.block for move in proposal.moves} <= set(tuner.blocks):
            message = message_view(t("This picture belongs to another model: render the next round."), REMARK)
            return self._views(tuner, shown, values, message)
        accepted = t("Nothing is changed.")
        if proposal.moves:
            accepted = t("Accepted: {change}", change=proposal.label)
        tuner = tuner.accepted(proposal, values[self.fix_accepted])
        return self._views(tuner, shown, values, message_view(accepted))

    # Rounds --------------------------------------------------------------------------------------

    def _round(self, values: Values) -> Iterator[Updates]:
        """Yield the pictures of a round as they come."""
        shown = Shown()
        fields = self._fields(values)
        try:
            tuner = set_up(values[self.state], fields)
            request = self.picture.request(tuner.seed, values)
            proposals = {proposal.cell: proposal for proposal in tuner.next_round(fields.direction)}
            if len(proposals) < 2:
                raise WeightsError(
                    t("Nothing to render: no block is open, or no open block can move within the range.")
                )
            total = len(proposals)
            yield {self.message: "", self.progress: _progress(0, total), self.gallery: [], self.pictures: shown}
            for finished in with_keepalive(round_pictures(self.host, list(proposals), request)):
                if finished is None:
                    yield {self.progress: gr.update()}
                    continue
                cell, picture = finished
                shown = Shown((*shown.pictures, Shot(proposals[cell], self._file(picture))))
                yield {
                    self.progress: _progress(len(shown.pictures), total),
                    self.gallery: gallery_view(tuner, shown),
                    self.pictures: shown,
                }
        except LbwError as error:
            yield {self.message: message_view(str(error), BAD), self.progress: ""}
        except Exception as error:  # whatever the host raises: the person at the page is told
            early = message_view(t("The round ended early: {error}", error=f"{type(error).__name__}: {error}"), BAD)
            yield {self.message: early, self.progress: ""}

    def _stopped(self) -> Updates:
        return {self.progress: message_view(t("Stopped."), REMARK)}

    def _file(self, picture: Picture) -> str:
        """Keep `picture` as a file, so that it is encoded once however often the gallery is shown."""
        path = Path(self._folder.name) / f"{hashlib.sha256(picture.tobytes()).hexdigest()[:24]}.png"
        if not path.exists():
            write_png(Image.fromarray(picture), "", path, compress_level=1)
        return str(path)

    # Presets -------------------------------------------------------------------------------------

    def _added(self, values: Values) -> Updates:
        return self._written(values, is_saved=False)

    def _saved(self, values: Values) -> Updates:
        return self._written(values, is_saved=True)

    def _written(self, values: Values, is_saved: bool) -> Updates:
        assert self.presets
        try:
            name = check_name(values[self.name] or "")
        except LbwError as error:
            return {self.message: message_view(str(error), BAD)}
        updates = self.presets.with_preset(name, values[self.state].weights, values, is_saved)
        return {**updates, self.message: updates[self.presets.message]}

    # Updates -------------------------------------------------------------------------------------

    def _fields(self, values: Values) -> Fields:
        return Fields(**{name: values[control] for name, control in self.fields.items()})

    def _views(self, tuner: Tuner, shown: Shown | None, values: Values, message: str = "") -> Updates:
        """Return updates that show `tuner`; the gallery stays as it is where `shown` is None.

        values: of `inputs`.
        """
        if tuner.history:
            self.latest = tuner
        fields = self._fields(values)
        try:
            preset = tuner.preset_line(fields.name or "")
        except LbwError as error:
            preset = ""
            message = message or message_view(str(error), BAD)
        return {
            self.state: tuner,
            self.message: message,
            self.view: state_view(tuner),
            self.gallery: gr.update() if shown is None else gallery_view(tuner, shown),
            self.preset: preset,
            self.lines: "\n".join(tuner.weight_lines().values()),
            self.open_blocks: tuner.open_text,
            self.prompt_sr: tuner.prompt_sr(fields.direction),
            self.kept: tuner.to_json(),
            **self.trainer.showing(tuner, values),
        }


def tuner_panel(
    host: PanelHost, store: PresetStore, presets: PresetsPanel | None = None, loras: LoraFiles | None = None
) -> TunerPanel:
    """Put the tuner into the page that is being built; see `TunerPanel`."""
    return TunerPanel(host, store, presets, loras)


def _progress(done: int, total: int) -> str:
    return progress(done, total, [t("{done} / {total} pictures", done=done, total=total)], is_running=done < total)
