"""Sliders of blocks in the shape of their model: one part of the page for all, however many they are."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from lbw.core.weights import format_number, parse_number

LOWEST, HIGHEST, STEP = -1.0, 2.0, 0.05
"""What the sliders reach; numbers that go further widen them."""

_TALLEST = 20


@dataclass(frozen=True)
class Shape:
    """How sliders stand on the page: columns beside each other, and a row below them."""

    columns: tuple[tuple[str, ...], ...]
    below: tuple[str, ...] = ()


def shape(blocks: Sequence[str]) -> Shape:
    """Return where the sliders of `blocks` stand: a U-Net down the left and up the right, others in columns."""
    families: dict[str, list[str]] = {}
    for block in blocks:
        families.setdefault(re.sub(r"\d+$", "", block), []).append(block)
    if len(families.get("IN", [])) > 1 and len(families.get("OUT", [])) > 1:
        below = [block for family, members in families.items() if family not in ("IN", "OUT") for block in members]
        return Shape((tuple(families["IN"]), tuple(reversed(families["OUT"]))), tuple(reversed(below)))
    single = tuple(block for members in families.values() if len(members) == 1 for block in members)
    long = [members for members in families.values() if len(members) > 1]
    columns = [
        tuple(members[first : first + -(-len(members) // parts)])
        for members in long
        for parts in [-(-len(members) // _TALLEST)]
        for first in range(0, len(members), -(-len(members) // parts))
    ]
    return Shape(tuple(columns), single)


def sliders_view(values: Mapping[str, float], shown: Collection[str], prefix: str, box_id: str) -> str:
    """Return a slider and a number for each block of `values`; those that are not `shown` are there, and hidden.

    prefix: of each slider's id, before its block. box_id: the element with the text box that is told the values as
    `values_in` reads them, whenever somebody moves one.
    """
    code = f"""
        const field = event.target;
        const [range, number] = field.closest('.lbw-weights-slider').querySelectorAll('input');
        if (field === range) number.value = range.value;
        else if (number.value !== '') {{
            range.min = Math.min(range.min, number.value);
            range.max = Math.max(range.max, number.value);
            range.value = number.value;
        }}
        const box = this.getRootNode().querySelector('#{box_id} :is(textarea, input)');
        const all = [...this.querySelectorAll('input[type=number]')];
        box.value = all.map(each => each.dataset.block + '=' + each.value).join(',');
        box.dispatchEvent(new Event('input', {{bubbles: true}}));"""

    def slider(block: str) -> str:
        value = values[block]
        ends = f'min="{format_number(min(LOWEST, value))}" max="{format_number(max(HIGHEST, value))}"'
        held = f'value="{format_number(value)}" aria-label="{escape(block)}"'
        return (
            f'<label class="lbw-weights-slider" id="{prefix}{escape(block)}"{"" if block in shown else " hidden"}>'
            f"<span>{escape(block)}</span><input type='range' {ends} step='{STEP}' {held}>"
            f"<input type='number' step='{STEP}' data-block='{escape(block)}' {held}></label>"
        )

    def group(blocks: Sequence[str], name: str) -> str:
        return f'<div class="{name}">{"".join(map(slider, blocks))}</div>'

    form = shape(list(values))
    columns = "".join(group(column, "lbw-weights-column") for column in form.columns)
    below = group(form.below, "lbw-weights-below") if form.below else ""
    return (
        f'<div class="lbw-weights-sliders" oninput="{escape(" ".join(code.split()))}">'
        f'<div class="lbw-weights-columns">{columns}</div>{below}</div>'
    )


def values_text(values: Mapping[str, float]) -> str:
    """Return `values` as the page writes them."""
    return ",".join(f"{block}={format_number(value)}" for block, value in values.items())


def values_in(text: str, blocks: Sequence[str]) -> dict[str, float]:
    """Return the value of each of `blocks` in what the page wrote: 0 for an empty field, 1 for one that it lacks."""
    entries = dict(entry.partition("=")[::2] for entry in (text or "").split(","))
    return {block: parse_number(entries.get(block, "1")) or 0.0 for block in blocks}
