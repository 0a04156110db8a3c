"""Sliders of blocks in the shape of their model: one part of the page for all, however many they are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape

from lbw.core.entries import Entry, EntryKind
from lbw.core.numbers import format_number
from lbw.core.shape import Part
from lbw.core.weights import parse_block_weights

LOWEST, HIGHEST, STEP = -1.0, 2.0, 0.05
"""What the sliders reach; numbers that go further widen them."""

_BESIDE = 3
"""Columns that stand beside each other at most."""


def sliders_view(
    values: Mapping[str, float], shown: Collection[str], parts: Sequence[Part], prefix: str, box_id: str
) -> str:
    """Return a slider and a number for each block of `values`; those that are not `shown` are there, and hidden.

    parts: where the blocks stand, as `lbw.core.shape` gives it. prefix: of each slider's id, before its block.
    box_id: the element with the text box that is told the values as `values_in` reads them, whenever somebody moves
    one.
    """

    def slider(block: str) -> str:
        value = values[block]
        ends = f'min="{format_number(min(LOWEST, value))}" max="{format_number(max(HIGHEST, value))}"'
        held = f'value="{format_number(value)}" aria-label="{escape(block)}"'
        return (
            f'<label class="lbw-weights-slider" id="{prefix}{escape(block)}"{"" if block in shown else " hidden"}>'
            f"<span>{escape(block)}</span><input type='range' {ends} step='{STEP}' {held}>"
            f"<input type='number' step='{STEP}' data-block='{escape(block)}' {held}></label>"
        )

    def sliders(blocks: Iterable[str]) -> str:
        return "".join(map(slider, blocks))

    # A column of which nothing is shown would leave a hole; its sliders are there all the same.
    seen = [tuple(column for column in part if set(column) & set(shown)) for part in parts]
    placed = {block for part in seen for column in part for block in column}
    made = [
        f'<div class="lbw-weights-part" style="--lbw-columns:{min(_BESIDE, len(part))}">'
        + "".join(f"<div>{sliders(column)}</div>" for column in part)
        + "</div>"
        for part in seen
        if part
    ]
    unseen = sliders(block for block in values if block not in placed)
    return f'<div class="lbw-weights-sliders" data-box="{box_id}">{"".join(made)}{unseen}</div>'


def values_text(values: Mapping[str, float]) -> str:
    """Return `values` as the page writes them."""
    return ",".join(f"{block}={format_number(value)}" for block, value in values.items())


def values_in(text: str, blocks: Sequence[str]) -> dict[str, float]:
    """Return the value of each of `blocks` in what the page wrote: 0 for an empty field, 1 for one that it lacks."""
    entries = dict(parse_block_weights(text or "").by_block)
    return {block: _value(entries[block]) if block in entries else 1.0 for block in blocks}


def _value(entry: Entry | None) -> float:
    return entry.number if entry and entry.kind is EntryKind.NUMBER else 0.0
