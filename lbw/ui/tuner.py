"""The panel *Tuner*: blocks sorted and narrowed down by rounds of pictures, of which the better ones are clicked."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from lbw.analysis.cells import Cell, parse_span, whole_number
from lbw.analysis.effective_blocks import NEEDED, NOT_NEEDED, UNKNOWN
from lbw.analysis.tuner import (
    BOTH,
    MINUS,
    PLUS,
    STEPS,
    Proposal,
    Tuner,
    chosen,
    from_json,
    from_suggestion,
    parse_step,
    start,
    suggestion_in,
    tunable_layouts,
)
from lbw.core.architectures import ARCHITECTURES, SDXL
from lbw.core.errors import LbwError, WeightsError, quote
from lbw.core.presets import check_name
from lbw.core.weights import format_number, parse_number
from lbw.files.user_presets import PresetStore

from .gradio_versions import listen, on_page_load, tooltips
from .markup import BAD, REMARK, message, words
from .pauses import with_pauses
from .presets import PresetsPanel

Picture = np.ndarray[Any, Any]
Render = Callable[..., Iterable[tuple[Cell, Picture]]]
"""Renders cells: takes them and the values of the panel's `inputs`, yields each with its picture as it is finished."""

SIGNS = {NEEDED: "✓", NOT_NEEDED: "✗", UNKNOWN: "?"}


@dataclass(frozen=True)
class Shot:
    """A picture of the gallery: what accepting it changes, and the file that holds it."""

    proposal: Proposal
    file: str


@dataclass(frozen=True)
class Shown:
    """The pictures of the gallery, in its order."""

    pictures: tuple[Shot, ...] = ()


def models() -> dict[str, tuple[str, int]]:
    """Return the architectures and layouts that can be tuned, by their titles in the list."""
    return {
        f"{a.title}: {count} blocks": (a.name, count)
        for a in ARCHITECTURES.values()
        for count in tunable_layouts(a)
    }  # fmt: skip


MODELS = models()


def first_model(architecture: str) -> str:
    """Return the title of the first layout of the architecture with this name."""
    return next(title for title, (name, _) in MODELS.items() if name == architecture)


