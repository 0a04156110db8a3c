"""The panel *Tuner*: blocks sorted and narrowed down by rounds of pictures, of which the better ones are clicked."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from lbw.analysis.cells import Cell, parse_span, whole_number
from lbw.analysis.tuner import BOTH, Tuner, chosen, from_json, from_suggestion, parse_step, suggestion_in
from lbw.core.architectures import ARCHITECTURES, SDXL
from lbw.core.errors import LbwError, WeightsError, quote
from lbw.core.presets import check_name
from lbw.core.weights import parse_number
from lbw.files.user_presets import PresetStore

from .gradio_versions import listen, on_page_load
from .markup import BAD, REMARK, message
from .pauses import with_pauses
from .presets import PresetsPanel
from .tuner_controls import MODELS, TunerControls, new_tuner
from .tuner_views import Shot, Shown, gallery_view, state_view

Picture = np.ndarray[Any, Any]
Render = Callable[..., Iterable[tuple[Cell, Picture]]]
"""Renders cells: takes them and the values of the panel's `inputs`, yields each with its picture as it is finished."""


class TunerPanel(TunerControls):
    """The tuner, within the page that is being built."""

    def __init__(
        self,
        render: Render,
        store: PresetStore,
        presets: PresetsPanel | None = None,
        inputs: Sequence[Any] = (),
        architecture: str = SDXL.name,
    ) -> None:
        """Build it.

        render: see `Render`. presets: the editor that *Add to presets* writes into. inputs: components of the page,
        for example its prompt, whose values `render` is given. architecture: the name of the one chosen at first.
        """
        super().__init__(architecture, presets is not None)
        self.render = render
        self.store = store
        self.presets = presets
        self.inputs = list(inputs)
        self._folder = tempfile.TemporaryDirectory(prefix="lbw-tuner-")
        self._wire()

    def _wire(self) -> None:
        state, name, direction = self.state, self.name, self.direction
        given = [state, self.pictures, name, direction, self.step, self.bounds, self.seed]

        def change(button: Any, make: Callable[..., Tuner], inputs: Sequence[Any] = ()) -> None:
            listen(button.click, self._changing(make), [*given, *inputs], self.outputs)

        change(self.new, lambda tuner, title: new_tuner(title), [self.model])
        change(self.from_suggestion, self._suggested, [self.suggestion, self.model])
        change(self.load_button, self._with_weights, [self.weights, self.fill])
        for verdict, button in self.sorters.items():
            change(button, _sorting(verdict), [self.blocks])
        change(self.fix, lambda tuner, blocks: tuner.fixed(chosen(blocks, tuner)), [self.blocks])
        change(self.open, lambda tuner, blocks: tuner.fixed(chosen(blocks, tuner), False), [self.blocks])
        change(self.set_value, _valued, [self.blocks, self.value])
        change(self.undo, lambda tuner: tuner.undone())
        listen(
            self.model.input, self._changing(lambda tuner, title: new_tuner(title)), [*given, self.model], self.outputs
        )
        for control in (direction, self.step, self.bounds, self.seed, name):
            listen(control.change, self._changing(lambda tuner: tuner), given, self.outputs)
        rendering = listen(
            self.next.click, self._round, [state, direction, self.step, self.bounds, self.seed, *self.inputs],
            [self.message, self.progress, self.gallery, self.pictures], queue=True,
        )  # fmt: skip
        listen(self.stop.click, lambda: message("Stopped.", REMARK), (), [self.progress], cancels=[rendering])
        listen(self.gallery.select, self._accepted, [*given, self.fix_accepted], self.outputs)
        if self.presets:
            written = [state, name, self.presets.text, self.presets.known]
            listen(self.add.click, self._add, written, [self.message, *self.presets.outputs])
            listen(self.add_and_save.click, self._save, written, [self.message, *self.presets.outputs])
        on_page_load(lambda: self._views(new_tuner(self.first), Shown(), "TUNED", BOTH, ""), self.outputs)

    # Changes -------------------------------------------------------------------------------------

    def begun(self, tuner: Tuner) -> list[Any]:
        """Return updates that show `tuner`, for a button of another panel: *send to tuner*."""
        return self._views(tuner, Shown(), "TUNED", BOTH, "")

    def _changing(self, make: Callable[..., Tuner]) -> Callable[..., list[Any]]:
        """Return the handler of a control that turns the tuner into the one that `make` returns."""

        def handler(
            tuner: Tuner, shown: Shown, name: str, direction: str, step: Any, bounds: str, seed: Any, *more: Any
        ) -> list[Any]:
            said = ""
            before = tuner
            try:
                tuner = _set_up(make(tuner, *more), step, bounds, seed)
            except LbwError as error:
                said = message(str(error), BAD)
            is_same = tuner.states == before.states and tuner.blocks == before.blocks
            return self._views(tuner, Shown() if is_same else shown, name, direction, said)

        return handler

    def _suggested(self, tuner: Tuner, text: str, title: str) -> Tuner:
        try:
            return from_json(text or "")
        except WeightsError:
            architecture, layout = MODELS[title]
            return from_suggestion(suggestion_in(text or ""), ARCHITECTURES[architecture], layout)

    def _with_weights(self, tuner: Tuner, text: str, fill: str) -> Tuner:
        number = parse_number(fill or "")
        if number is None:
            raise WeightsError(f"Fill value {quote(fill or '')} is no number; write for example 0.5")
        return tuner.with_weights(text or "", number, self.store.presets())

    def _accepted(
        self, tuner: Tuner, shown: Shown, name: str, direction: str, step: Any, bounds: str, seed: Any, fix: bool,
        event: gr.SelectData,
    ) -> list[Any]:  # fmt: skip
        index = event.index if isinstance(event.index, int) else -1
        if not 0 <= index < len(shown.pictures):
            return self._views(tuner, shown, name, direction, "")
        proposal = shown.pictures[index].proposal
        if proposal.block and proposal.block not in tuner.blocks:
            words = "This picture is of another model: render the next round."
            return self._views(tuner, shown, name, direction, message(words, REMARK))
        said = message(f"Accepted: {proposal.label}." if proposal.block else "Everything stays as it is.")
        return self._views(tuner.accepted(proposal, fix), shown, name, direction, said)

    # Rounds --------------------------------------------------------------------------------------

    def _round(
        self, tuner: Tuner, direction: str, step: Any, bounds: str, seed: Any, *inputs: Any
    ) -> Iterator[list[Any]]:
        """Yield the pictures of a round as they come."""
        shown = Shown()
        try:
            tuner = _set_up(tuner, step, bounds, seed)
            proposals = {proposal.cell: proposal for proposal in tuner.next_round(direction)}
            if len(proposals) < 2:
                raise WeightsError("Nothing to render: no block is open, or none can move within the range.")
            total = len(proposals)
            yield ["", message(f"0 of {total} pictures"), [], shown]
            for finished in with_pauses(self.render(list(proposals), *inputs)):
                if finished is None:
                    yield [gr.update()] * 4
                    continue
                cell, picture = finished
                shown = Shown((*shown.pictures, Shot(proposals[cell], self._file(picture))))
                yield ["", message(f"{len(shown.pictures)} of {total} pictures"), gallery_view(tuner, shown), shown]
        except LbwError as error:
            yield [message(str(error), BAD), *([gr.update()] * 3)]
        except Exception as error:  # whatever the host raises: the person at the page is told
            yield [message(f"The round ended early: {type(error).__name__}: {error}", BAD), *([gr.update()] * 3)]

    def _file(self, picture: Picture) -> str:
        """Keep `picture` as a file, so that it is encoded once however often the gallery is shown."""
        path = Path(self._folder.name) / f"{hashlib.sha256(picture.tobytes()).hexdigest()[:24]}.png"
        if not path.exists():
            Image.fromarray(picture).save(path, compress_level=1)
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

    def _views(self, tuner: Tuner, shown: Shown, name: str, direction: str, said: str) -> list[Any]:
        """Return updates that show `tuner`; the gallery stays as it is where `shown` holds no picture."""
        try:
            preset = tuner.preset_line(name or "")
        except LbwError as error:
            preset = ""
            said = said or message(str(error), BAD)
        lines = "\n".join(tuner.weight_lines().values())
        pictures = gallery_view(tuner, shown) if shown.pictures else gr.update()
        return [
            tuner, said, state_view(tuner), pictures, preset, lines, ",".join(tuner.open_blocks),
            tuner.prompt_sr(direction), tuner.to_json(),
        ]  # fmt: skip


