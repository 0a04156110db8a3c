"""Block weights: parsing what a user wrote, and the number that each block of a model gets from it.

text ─▶ BlockWeights ─▶ BlockEntries, with the presets, for an architecture ─▶ ResolvedWeights, with seed and X
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from . import limits
from .architectures import layout_owners
from .entries import Entry, EntryKind, RandomSource, check_range, parse_entry
from .errors import PresetError, WeightsError, nearest, quote, some, unknown_preset
from .family import Architecture
from .numbers import format_number
from .preset_names import find_preset, is_preset, shown_names, variants
from .selectors import select
from .texts import t

_NESTING = 16
_NO_SEED = RandomSource()


# Resolved ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ResolvedWeights:
    """A number for each block of an architecture, and the layout that they were written in.

    layout: None if they were written by name or as a single number.
    """

    blocks: Mapping[str, float]
    layout: int | None

    def text(self, architecture: Architecture) -> str:
        """Return these weights as an equivalent list of numbers, in their own layout if possible."""
        for count in (self.layout, architecture.full_layout):
            if count is None or count not in architecture.layouts:
                continue
            listed = architecture.layouts[count]
            unlisted = architecture.unlisted.get(count, 0.0)
            if all(weight == unlisted for block, weight in self.blocks.items() if block not in listed):
                return positional_text(self.blocks.get(block, 0.0) for block in listed)
        raise AssertionError("the full layout lists every block")


def uniform(architecture: Architecture, weight: float = 1.0) -> ResolvedWeights:
    """Return the same weight for every block."""
    return ResolvedWeights(dict.fromkeys(architecture.blocks, weight), None)


@dataclass(frozen=True)
class BlockEntries:
    """An entry for each block of an architecture, before random numbers are drawn and `X` has a value.

    by_block: in the order of the architecture's blocks, all valid. layout: as `ResolvedWeights` has it. left_out: the
    blocks that a list of numbers does not include; empty if anything was written by name.
    """

    by_block: Mapping[str, Entry]
    layout: int | None = None
    left_out: frozenset[str] = frozenset()

    @property
    def variable_blocks(self) -> list[str]:
        """The blocks whose number depends on the seed or on the tag: those with `R`, `U` or `X`."""
        return [block for block, entry in self.by_block.items() if entry.kind is not EntryKind.NUMBER]

    def resolve(self, random_source: RandomSource = _NO_SEED, x: float = 1.0) -> ResolvedWeights:
        """Return the number of each block.

        Raises:
            WeightsError: one is out of range.
        """
        numbers = {block: entry.value(block, random_source, x) for block, entry in self.by_block.items()}
        return ResolvedWeights(numbers, self.layout)


# Parsed ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BlockWeights:
    """Block weights as written (SYNTAX.md 2), before presets are looked up and independent of a model.

    Any text can be parsed. Whether it is valid depends on the presets, whose names may look like anything, and on the
    blocks of the architecture.

    text: as written, without surrounding spaces.
    positional: the entries of a list of numbers, in the order of some layout.
    default: one number for every block, or the name of a preset; None if there is neither. It is alone, or comes before
        `by_block`.
    by_block: the overrides `SELECTOR=VALUE` in their order, later ones win; an item without `=` has no entry.
    """

    text: str
    positional: tuple[Entry, ...] = ()
    default: Entry | None = None
    by_block: tuple[tuple[str, Entry | None], ...] = ()

    def resolve(
        self,
        architecture: Architecture,
        presets: Mapping[str, str],
        random_source: RandomSource = _NO_SEED,
        x: float = 1.0,
    ) -> ResolvedWeights:
        """Return the number that each block of a LoRA of `architecture` gets. x: the tag's `x=`.

        Raises:
            PresetError: a preset does not exist, or refers to itself.
            WeightsError: anything else is not valid or does not fit.
        """
        return self.entries_for(architecture, presets).resolve(random_source, x)

    def entries_for(
        self, architecture: Architecture, presets: Mapping[str, str], unlisted: float | None = None
    ) -> BlockEntries:
        """Return the entry of each block of a LoRA of `architecture`, with presets, layout and selectors resolved.

        unlisted: what blocks get that a list of numbers leaves out; None for the layout's own value.

        Raises:
            PresetError, WeightsError: as `resolve` does.
        """
        return self._entries(architecture, presets, unlisted, ())

    def _entries(
        self, architecture: Architecture, presets: Mapping[str, str], unlisted: float | None, within: tuple[str, ...]
    ) -> BlockEntries:
        """Return what `entries_for` does. within: the presets that led here."""
        limits.check_length(self.text, limits.TAG_CHARACTERS, t("the text of the block weights"), WeightsError)
        if (key := find_preset(self.text, presets, architecture)) is not None:
            if key in within or len(within) >= _NESTING:
                raise PresetError(
                    t(
                        "preset {name} refers to itself: {way}",
                        name=quote(self.text),
                        way=" → ".join((*within, key)),
                    )
                )
            try:
                return parse_block_weights(presets[key])._entries(architecture, presets, unlisted, (*within, key))
            except WeightsError as error:
                raise WeightsError(t("preset {name}: {message}", name=quote(self.text), message=error)) from error
        if not self.text:
            raise WeightsError(
                t("the block weights are empty; write a preset name, a list of numbers, or for example 0,OUT00=1")
            )
        if self.positional:
            return self._listed(architecture, presets, unlisted)
        if not self.by_block:
            return self._same_for_all(architecture, presets)
        if self.default is None:
            return BlockEntries(self._overridden(dict.fromkeys(architecture.blocks, parse_entry("0")), architecture))
        default = parse_block_weights(self.default.text)._entries(architecture, presets, unlisted, within)
        return BlockEntries(self._overridden(default.by_block, architecture), default.layout)

    def _same_for_all(self, architecture: Architecture, presets: Mapping[str, str]) -> BlockEntries:
        assert self.default is not None
        if not self.default.is_valid:
            raise unknown_preset(self.text, shown_names(presets))
        return BlockEntries({block: _in_range(self.default, block) for block in architecture.blocks})

    def _listed(self, architecture: Architecture, presets: Mapping[str, str], unlisted: float | None) -> BlockEntries:
        count = len(self.positional)
        listed = architecture.layouts.get(count)
        if listed is None:
            raise self._wrong_count(architecture, presets)
        if unlisted is None:
            unlisted = architecture.unlisted.get(count, 0.0)
        by_block = dict.fromkeys(architecture.blocks, parse_entry(format_number(unlisted)))
        for position, (block, entry) in enumerate(zip(listed, self.positional), start=1):
            if not entry.is_valid:
                raise WeightsError(
                    t(
                        "{text}, entry {position} of {count}, for block {block}, is not a number; "
                        "write for example 1, 0.5, -1, R, U, X or X+0.2",
                        text=quote(entry.text),
                        position=position,
                        count=count,
                        block=block,
                    )
                )
            if block in by_block:
                by_block[block] = _in_range(entry, block)
        return BlockEntries(by_block, count, frozenset(by_block).difference(listed))

    def _wrong_count(self, architecture: Architecture, presets: Mapping[str, str]) -> WeightsError:
        count, first = len(self.positional), self.positional[0]
        accepted = ", ".join(map(str, architecture.layouts))
        owners = layout_owners(count)
        if owners:
            return WeightsError(
                t(
                    "{count} numbers fit the layout of {models}, but this LoRA is for {model}, "
                    "which takes {counts} numbers",
                    count=count,
                    models=some([a.title for a in owners]),
                    model=architecture.title,
                    counts=accepted,
                )
            )
        close = [] if first.is_valid else nearest(first.text, shown_names(presets), 1)
        given = t(
            "{count} numbers given, but {model} takes {counts} numbers",
            count=count,
            model=architecture.title,
            counts=accepted,
        )
        return WeightsError(
            t("{message}; or did you mean {name}?", message=given, name=quote(close[0])) if close else given
        )

    def _overridden(self, default: Mapping[str, Entry], architecture: Architecture) -> dict[str, Entry]:
        by_block = dict(default)
        for selector, entry in self.by_block:
            if entry is None:
                raise WeightsError(
                    t(
                        "{text} does not set a block; write for example OUT00=1 (a preset or a plain "
                        "number can only come first)",
                        text=quote(selector),
                    )
                )
            for block in select(selector, architecture):
                if not entry.is_valid:
                    raise WeightsError(
                        t(
                            "{text}, for block {block}, is not a number; write for example {block}=0.5",
                            text=quote(entry.text),
                            block=block,
                        )
                    )
                by_block[block] = _in_range(entry, block)
        return by_block

    def names_preset(self, presets: Mapping[str, str]) -> bool:
        """Return whether this is the name of a preset for any model, or is based on one."""
        if not presets:
            return False
        return is_preset(self.text, presets) or (self.default is not None and is_preset(self.default.text, presets))

    def uses_x(self, presets: Mapping[str, str]) -> bool:
        """Return whether these weights, or the presets they name, contain an `X`."""
        seen: set[str] = set()
        todo = [self]
        while todo:
            weights = todo.pop()
            if weights.text in seen:
                continue
            seen.add(weights.text)
            if named := variants(weights.text, presets):
                todo += map(parse_block_weights, named)
                continue
            written = [*weights.positional, weights.default, *(entry for _, entry in weights.by_block)]
            if any(entry is not None and entry.kind is EntryKind.DYNAMIC for entry in written):
                return True
            if weights.by_block and weights.default is not None:
                todo.append(parse_block_weights(weights.default.text))
        return False


def _in_range(entry: Entry, block: str) -> Entry:
    """Return `entry`, which is given to `block`.

    Raises:
        WeightsError: it is a number that is out of range.
    """
    if entry.kind is EntryKind.NUMBER:
        check_range(entry.number, entry.text, block)
    return entry


def parse_block_weights(text: str) -> BlockWeights:
    """Return `text`, whatever it is, as block weights; if it is too long, it is not parsed and cannot be resolved."""
    text = text.strip()
    return _parsed(text) if len(text) <= limits.TAG_CHARACTERS else BlockWeights(text)


@lru_cache(maxsize=1024)
def _parsed(text: str) -> BlockWeights:
    items = [item.strip() for item in text.split(",")]
    if "=" not in text:
        entries = tuple(map(parse_entry, items))
        return BlockWeights(text, default=entries[0]) if len(entries) == 1 else BlockWeights(text, entries)
    default = parse_entry(items.pop(0)) if "=" not in items[0] else None
    by_block = []
    for item in items:
        selector, equals, value = item.partition("=")
        by_block.append((selector.strip(), parse_entry(value) if equals else None))
    return BlockWeights(text, (), default, tuple(by_block))


# Text --------------------------------------------------------------------------------------------


def positional_text(weights: Iterable[float | str]) -> str:
    """Return `weights`, numbers or entries as they are written, as a list of numbers."""
    return ",".join(weight if isinstance(weight, str) else format_number(weight) for weight in weights)


def by_block_text(weights: Mapping[str, float | str], default: float = 0.0) -> str:
    """Return the weights of some blocks by name, preceded by the number that all others get."""
    overrides = (f"{block}={positional_text([weight])}" for block, weight in weights.items())
    return ",".join([format_number(default), *overrides])