class TunerPanel:
    """The tuner, within the page that is being built.

    state: the state that holds the `Tuner`. outputs: what `begun` gives updates for, in order.
    """

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
        self.first = first_model(architecture)
        self.render = render
        self.store = store
        self.presets = presets
        self.inputs = list(inputs)
        self._folder = tempfile.TemporaryDirectory(prefix="lbw-tuner-")
        self._build()
        self._wire()

    def _build(self) -> None:
        self.state = gr.State(_new(self.first))
        self.pictures = gr.State(Shown())
        self.message = gr.HTML(elem_id="lbw_tuner_message")
        with gr.Row(elem_classes=["lbw-row"]):
            self.model = gr.Dropdown(
                list(MODELS), value=self.first, label="Weights type", info="the model, and the blocks to tune",
                elem_id="lbw_tuner_type",
            )  # fmt: skip
            self.new = gr.Button("Start anew", elem_id="lbw_tuner_new", scale=0, min_width=130)
            self.weights = gr.Textbox(
                label="Preset or weights", info="of any layout", placeholder="MIDD or 1,0,0,…", scale=2,
                elem_id="lbw_tuner_weights",
            )  # fmt: skip
            self.fill = gr.Textbox("0.5", label="Fill value", info="for missing blocks", elem_id="lbw_tuner_fill")
            self.load_button = gr.Button("Load weights", elem_id="lbw_tuner_load", scale=0, min_width=130)
        with (
            gr.Accordion("Start from a suggestion", open=False, elem_id="lbw_tuner_start"),
            gr.Row(elem_classes=["lbw-row"]),
        ):
            self.suggestion = gr.Textbox(
                label="Suggestion", info="the analyzer's .json, or a state of the tuner that was kept", lines=2,
                max_lines=4, scale=4, elem_id="lbw_tuner_suggestion",
            )  # fmt: skip
            self.from_suggestion = gr.Button("Start from it", elem_id="lbw_tuner_from_suggestion", scale=1)
        self.view = gr.HTML(state_view(_new(self.first)), elem_id="lbw_tuner_view")
        with gr.Row():
            self.blocks = gr.Textbox(
                label="Blocks",
                info="click on blocks above, or write IN04-IN08, OUT",
                scale=2,
                elem_id="lbw_tuner_blocks",
            )
            self.value = gr.Textbox("0.5", label="Value", info="for Set value", elem_id="lbw_tuner_value")
        with gr.Row():
            self.sorters = {
                verdict: gr.Button(label, elem_id=f"lbw_tuner_{name}", min_width=90)
                for verdict, label, name in (
                    (NEEDED, "✓ Needed", "needed"), (NOT_NEEDED, "✗ Not needed", "not_needed"),
                    (UNKNOWN, "? Unknown", "unknown"),
                )
            }  # fmt: skip
            self.fix = gr.Button("Fix", elem_id="lbw_tuner_fix", min_width=90)
            self.open = gr.Button("Open", elem_id="lbw_tuner_open", min_width=90)
            self.set_value = gr.Button("Set value", elem_id="lbw_tuner_set_value", min_width=90)
            self.undo = gr.Button("Undo", elem_id="lbw_tuner_undo", min_width=90)
        with gr.Row():
            self.step = gr.Dropdown(
                [format_number(step) for step in STEPS], value=format_number(STEPS[0]), label="Step",
                info="any number above 0", allow_custom_value=True, elem_id="lbw_tuner_step",
            )  # fmt: skip
            self.direction = gr.Radio(
                [MINUS, PLUS, BOTH], value=BOTH, label="Direction", info="of the step", elem_id="lbw_tuner_direction"
            )
            self.bounds = gr.Textbox("0,1", label="Range", info="values stay within it", elem_id="lbw_tuner_range")
            self.seed = gr.Textbox("1", label="Seed", info="of the pictures", elem_id="lbw_tuner_seed")
        with gr.Row(elem_classes=["lbw-row"]):
            self.next = gr.Button("Next round", variant="primary", elem_id="lbw_tuner_next")
            self.stop = gr.Button("Stop", elem_id="lbw_tuner_stop")
            self.fix_accepted = gr.Checkbox(False, label="Fix what is accepted", elem_id="lbw_tuner_fix_accepted")
        self.progress = gr.HTML(elem_id="lbw_tuner_progress")
        self.gallery = gr.Gallery(
            label="Click on what looks better", columns=5, height="auto", object_fit="contain", allow_preview=False,
            elem_id="lbw_tuner_gallery",
        )  # fmt: skip
        with gr.Row(elem_classes=["lbw-row"]):
            self.name = gr.Textbox("TUNED", label="Identifier", info="the name of the preset", elem_id="lbw_tuner_name")
            if self.presets:
                self.add = gr.Button("Add to presets", elem_id="lbw_tuner_add")
                self.add_and_save = gr.Button("Add to presets and Save", elem_id="lbw_tuner_add_save")
        self.preset = _result("Preset", "a line of the preset file", "preset", 2)
        self.lines = _result("Weights", "a line for each layout that can say them", "lines", 4)
        self.open_blocks = _result("Open blocks", "for the analyzer's field Blocks", "open_blocks", 1)
        self.prompt_sr = _result(
            "Prompt S/R", "for the X/Y/Z plot; the first value must stand in the prompt behind lbw=", "prompt_sr", 4
        )
        self.kept = _result("State", "all of this, to go on another day: paste it at Suggestion", "state", 2)
        self.outputs = [
            self.state, self.message, self.view, self.gallery, self.preset, self.lines, self.open_blocks,
            self.prompt_sr, self.kept,
        ]  # fmt: skip
        tooltips(
            {
                "lbw_tuner_new": "Begins with every block unknown, open, at 0.5.",
                "lbw_tuner_load": "Takes the values; what is sorted and fixed stays.",
                "lbw_tuner_from_suggestion": "Begins with the blocks as the analyzer sorted them.",
                "lbw_tuner_needed": "Fixes the blocks at 1.",
                "lbw_tuner_not_needed": "Fixes the blocks at 0.",
                "lbw_tuner_unknown": "Opens the blocks, at 0.5.",
                "lbw_tuner_fix": "The blocks keep their values and are rendered no more.",
                "lbw_tuner_open": "The blocks are rendered in the next round.",
                "lbw_tuner_set_value": "Sets the blocks to the value.",
                "lbw_tuner_undo": "Takes back the last change.",
                "lbw_tuner_next": "Renders every open block at its value minus and plus the step.",
                "lbw_tuner_stop": "Ends the round; the pictures that are there stay.",
                "lbw_tuner_fix_accepted": "The block of a picture that is clicked is rendered no more.",
                "lbw_tuner_add": "Writes the preset into the editor of the presets.",
                "lbw_tuner_add_save": "Writes the preset into the editor of the presets and saves the file.",
            }
        )

    def _wire(self) -> None:
        state, name, direction = self.state, self.name, self.direction
        given = [state, self.pictures, name, direction, self.step, self.bounds, self.seed]

        def change(button: Any, make: Callable[..., Tuner], inputs: Sequence[Any] = ()) -> None:
            listen(button.click, self._changing(make), [*given, *inputs], self.outputs)

        change(self.new, lambda tuner, title: _new(title), [self.model])
        change(self.from_suggestion, self._suggested, [self.suggestion, self.model])
        change(self.load_button, self._with_weights, [self.weights, self.fill])
        for verdict, button in self.sorters.items():
            change(button, _sorting(verdict), [self.blocks])
        change(self.fix, lambda tuner, blocks: tuner.fixed(chosen(blocks, tuner)), [self.blocks])
        change(self.open, lambda tuner, blocks: tuner.fixed(chosen(blocks, tuner), False), [self.blocks])
        change(self.set_value, _valued, [self.blocks, self.value])
        change(self.undo, lambda tuner: tuner.undone())
        listen(self.model.input, self._changing(lambda tuner, title: _new(title)), [*given, self.model], self.outputs)
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
        on_page_load(lambda: self._views(_new(self.first), Shown(), "TUNED", BOTH, ""), self.outputs)

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
            said = message("This picture is of another model: render the next round.", REMARK)
            return self._views(tuner, shown, name, direction, said)
        said = message(("Accepted:", proposal.label) if proposal.block else "Everything stays as it is.")
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
            yield ["", message((0, "/", total, "pictures")), [], shown]
            for finished in with_pauses(self.render(list(proposals), *inputs)):
                if finished is None:
                    yield [gr.update()] * 4
                    continue
                cell, picture = finished
                shown = Shown((*shown.pictures, Shot(proposals[cell], self._file(picture))))
                yield ["", message((len(shown.pictures), "/", total, "pictures")), _gallery(tuner, shown), shown]
        except LbwError as error:
            yield [message(str(error), BAD), *([gr.update()] * 3)]
        except Exception as error:  # whatever the host raises: the person at the page is told
            yield [message(("The round ended early:", f"{type(error).__name__}: {error}"), BAD), *([gr.update()] * 3)]

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
        pictures = _gallery(tuner, shown) if shown.pictures else gr.update()
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


