"""The panel *Tuner*: blocks sorted and narrowed down by rounds of pictures, of which the better ones are clicked."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from lbw.analysis.cells import parse_span, whole_number
from lbw.analysis.groups import groups_text, parse_groups, usual_groups
from lbw.analysis.png import write_png
from lbw.analysis.request import PictureRequest
from lbw.analysis.tuner import Tuner, chosen, parse_step
from lbw.analysis.tuner_round import round_pictures
from lbw.analysis.tuner_start import from_json, from_suggestion, suggestion_in
from lbw.core.architectures import USUAL
from lbw.core.errors import LbwError, WeightsError, quote
from lbw.core.family import Architecture
from lbw.core.numbers import format_number, parse_number
from lbw.core.presets import check_name
from lbw.files.user_presets import PresetStore

from .gradio_versions import listen, on_page_load
from .markup import BAD, REMARK, message, progress
from .panel_host import PanelHost
from .pauses import with_pauses
from .presets import PresetsPanel
from .tuner_controls import Fields, TunerControls
from .tuner_models import model_called, new_tuner, title_of, titles, titles_of
from .tuner_views import Shot, Shown, gallery_view, state_view

Picture = np.ndarray[Any, Any]
Change = Callable[..., Tuner]
"""Returns the next tuner: takes the one that is shown, and the values of the controls that the change needs."""

_FIELDS = len(fields(Fields))


class TunerPanel(TunerControls):
    """The tuner, within the page that is being built.

    It keeps the latest tuner that somebody changed; a page that is opened anew shows it.

    inputs: what `begun` takes the values of. outputs: what it gives updates for, in order.
    """

    def __init__(self, host: PanelHost, store: PresetStore, presets: PresetsPanel | None = None) -> None:
        """Build it; presets: the editor that *Add to presets* writes into."""
        super().__init__(host, presets is not None)
        self.host = host
        self.store = store
        self.presets = presets
        self.inputs = [*self.fields, *self.trainer.inputs]
        self.outputs = [*self.views, self.pictures, *self.settings, *self.picture.all]
        self.latest: Tuner | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="lbw-tuner-")
        self._wire()

    def _wire(self) -> None:
        state = self.state
        given = [state, self.pictures, *self.inputs]

        def change(button: Any, make: Change, inputs: Sequence[Any] = ()) -> None:
            listen(button.click, self._changing(make), [*given, *inputs], self.views)

        change(self.load_button, self._with_weights, [self.weights, self.fill])
        for verdict, button in self.sorters.items():
            change(button, _sorting(verdict), [self.blocks])
        change(self.fix, lambda tuner, blocks: tuner.fixed(chosen(blocks, tuner)), [self.blocks])
        change(self.open, lambda tuner, blocks: tuner.fixed(chosen(blocks, tuner), False), [self.blocks])
        change(self.set_value, _valued, [self.blocks, self.value])
        change(self.undo, lambda tuner: tuner.undone())
        for control in self.inputs:
            listen(control.change, self._changing(lambda tuner: tuner), given, self.views)
        for event in (self.new.click, self.model.input):
            listen(event, self._anew, [*self.inputs, self.model], self.outputs)
        listen(self.from_suggestion.click, self._suggested, [*self.inputs, self.suggestion, self.model], self.outputs)
        listen(self.usual_groups.click, _usual, [state], [self.groups])
        rendering = listen(
            self.next.click, self._round, [state, *self.fields, *self.picture.all],
            [self.message, self.progress, self.gallery, self.pictures], queue=True,
        )  # fmt: skip
        listen(self.stop.click, lambda: message("Stopped.", REMARK), (), [self.progress], cancels=[rendering])
        listen(self.gallery.select, self._accepted, [self.fix_accepted, *given], self.views)
        if self.presets:
            written = [state, self.name, self.presets.text, self.presets.known]
            listen(self.add.click, self._add, written, [self.message, *self.presets.outputs])
            listen(self.add_and_save.click, self._save, written, [self.message, *self.presets.outputs])
        on_page_load(self._opened, self.outputs)

    # Beginnings ----------------------------------------------------------------------------------

    def begun(self, tuner: Tuner, values: Sequence[Any], request: PictureRequest | None = None) -> list[Any]:
        """Return updates that show `tuner` and no pictures, for a button of this panel or another: *send to tuner*.

        values: of `inputs`. request: what its pictures are rendered with; as the fields say if not given.
        """
        self.latest = tuner
        return self._beginning(tuner, values, request)

    def _beginning(self, tuner: Tuner, values: Sequence[Any], request: PictureRequest | None = None) -> list[Any]:
        low, high = map(format_number, tuner.bounds)
        settings = [
            gr.update(choices=_listed(tuner, self.host.loaded()), value=title_of(tuner)),
            format_number(tuner.step), f"{low},{high}", str(tuner.seed), groups_text(tuner.groups, tuner.family),
        ]  # fmt: skip
        return [*self._views(tuner, Shown(), values), Shown(), *settings, *self.picture.showing(request)]

    def _opened(self) -> list[Any]:
        tuner = self.latest or new_tuner(titles_of(self.host.loaded() or USUAL)[0])
        return self._beginning(tuner, [*vars(Fields()).values(), *self.trainer.first])

    def _anew(self, *values: Any) -> list[Any]:
        """Begin with what *Weights type* says; groups are kept where that model has them."""
        *values, title = values
        said = Fields(*values[:_FIELDS])
        tuner = new_tuner(title)
        try:
            tuner = _set_up(tuner, replace(said, groups=""))
        except LbwError as error:
            return self._refused(error)
        with suppress(LbwError):
            tuner = _set_up(tuner, said)
        return self.begun(tuner, values)

    def _suggested(self, *values: Any) -> list[Any]:
        """Begin with a state that was kept, or with the analyzer's suggestion."""
        *values, text, title = values
        try:
            tuner = from_json(text or "")
        except WeightsError:
            try:
                tuner = from_suggestion(suggestion_in(text or ""), *model_called(title))
                tuner = _set_up(tuner, Fields(*values[:_FIELDS]))
            except LbwError as error:
                return self._refused(error)
        return self.begun(tuner, values)

    def _refused(self, error: LbwError) -> list[Any]:
        said = message(str(error), BAD)
        return [said if output is self.message else gr.update() for output in self.outputs]

    # Changes -------------------------------------------------------------------------------------

    def _changing(self, make: Change) -> Callable[..., list[Any]]:
        """Return the handler of a control that turns the tuner into the one that `make` returns."""

        def handler(tuner: Tuner, shown: Shown, *values: Any) -> list[Any]:
            values, more = values[: len(self.inputs)], values[len(self.inputs) :]
            said = ""
            before = tuner
            try:
                tuner = _set_up(make(tuner, *more), Fields(*values[:_FIELDS]))
            except LbwError as error:
                said = message(str(error), BAD)
            return self._views(tuner, None if tuner.states == before.states else shown, values, said)

        return handler

    def _with_weights(self, tuner: Tuner, text: str, fill: str) -> Tuner:
        number = parse_number(fill or "")
        if number is None:
            raise WeightsError(f"Fill value {quote(fill or '')} is no number; write for example 0.5")
        return tuner.with_weights(text or "", number, self.store.presets())

    def _accepted(self, event: gr.SelectData, fix: bool, tuner: Tuner, shown: Shown, *values: Any) -> list[Any]:
        index = event.index if isinstance(event.index, int) else -1
        if not 0 <= index < len(shown.pictures):
            return self._views(tuner, shown, values)
        proposal = shown.pictures[index].proposal
        if not {move.block for move in proposal.moves} <= set(tuner.blocks):
            said = message("This picture is of another model: render the next round.", REMARK)
            return self._views(tuner, shown, values, said)
        said = message(("Accepted:", proposal.label) if proposal.moves else "Everything stays as it is.")
        return self._views(tuner.accepted(proposal, fix), shown, values, said)

    # Rounds --------------------------------------------------------------------------------------

    def _round(self, tuner: Tuner, *values: Any) -> Iterator[list[Any]]:
        """Yield the pictures of a round as they come."""
        shown = Shown()
        said = Fields(*values[:_FIELDS])
        try:
            tuner = _set_up(tuner, said)
            request = self.picture.request(tuner.seed, values[_FIELDS:])
            proposals = {proposal.cell: proposal for proposal in tuner.next_round(said.direction)}
            if len(proposals) < 2:
                raise WeightsError("Nothing to render: no block is open, or none can move within the range.")
            total = len(proposals)
            yield ["", _progress(0, total), [], shown]
            for finished in with_pauses(round_pictures(self.host, list(proposals), request)):
                if finished is None:
                    yield [gr.update()] * 4
                    continue
                cell, picture = finished
                shown = Shown((*shown.pictures, Shot(proposals[cell], self._file(picture))))
                yield ["", _progress(len(shown.pictures), total), gallery_view(tuner, shown), shown]
        except LbwError as error:
            yield [message(str(error), BAD), "", gr.update(), gr.update()]
        except Exception as error:  # whatever the host raises: the person at the page is told
            told = message(("The round ended early:", f"{type(error).__name__}: {error}"), BAD)
            yield [told, "", gr.update(), gr.update()]

    def _file(self, picture: Picture) -> str:
        """Keep `picture` as a file, so that it is encoded once however often the gallery is shown."""
        path = Path(self._folder.name) / f"{hashlib.sha256(picture.tobytes()).hexdigest()[:24]}.png"
        if not path.exists():
            write_png(Image.fromarray(picture), "", path, compress_level=1)
        return str(path)

    # Presets -------------------------------------------------------------------------------------

    def _add(self, tuner: Tuner, name: str, text: str, known: Any) -> list[Any]:
        return self._written(tuner, name, text, known, is_saved=False)

    def _save(self, tuner: Tuner, name: str, text: str, known: Any) -> list[Any]:
        return self._written(tuner, name, text, known, is_saved=True)

    def _written(self, tuner: Tuner, name: str, text: str, known: Any, is_saved: bool) -> list[Any]:
        assert self.presets
        try:
            name = check_name(name or "")
        except LbwError as error:
            return [message(str(error), BAD), *[gr.update() for _ in self.presets.outputs]]
        return self.presets.with_preset(name, tuner.weights, text, known, is_saved)

    # Updates -------------------------------------------------------------------------------------

    def _views(self, tuner: Tuner, shown: Shown | None, values: Sequence[Any], said: str = "") -> list[Any]:
        """Return updates that show `tuner`; the gallery stays as it is where `shown` is None.

        values: of `inputs`.
        """
        if tuner.history:
            self.latest = tuner
        fields = Fields(*values[:_FIELDS])
        try:
            preset = tuner.preset_line(fields.name or "")
        except LbwError as error:
            preset = ""
            said = said or message(str(error), BAD)
        lines = "\n".join(tuner.weight_lines().values())
        pictures = gr.update() if shown is None else gallery_view(tuner, shown)
        return [
            tuner, said, state_view(tuner), pictures, preset, lines, tuner.open_text, tuner.prompt_sr(fields.direction),
            tuner.to_json(), *self.trainer.showing(tuner, *values[_FIELDS:]),
        ]  # fmt: skip


