"""The XYZ plot: up to three axes over blocks, values, seeds, original weights and elements."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from lbw.core.elements import parse_rules
from lbw.core.entries import parse_entry
from lbw.core.errors import LbwError, WeightsError, quote
from lbw.core.family import Architecture
from lbw.core.numbers import parse_number
from lbw.core.preset_names import check_exists, is_preset
from lbw.core.selectors import select, select_in_kind
from lbw.core.texts import t
from lbw.core.weights import parse_block_weights

from .cells import CHANGED, Cell, check_count
from .ranges import numbers, split

LARGEST_SEED = 4294967294


class AxisType(Enum):
    """What an axis changes; the values are the names familiar to users."""

    NONE = t("none")
    BLOCKS = t("Block ID")
    VALUES = t("values")
    SEED = t("seed")
    WEIGHTS = t("Original Weights")
    ELEMENTS = t("elements")


@dataclass(frozen=True)
class Axis:
    """One axis: what it changes, and its values as shown on the grid."""

    type: AxisType = AxisType.NONE
    values: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Grid:
    """A plot: for each position (z, y, x), in that order of nesting, the cell shown there."""

    x: Axis
    y: Axis
    z: Axis
    cells: Mapping[tuple[int, int, int], Cell]


def axis_type(text: str, field: str) -> AxisType:
    """Return the type that `text` names; empty means none.

    Raises:
        WeightsError: there is no such type.
    """
    wanted = text.strip().lower()
    if wanted in ("", t("none")):
        return AxisType.NONE
    for kind in AxisType:
        if kind.value.lower() == wanted:
            return kind
    # Shorter names used in requests to the predecessor's API.
    short = {"id": AxisType.BLOCKS, "value": AxisType.VALUES, "base weights": AxisType.WEIGHTS}
    if wanted in short:
        return short[wanted]
    types = ", ".join(kind.value for kind in AxisType)
    raise WeightsError(
        t("{field} {text} is not an axis type; choose {types}", field=field, text=quote(text), types=types)
    )


def parse_axis(
    kind: str,
    values: str,
    name: str,
    architecture: Architecture,
    presets: Mapping[str, str],
    draw: Callable[[], int],
) -> Axis:
    """Return an axis whose values have been checked, so that all of them can be rendered.

    name: "X", "Y" or "Z", for the messages. draw: returns a seed for a value of -1.

    Raises:
        LbwError: a value is not valid; the message names the axis and gives an example.
    """
    field = t("{axis} type", axis=name)
    which = axis_type(kind, field)
    if which is AxisType.NONE:
        return Axis()
    where = t("{axis} values", axis=name)
    try:
        found = _values(which, values, architecture, presets, draw)
    except LbwError as error:
        raise type(error)(t("{place}: {message}", place=where, message=error)) from error
    if not found:
        raise WeightsError(
            t("{field} are empty; write one or more for {type}, separated by commas", field=where, type=which.value)
        )
    return Axis(which, tuple(found))


def _values(
    which: AxisType, text: str, architecture: Architecture, presets: Mapping[str, str], draw: Callable[[], int]
) -> list[str]:
    if which is AxisType.BLOCKS:
        try:
            layout = architecture.layout_called(text)
        except LookupError as error:
            known = ", ".join(f"{count}ALL" for count in architecture.layouts)
            wrong = {"model": architecture.title, "text": quote(text, 20), "layouts": known}
            raise WeightsError(t("{model} has no layout {text}; choose {layouts}", **wrong)) from error
        items = list(layout) if layout else split(text)
        for item in items:
            select(item, architecture)
        return items
    if which is AxisType.VALUES:
        found = numbers(text)
        for value in found:
            if not parse_entry(value).is_valid:
                raise WeightsError(
                    t("{text} is not a number; write for example 0,0.5,1 or 0-1 (+0.25) or 0-1 [5]", text=quote(value))
                )
        return found
    if which is AxisType.SEED:
        return [str(_seed(value, draw)) for value in numbers(text, whole=True)]
    if which is AxisType.WEIGHTS:
        for value in split(text):
            check_exists(value, presets)
            parse_block_weights(value).resolve(architecture, presets)
        return split(text)
    rules = split(text)
    for rule in rules:
        for parsed in parse_rules(rule):
            if parsed.blocks:
                select_in_kind(parsed.blocks, architecture)
    return rules


def _seed(value: str, draw: Callable[[], int]) -> int:
    number = parse_number(value)
    # A float cannot tell the last seed from the number after it.
    written = re.fullmatch(r"[+-]?\d{1,30}", value.strip(), re.ASCII)
    exact = int(value) if written else int(number) if number is not None and number == int(number) else None
    if exact is None or not -1 <= exact < 2**63:
        raise WeightsError(t("{text} is not a seed; write whole numbers, -1 for a random one", text=quote(value)))
    return draw() if exact == -1 else exact


def random_seed() -> int:
    """Return a random seed, in the same range as in the WebUIs."""
    return random.randrange(LARGEST_SEED)


def entries_of(text: str, architecture: Architecture, presets: Mapping[str, str], seed: int) -> Cell:
    """Return the cell of the block weights `text`.

    A list of numbers keeps its own layout: blocks that it leaves out at 0 are not changed by the axes either. Entries
    stay as written: `R`, `U` and `X` are resolved with the tag's own seed and `x=`.
    """
    entries = parse_block_weights(text).entries_for(architecture, presets)
    left_out = frozenset() if entries.layout in architecture.unlisted else entries.left_out
    written = {block: entry.text for block, entry in entries.by_block.items() if block not in left_out}
    return Cell(tuple(written), tuple(written.values()), seed)


def combined(first: Cell, second: Cell) -> Cell:
    """Return the combination of two original weights: the sum, but only the first if neither is 0."""
    mine, theirs = dict(zip(first.layout, first.entries)), dict(zip(second.layout, second.entries))
    layout = tuple(dict.fromkeys((*first.layout, *second.layout)))

    def entry(block: str) -> str:
        one = mine.get(block, "0")
        return one if parse_number(one) != 0 else theirs.get(block, "0")

    return Cell(layout, tuple(map(entry, layout)), first.seed)


def build(
    x: Axis,
    y: Axis,
    z: Axis,
    architecture: Architecture,
    presets: Mapping[str, str],
    seed: int,
) -> Grid:
    """Return the plot of three axes.

    presets: `XYZ` among them is the starting value of the axes; without it, every block starts at 1. seed: for cells
    without a seed axis.

    Raises:
        WeightsError: a Block ID axis without values, or values without a Block ID; two axes of one type, except
            Original Weights on X and Y; too many pictures.
    """
    _check(x, y, z)
    check_count(len(x.values) * len(y.values) * len(z.values))
    base = entries_of(CHANGED if is_preset(CHANGED, presets) else "1", architecture, presets, seed)
    cells: dict[tuple[int, int, int], Cell] = {}
    for index in itertools.product(range(len(z.values)), range(len(y.values)), range(len(x.values))):
        values = [(axis.type, axis.values[number]) for axis, number in zip((x, y, z), index[::-1])]
        chosen = dict(values)
        cell = base
        originals = [value for kind, value in values if kind is AxisType.WEIGHTS]
        if originals:
            cells_of = [entries_of(name, architecture, presets, seed) for name in originals]
            cell = cells_of[0] if len(cells_of) == 1 else combined(cells_of[0], cells_of[1])
        if AxisType.BLOCKS in chosen:
            cell = cell.with_entry(select(chosen[AxisType.BLOCKS], architecture), chosen[AxisType.VALUES])
        if AxisType.ELEMENTS in chosen:
            cell = replace(cell, elements=chosen[AxisType.ELEMENTS])
        if AxisType.SEED in chosen:
            cell = replace(cell, seed=int(chosen[AxisType.SEED]))
        cells[index] = cell
    return Grid(x, y, z, cells)


def _check(*axes: Axis) -> None:
    types = [axis.type for axis in axes if axis.type is not AxisType.NONE]
    if not types:
        raise WeightsError(t("no axis is chosen; choose for example X: values and Y: Block ID"))
    if (AxisType.BLOCKS in types) != (AxisType.VALUES in types):
        there, lacking = (
            (AxisType.BLOCKS, AxisType.VALUES) if AxisType.BLOCKS in types else (AxisType.VALUES, AxisType.BLOCKS)
        )
        raise WeightsError(
            t("an axis of type {type} also needs one of type {other}", type=there.value, other=lacking.value)
        )
    for kind in set(types):
        count = types.count(kind)
        both = kind is AxisType.WEIGHTS and count == 2 and axes[2].type is not kind
        if count > 1 and not both:
            raise WeightsError(
                t(
                    "{count} axes have the type {type}; use each type once, or Original Weights on both X and Y",
                    count=count,
                    type=kind.value,
                )
            )


def labels(axis: Axis) -> list[str]:
    """Return the labels of an axis."""
    return list(axis.values) if axis.type is not AxisType.NONE else [""]


def touched_cells(grid: Grid) -> Sequence[Cell]:
    """Return the cells to render, each once."""
    return list(dict.fromkeys(grid.cells.values()))
