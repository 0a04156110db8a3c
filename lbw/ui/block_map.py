"""The panel *Block map*: a picture of a model's blocks, shaded by their share of the parameters."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from math import sqrt
from pathlib import Path

import gradio as gr

from lbw.core.architectures import ARCHITECTURES, USUAL
from lbw.core.errors import LbwError
from lbw.core.family import Architecture
from lbw.core.shape import Part, is_unet, shape
from lbw.core.texts import t
from lbw.files.block_map import BlockCount, BlockMap, map_of_lora, map_of_model

from .gradio_versions import Updates, Values, listen, on_page_load
from .lora_files import LoraFiles, lora_names, lora_path
from .markup import BAD, REMARK, message_view, words

LOADED = t("the loaded model")

_DARKEST = 62
"""Percentage of the accent color in the largest block; text on it is still readable, in light and dark mode."""


def map_view(found: BlockMap) -> str:
    """Return the picture of a map as HTML: blocks arranged in the shape of their model.

    Hovering or focusing a block shows its numbers (lbw_block_map.js).
    """
    parts = "".join(_part(part, found, is_unet(found.architecture)) for part in shape(found.architecture))
    title = [found.architecture.title, t("{count} blocks", count=len(found.architecture.blocks))]
    if found.counts is not None:
        title += _sizes(found.total)
    hint = (
        t("Point at a block, or use the Tab key, to see what it is.")
        if found.counts is None
        else t("Shaded by share of the parameters. Point at a block, or use the Tab key, for details.")
    )
    return (
        "".join(message_view(remark, REMARK) for remark in found.remarks)
        + f'<div class="lbw-map"><p>{words(*title)}</p>{parts}'
        f'<p class="lbw-map-told" role="status" aria-live="polite">{words(hint)}</p></div>'
    )


def _part(part: Part, found: BlockMap, has_ways: bool) -> str:
    is_row = all(len(column) == 1 for column in part)
    kind = "row" if is_row else "ways" if has_ways else "stack"
    runs = [tuple(block for (block,) in part)] if is_row else part
    made = []
    for run in runs:
        # In a U-Net each level is indented further than the one above it.
        cells = "".join(
            f'<div class="lbw-map-step" style="--lbw-depth:{depth / len(run):.3f}">{_block(block, found)}</div>'
            for depth, block in enumerate(run)
        )
        made.append(f'<div class="lbw-map-run">{cells}</div>')
    heading = ""
    if kind == "stack":
        first = found.words[part[0][0]]
        heading = f'<div class="lbw-map-title">{sum(map(len, part))} × {words(first.words)}</div>'
    return f'<div class="lbw-map-part lbw-map-{kind}">{heading}{"".join(made)}</div>'


def _block(block: str, found: BlockMap) -> str:
    described = found.words[block]
    number = "" if described.number is None else f" {described.number}"
    more = [described.path] if described.path else []
    shade, share, kind = 0.0, "", ""
    if found.counts is not None:
        count = found.counts[block]
        percent = found.share(block)
        more += [*_sizes(count), f"{percent:.2f} %"]
        most = max(found.share(other) for other in found.counts) or 1.0
        shade = _DARKEST * sqrt(percent / most)
        share = f"<small>{_short(percent)}</small>"
        kind = "" if count.tensors else " lbw-map-empty"
    return (
        f'<button type="button" class="lbw-map-block{kind}" style="--lbw-shade:{shade:.1f}%" '
        f'aria-label="{escape(" · ".join((block, str(described), *more)))}"><b>{escape(block)}</b>{share}'
        f'<span class="lbw-map-more" hidden>{words(block, described.words)}{number}'
        f"{' · ' * bool(more)}{words(*more)}</span></button>"
    )


def _sizes(count: BlockCount) -> list[str]:
    tensors, parameters = f"{count.tensors:,}", f"{count.parameters:,}"
    return [t("{count} tensors", count=tensors), t("{count} parameters", count=parameters)]


def _short(percent: float) -> str:
    """Return a share in a form that fits into a block."""
    if not percent:
        return "–"
    return f"{percent:.0f} %" if percent >= 9.95 else f"{percent:.1f} %" if percent >= 0.05 else "&lt;0.1 %"


class BlockMapPanel:
    """The picture and its controls, within the current page."""

    def __init__(
        self,
        loras: LoraFiles,
        loaded: Callable[[], Architecture | None],
        model: Callable[[], Path | None] = lambda: None,
    ) -> None:
        """Build it.

        loaded: returns the architecture of the loaded model, None if it is unknown. model: returns its file or folder,
        None if it is unknown.
        """
        self.loras = loras
        self.loaded = loaded
        self.model = model
        self._titles = {a.title: a for a in ARCHITECTURES.values()}
        with gr.Row(elem_classes=["lbw-row"]):
            self.of_model = gr.Dropdown(
                [LOADED, *self._titles],
                label=t("Model"),
                info=t("shows its blocks; for the loaded model, also their sizes"),
                elem_id="lbw_map_model",
            )
            self.of_lora = gr.Dropdown(
                [], label="LoRA", info=t("shows how its parameters are distributed"), elem_id="lbw_map_lora"
            )
        self.view = gr.HTML(elem_id="lbw_map_view")
        listen(self.of_model.input, self._model_chosen, {self.of_model}, {self.view, self.of_lora})
        listen(self.of_lora.input, self._lora_chosen, {self.of_lora}, {self.view, self.of_model})
        on_page_load(self._opened, {self.view, self.of_lora})

    def _opened(self) -> Updates:
        return {
            self.view: map_view(BlockMap(self.loaded() or USUAL)),
            self.of_lora: gr.update(choices=lora_names(self.loras), value=None),
        }

    def _model_chosen(self, values: Values) -> Updates:
        title = values[self.of_model]
        view = map_view(BlockMap(self._titles[title])) if title in self._titles else self._loaded_view()
        return {self.view: view, self.of_lora: None}

    def _loaded_view(self) -> str:
        loaded, path = self.loaded(), self.model()
        if path is not None:
            try:
                return map_view(map_of_model(path))
            except LbwError as error:
                return message_view(str(error), REMARK) + (map_view(BlockMap(loaded)) if loaded else "")
        if loaded is None:
            return message_view(t("No model is loaded, or its blocks are unknown."), REMARK)
        return map_view(BlockMap(loaded))

    def _lora_chosen(self, values: Values) -> Updates:
        try:
            view = map_view(map_of_lora(lora_path(self.loras, values[self.of_lora] or ""), self.loaded()))
        except LbwError as error:
            view = message_view(str(error), BAD)
        return {self.view: view, self.of_model: None}


def block_map_panel(
    loras: LoraFiles, loaded: Callable[[], Architecture | None], model: Callable[[], Path | None] = lambda: None
) -> BlockMapPanel:
    """Add the map to the current page; see `BlockMapPanel`."""
    return BlockMapPanel(loras, loaded, model)