def tuner_panel(
    render: Render,
    store: PresetStore,
    presets: PresetsPanel | None = None,
    inputs: Sequence[Any] = (),
    architecture: str = SDXL.name,
) -> TunerPanel:
    """Put the tuner into the page that is being built; see `TunerPanel`."""
    return TunerPanel(render, store, presets, inputs, architecture)


# What the controls say ---------------------------------------------------------------------------


def _set_up(tuner: Tuner, step: Any, bounds: str, seed: Any) -> Tuner:
    """Return `tuner` with the settings of a round.

    Raises:
        WeightsError: one of them cannot be understood.
    """
    low, high = sorted(parse_span(bounds or ""))
    return replace(tuner, step=parse_step(step), bounds=(low, high), seed=whole_number(seed, "Seed", 0, 2**32 - 1))


def _sorting(verdict: str) -> Callable[[Tuner, str], Tuner]:
    return lambda tuner, blocks: tuner.sorted_as(chosen(blocks or "", tuner), verdict)


def _valued(tuner: Tuner, blocks: str, value: str) -> Tuner:
    number = parse_number(value or "")
    if number is None:
        raise WeightsError(f"Value {quote(value or '')} is no number; write for example 0.5")
    return tuner.with_value(chosen(blocks or "", tuner), number)