# Views -------------------------------------------------------------------------------------------


def state_view(tuner: Tuner) -> str:
    """Return the blocks as HTML: each a button that writes its id into the field Blocks."""
    code = """
        const block = event.target.closest('button')?.dataset.block;
        const box = this.getRootNode().querySelector('#lbw_tuner_blocks textarea, #lbw_tuner_blocks input');
        if (block && box) {
            const listed = box.value.split(',').map(text => text.trim()).filter(text => text);
            const others = listed.filter(text => text !== block);
            box.value = (others.length < listed.length ? others : [...listed, block]).join(', ');
            box.dispatchEvent(new Event('input', {bubbles: true}));
        }"""
    fields = []
    for block, known in tuner.by_block.items():
        state = words((SIGNS[known.verdict], "fixed" if known.is_fixed else "still open"))
        kind = known.verdict.replace(" ", "-")
        fields.append(
            f'<button type="button" class="lbw-state lbw-{kind} lbw-{"fixed" if known.is_fixed else "open"}" '
            f'data-block="{escape(block)}" title="{known.verdict}"><b>{escape(block)}</b>'
            f"<span>{format_number(known.value)}</span><small>{state}</small></button>"
        )
    sums = words((len(tuner.open_blocks), "/", len(tuner.blocks), "blocks open", "·", len(tuner.history), "changes"))
    return f'<div class="lbw-states" onclick="{escape(" ".join(code.split()))}">{"".join(fields)}</div><p>{sums}</p>'


def _result(label: str, info: str, name: str, lines: int) -> Any:
    return gr.Textbox(
        label=label, info=info, lines=lines, max_lines=lines, interactive=False, show_copy_button=True,
        elem_id=f"lbw_tuner_{name}",
    )  # fmt: skip


def _gallery(tuner: Tuner, shown: Shown) -> list[tuple[str, str]]:
    states = tuner.by_block
    entries = []
    for entry in shown.pictures:
        proposal = entry.proposal
        state = states.get(proposal.block)
        sign = f"{SIGNS[NEEDED]} " if state and state.value == proposal.new else ""
        entries.append((entry.file, sign + proposal.label))
    return entries


# What the controls say ---------------------------------------------------------------------------


def _new(title: str) -> Tuner:
    architecture, layout = MODELS[title]
    return start(ARCHITECTURES[architecture], layout)


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
