"""Block weights: what a user may write for them, and the number that each block gets from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import limits
from .architectures import ARCHITECTURES, layout_owners
from .errors import PresetError, WeightsError, nearest, quote, unknown_preset
from .family import Architecture
from .numbers import DECIMAL, format_number, parse_number
from .preset_names import find_preset, shown_names, variants
from .selectors import select, some

_DYNAMIC = re.compile(rf"^X(?:([+-])({DECIMAL}))?$", re.ASCII)
_NESTING = 16
_EXAMPLES = "for example 1, 0.5, -1, R, U, X or X+0.2"


def is_entry(text: str) -> bool:
    """Tell whether `text` is an entry of block weights: a number, `R`, `U`, or `X` with or without an offset."""
    text = text.strip()
    return parse_number(text) is not None or text in ("R", "U") or _DYNAMIC.match(text) is not None


@dataclass(frozen=True)
class Drawing:
    """What the entries `R`, `U` and `X` are resolved with: the image's seed, the LoRA's name, the tag's `x=`.

    unlisted: what blocks get that a list of numbers leaves out; as its layout says if None.
    """

    seed: int = 0
    name: str = ""
    x: float = 1.0
    unlisted: float | None = None

    def value(self, entry: str, block: str) -> float:
        """Return the number that `entry` stands for in `block`.

        `R` is uniform in [0, 1], `U` in [-0.5, 1.5], both with three decimals, drawn from a generator of
        their own for each seed, name and block, so that the same seed gives the same image.

        Raises:
            WeightsError: the entry is none, or is too large.
        """
        entry = entry.strip()
        number = parse_number(entry)
        if number is not None:
            return _sane(number, entry, block)
        if entry in ("R", "U"):
            import random  # here, because it is slow to import and few weights need it

            low, high = (0.0, 1.0) if entry == "R" else (-0.5, 1.5)
            return round(random.Random(f"{self.seed}/{self.name}/{block}").uniform(low, high), 3)
        dynamic = _DYNAMIC.match(entry)
        if dynamic:
            sign, offset = dynamic.groups()
            value = self.x + float(f"{sign}{offset}") if sign else self.x
            return _sane(value, entry, block)
        raise WeightsError(f"{quote(entry)} for block {block} is no number; write {_EXAMPLES}")


def _sane(value: float, entry: str, block: str) -> float:
    """Return `value`, which `entry` stands for in `block`.

    Raises:
        WeightsError: it is larger than weights are computed with.
    """
    if not abs(value) <= limits.WEIGHT:
        most = format_number(limits.WEIGHT)
        raise WeightsError(f"{quote(entry)} for block {block} is out of range; weights go from -{most} to {most}")
    return value


@dataclass(frozen=True)
class BlockWeights:
    """A number for each block of an architecture, and the layout that they were written in.

    layout: None where they were written by name, or as one number.
    """

    blocks: Mapping[str, float]
    layout: int | None

    def text(self, architecture: Architecture) -> str:
        """Return these weights as a list of numbers that means exactly them, in their own layout where it can."""
        for count in (self.layout, architecture.full_layout):
            if count is None or count not in architecture.layouts:
                continue
            listed = architecture.layouts[count]
            unlisted = architecture.unlisted.get(count, 0.0)
            if all(weight == unlisted for block, weight in self.blocks.items() if block not in listed):
                return ",".join(format_number(self.blocks.get(block, 0.0)) for block in listed)
        raise AssertionError("the full layout lists every block")


def uniform(architecture: Architecture, weight: float = 1.0) -> BlockWeights:
    """Return the same weight for every block."""
    return BlockWeights(dict.fromkeys(architecture.blocks, weight), None)


Lookup = Callable[[str], "str | None"]


def resolve(
    text: str,
    architecture: Architecture,
    drawing: Drawing,
    presets: Mapping[str, str],
) -> BlockWeights:
    """Return the block weights that `text` means for a LoRA of `architecture`.

    `text` is a preset's name, a list of numbers, one number, or a named list (SYNTAX.md 2).

    Raises:
        PresetError: a preset that does not exist, or that leads back to itself.
        WeightsError: anything else that cannot be understood or does not fit.
    """
    limits.check_length(text, limits.TAG_CHARACTERS, "a text of block weights", WeightsError)
    return _resolve(text.strip(), architecture, drawing, presets, ())


def _resolve(
    text: str, architecture: Architecture, drawing: Drawing, presets: Mapping[str, str], within: tuple[str, ...]
) -> BlockWeights:
    if (key := find_preset(text, presets, architecture)) is not None:
        if key in within or len(within) >= _NESTING:
            raise PresetError(f"preset {quote(text)} leads back to itself: {' → '.join((*within, key))}")
        try:
            return _resolve(presets[key].strip(), architecture, drawing, presets, (*within, key))
        except WeightsError as error:
            raise WeightsError(f"preset {quote(text)}: {error}") from error
    if not text:
        raise WeightsError("block weights are empty; write a preset's name, a list of numbers or for example 0,OUT00=1")
    entries = [entry.strip() for entry in text.split(",")]
    if any("=" in entry for entry in entries):
        return _named_list(entries, architecture, drawing, presets, within)
    if len(entries) == 1:
        if not is_entry(text):
            raise unknown_preset(text, shown_names(presets))
        return BlockWeights({block: drawing.value(text, block) for block in architecture.blocks}, None)
    return _list(entries, architecture, drawing, presets)


def _list(entries: list[str], architecture: Architecture, drawing: Drawing, presets: Mapping[str, str]) -> BlockWeights:
    count = len(entries)
    listed = architecture.layouts.get(count)
    if listed is None:
        accepted = ", ".join(map(str, architecture.layouts))
        owners = layout_owners(count)
        if owners:
            raise WeightsError(
                f"{count} numbers are the layout of {some([a.title for a in owners])}, and this LoRA is for "
                f"{architecture.title}, which takes {accepted} numbers"
            )
        close = nearest(entries[0], shown_names(presets), 1) if not is_entry(entries[0]) else []
        hint = f"; or did you mean {quote(close[0])}?" if close else ""
        raise WeightsError(f"{count} numbers given; {architecture.title} takes {accepted} numbers{hint}")
    unlisted = architecture.unlisted.get(count, 0.0) if drawing.unlisted is None else drawing.unlisted
    blocks = dict.fromkeys(architecture.blocks, unlisted)
    for place, (block, entry) in enumerate(zip(listed, entries), start=1):
        if not is_entry(entry):
            raise WeightsError(
                f"{quote(entry)}, number {place} of {count}, for block {block}, is no number; write {_EXAMPLES}"
            )
        if block in blocks:
            blocks[block] = drawing.value(entry, block)
    return BlockWeights(blocks, count)


def _named_list(
    entries: list[str],
    architecture: Architecture,
    drawing: Drawing,
    presets: Mapping[str, str],
    within: tuple[str, ...],
) -> BlockWeights:
    layout = None
    blocks = dict.fromkeys(architecture.blocks, 0.0)
    if "=" not in entries[0]:
        ground = _resolve(entries[0], architecture, drawing, presets, within)
        layout = ground.layout
        blocks = dict(ground.blocks)
        entries = entries[1:]
    for entry in entries:
        selector, equals, value = entry.partition("=")
        if not equals:
            raise WeightsError(
                f"{quote(entry)} sets no block; write for example OUT00=1, and a preset or number only first"
            )
        for block in select(selector, architecture):
            if not is_entry(value):
                raise WeightsError(f"{quote(value)}, for block {block}, is no number; write for example {block}=0.5")
            blocks[block] = drawing.value(value, block)
    return BlockWeights(blocks, layout)


def uses_dynamic(text: str, presets: Mapping[str, str]) -> bool:
    """Tell whether the block weights `text`, or the presets that it names, contain an `X`."""
    seen: set[str] = set()
    todo = [text.strip()]
    while todo:
        text = todo.pop()
        found = variants(text, presets) if text not in seen else []
        seen.add(text)
        if found:
            todo += [weights.strip() for weights in found]
            continue
        for entry in text.split(","):
            value = entry.rpartition("=")[2].strip()
            if _DYNAMIC.match(value):
                return True
            if value not in seen and variants(value, presets):
                todo.append(value)
    return False


def architectures_that_take(text: str, presets: Mapping[str, str]) -> list[Architecture]:
    """Return the architectures for which `text` is valid block weights."""
    fitting = []
    for architecture in ARCHITECTURES.values():
        try:
            resolve(text, architecture, Drawing(), presets)
        except (WeightsError, PresetError):
            continue
        fitting.append(architecture)
    return fitting