def tuner_panel(host: PanelHost, store: PresetStore, presets: PresetsPanel | None = None) -> TunerPanel:
    """Put the tuner into the page that is being built; see `TunerPanel`."""
    return TunerPanel(host, store, presets)


def _listed(tuner: Tuner, loaded: Architecture | None) -> list[str]:
    """Return the list of models: those of the loaded model first, and with what is tuned in it."""
    return list(dict.fromkeys([*titles(loaded), *titles(tuner.family)]))


def _progress(done: int, total: int) -> str:
    return progress(done, total, (done, "/", total, "pictures"), is_running=done < total)


# What the controls say ---------------------------------------------------------------------------


def _set_up(tuner: Tuner, said: Fields) -> Tuner:
    """Return `tuner` with the settings of a round.

    Raises:
        WeightsError: one of them cannot be understood.
    """
    low, high = sorted(parse_span(said.bounds or ""))
    return replace(
        tuner, step=parse_step(said.step), bounds=(low, high), seed=whole_number(said.seed, "Seed", 0, 2**32 - 1),
        groups=parse_groups(said.groups or "", tuner.family, tuner.blocks),
    )  # fmt: skip


def _usual(tuner: Tuner) -> str:
    return groups_text(usual_groups(tuner.family, tuner.blocks), tuner.family)


def _sorting(verdict: str) -> Callable[[Tuner, str], Tuner]:
    return lambda tuner, blocks: tuner.sorted_as(chosen(blocks or "", tuner), verdict)


def _valued(tuner: Tuner, blocks: str, value: str) -> Tuner:
    number = parse_number(value or "")
    if number is None:
        raise WeightsError(f"Value {quote(value or '')} is no number; write for example 0.5")
    return tuner.with_value(chosen(blocks or "", tuner), number)
