"""A cell: the settings of one picture of a grid; and parsing lists of blocks."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from lbw.core import limits
from lbw.core.architectures import FAMILIES
from lbw.core.errors import WeightsError, quote
from lbw.core.family import Architecture
from lbw.core.numbers import format_number, parse_number
from lbw.core.selectors import select
from lbw.core.texts import t
from lbw.core.weights import by_block_text

AUTO = "auto"
CHANGED, COMPLEMENT = "XYZ", "ZYX"
"""Placeholders for block weights in a tag: those of the cell, or one minus those."""


@dataclass(frozen=True)
class Cell:
    """The settings of one picture.

    entries: an entry of block weights for each block of `layout`, in order. seed: of the picture.
    elements: rules of an elemental preset, for tags that say `lbwe=XYZ`. prompt: replaces the renderer's
    own; empty to keep that.
    """

    layout: tuple[str, ...]
    entries: tuple[str, ...]
    seed: int
    elements: str = ""
    prompt: str = ""

    @property
    def weights(self) -> str:
        """The block weights as written in a tag."""
        return by_block_text(dict(zip(self.layout, self.entries)))

    @property
    def complement(self) -> str:
        """One minus the block weights; entries with R, U or X stay the same."""
        return by_block_text({block: _complement(entry) for block, entry in zip(self.layout, self.entries)})

    def with_entry(self, blocks: Collection[str], entry: str) -> Cell:
        """Return this cell with `entry` for those of `blocks` that are in its layout."""
        entries = tuple(entry if block in blocks else old for block, old in zip(self.layout, self.entries))
        return replace(self, entries=entries)

    def differing(self, other: Cell) -> set[str]:
        """Return the blocks in which this cell's weights differ from those of `other`."""
        if self.elements != other.elements:
            return set(self.layout) | set(other.layout)
        if self.layout == other.layout:
            return {block for block, a, b in zip(self.layout, self.entries, other.entries) if a != b}
        mine, theirs = dict(zip(self.layout, self.entries)), dict(zip(other.layout, other.entries))
        return {block for block in mine.keys() | theirs.keys() if mine.get(block) != theirs.get(block)}


def _complement(entry: str) -> str:
    number = parse_number(entry)
    return entry if number is None else format_number(round(1 - number, 12))


def uniform_cell(architecture: Architecture, weight: float, seed: int) -> Cell:
    """Return the cell with one weight for every block."""
    return Cell(architecture.blocks, (format_number(weight),) * len(architecture.blocks), seed)


@dataclass(frozen=True)
class Choice:
    """One item of a list of blocks: as it was written, and its blocks."""

    label: str
    blocks: tuple[str, ...]


def choose(text: str, architecture: Architecture, touched: Collection[str]) -> list[Choice]:
    """Return the choices in a list of blocks.

    text: `auto` for the blocks in `touched`; `12ALL` etc. for those of a layout; or items separated by
        commas, each of ids, ranges and groups separated by spaces, with a leading `NOT` to invert.
    touched: the blocks that the LoRA has tensors in.

    Raises:
        WeightsError: `architecture` does not have a block, or no block is chosen.
    """
    limits.check_length(text, limits.TAG_CHARACTERS, t("Blocks"), WeightsError)
    text = text.strip()
    if text.lower() == AUTO:
        chosen = [Choice(block, (block,)) for block in architecture.blocks if block in touched]
        if not chosen:
            raise WeightsError(t("Blocks: this LoRA has no tensors in any block of the loaded model"))
        return chosen
    try:
        layout = architecture.layout_called(text)
    except LookupError as error:
        known = ", ".join(f"{count}ALL" for count in architecture.layouts)
        raise WeightsError(
            t(
                "Blocks: {model} has no layout {text}; choose {layouts} or auto",
                model=architecture.title,
                text=quote(text, 20),
                layouts=known,
            )
        ) from error
    if layout is not None:
        return [Choice(block, (block,)) for block in layout]
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise WeightsError(t("Blocks is empty; write auto, 12ALL, or for example IN04-IN08,OUT01"))
    try:
        chosen = [Choice(part, select(part, architecture)) for part in dict.fromkeys(parts)]
    except WeightsError as error:
        raise WeightsError(t("{place}: {message}", place=t("Blocks"), message=error)) from error
    empty = next((choice.label for choice in chosen if not choice.blocks), None)
    if empty is not None:
        model = architecture.title
        raise WeightsError(t("Blocks: {text} selects no block of {model}", text=quote(empty), model=model))
    return chosen


_COMPARED = 500
"""The most sets of weights that are sorted; the time for it grows with the square of their number."""


def ordered(cells: Iterable[Cell], tensors: Mapping[str, int]) -> list[Cell]:
    """Return `cells`, each once, in an order in which few tensors change from one to the next.

    The first stays first. A step costs the tensors of the blocks that differ; a change of the text encoders' block
    costs more than all others, because the text must be encoded again; so does another prompt. Cells that differ only
    in their seed cost nothing and are kept together. If there are too many cells to compare, the order is kept.

    tensors: how many tensors the LoRA has in each block.
    """
    given = list(dict.fromkeys(cells))
    if not given:
        return []
    alike: dict[Cell, list[Cell]] = {}
    for cell in given:
        alike.setdefault(replace(cell, seed=0), []).append(cell)
    waiting = list(alike)
    if len(waiting) > _COMPARED:
        return [cell for group in alike.values() for cell in group]
    price = {block: 1 + tensors.get(block, 0) for block in _blocks(waiting)}
    dear = len(waiting) * sum(price.values()) + 1
    price |= dict.fromkeys(_ENCODED, dear)

    def cost(before: Cell, after: Cell) -> int:
        return sum(price[block] for block in before.differing(after)) + dear * (before.prompt != after.prompt)

    order = [waiting.pop(0)]
    while waiting:
        last = order[-1]
        nearest = min(waiting, key=lambda cell: cost(last, cell))
        waiting.remove(nearest)
        order.append(nearest)
    # Going to the nearest cell each time may leave a long step at the end; then the given order is better.
    best = min(order, list(alike), key=lambda order: sum(map(cost, order, order[1:])))
    return [cell for one in best for cell in alike[one]]


_ENCODED = frozenset(block for family in FAMILIES for block in family.encoders.values())


def _blocks(cells: Iterable[Cell]) -> set[str]:
    return {block for cell in cells for block in cell.layout}


def parse_span(text: str, field: str = t("Range")) -> tuple[float, float]:
    """Return the two numbers of a range: the weight of the analyzed block, and that of all others.

    Raises:
        WeightsError: it is not two numbers, or one is out of range.
    """
    numbers = [parse_number(part) for part in text.split(",")]
    if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
        raise WeightsError(
            t("{field} {text} is not two numbers; write for example 0,1 or 0.5,1", field=field, text=quote(text))
        )
    if not max(abs(numbers[0]), abs(numbers[1])) <= limits.WEIGHT:
        most = format_number(limits.WEIGHT)
        raise WeightsError(
            t(
                "{field} {text} is out of range; weights go from -{most} to {most}",
                field=field,
                text=quote(text),
                most=most,
            )
        )
    return numbers[0], numbers[1]


def check_count(count: int) -> None:
    """Check how many pictures a grid or an analysis has, before its cells are created.

    Raises:
        WeightsError: it is above the limit.
    """
    if count > limits.PICTURES:
        counts = {"count": f"{count:,}", "most": f"{limits.PICTURES:,}"}
        raise WeightsError(t("{count} pictures are too many; the limit is {most}", **counts))


_WHOLE = re.compile(r"[+-]?[0-9]{1,30}$")


def whole_number(value: object, field: str, low: int, high: int) -> int:
    """Return `value`, a number or text, as a whole number from `low` to `high`.

    Raises:
        WeightsError: it is not one.
    """
    text = str(value).strip()
    number = int(text) if _WHOLE.match(text) else parse_number(text)  # seeds may be too large for a float to be exact
    if number is None or number != int(number) or not low <= number <= high:
        bounds = {"low": low, "high": high}
        raise WeightsError(
            t(
                "{field} {text} is not a whole number from {low} to {high}",
                field=field,
                text=quote(str(value)),
                **bounds,
            )
        )
    return int(number)


def plain_number(value: object, field: str, example: str) -> float:
    """Return `value`, a number or text, as a number.

    Raises:
        WeightsError: it is not one.
    """
    number = parse_number(str(value))
    if number is None:
        asked = {"field": field, "text": quote(str(value)), "example": example}
        raise WeightsError(t("{field} {text} is not a number; write for example {example}", **asked))
    return number


def positive_number(value: object, field: str, example: str) -> float:
    """Return `value`, a number or text, as a number above 0.

    Raises:
        WeightsError: it is not one.
    """
    number = parse_number(str(value))
    if number is None or number <= 0:
        asked = {"field": field, "text": quote(str(value)), "example": example}
        raise WeightsError(t("{field} {text} is not a number above 0; write for example {example}", **asked))
    return number
