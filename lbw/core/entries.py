"""One entry of block weights: a number, `R`, `U`, or `X` with or without an offset (SYNTAX.md 2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from . import limits
from .errors import WeightsError, quote
from .numbers import DECIMAL, format_number, parse_number
from .texts import t

_DYNAMIC = re.compile(rf"^X(?:([+-])({DECIMAL}))?$", re.ASCII)
_SHORT = 32
"""Length up to which parsed entries are cached; lists of numbers repeat the same few."""


class EntryKind(Enum):
    """What an entry is; `INVALID` is text that is not an entry."""

    NUMBER = "number"
    RANDOM = "R"
    WIDE_RANDOM = "U"
    DYNAMIC = "X"
    INVALID = "invalid"


_RANGES = {EntryKind.RANDOM: (0.0, 1.0), EntryKind.WIDE_RANDOM: (-0.5, 1.5)}


@dataclass(frozen=True)
class RandomSource:
    """What `R` and `U` depend on: the image's seed and the LoRA's name.

    Each block has its own generator, so the same seed gives the same number whatever the other entries are.
    """

    seed: int = 0
    name: str = ""

    def uniform(self, low: float, high: float, block: str) -> float:
        """Return the random number of `block` between `low` and `high`, with three decimals."""
        import random  # here, because it is slow to import and few weights need it

        # As bytes: the name of a file that is no UTF-8 holds half characters.
        source = f"{self.seed}/{self.name}/{block}".encode("utf-8", "surrogatepass")
        return round(random.Random(source).uniform(low, high), 3)


@dataclass(frozen=True)
class Entry:
    """One entry of block weights.

    text: as written, without surrounding spaces. number: the value of a number, or the offset of `X`; otherwise 0.
    """

    text: str
    kind: EntryKind
    number: float = 0.0

    @property
    def is_valid(self) -> bool:
        """Whether the text is a valid entry."""
        return self.kind is not EntryKind.INVALID

    def value(self, block: str, random_source: RandomSource, x: float) -> float:
        """Return the number that a valid entry stands for in `block`. x: the value of `X`.

        Raises:
            WeightsError: the sum of `X` and its offset is out of range.
        """
        if self.kind in _RANGES:
            return random_source.uniform(*_RANGES[self.kind], block)
        return check_range(x + self.number, self.text, block) if self.kind is EntryKind.DYNAMIC else self.number


def check_range(value: float, written: str, block: str) -> float:
    """Return `value`, the number that the entry `written` stands for in `block`.

    Raises:
        WeightsError: it is out of range.
    """
    if not abs(value) <= limits.WEIGHT:
        most = format_number(limits.WEIGHT)
        raise WeightsError(
            t(
                "{text} for block {block} is out of range; weights go from -{most} to {most}",
                text=quote(written),
                block=block,
                most=most,
            )
        )
    return value


def parse_entry(text: str) -> Entry:
    """Return the entry written as `text`, which may be invalid."""
    text = text.strip()
    return _kept(text) if len(text) <= _SHORT else _parsed(text)


def _parsed(text: str) -> Entry:
    number = parse_number(text)
    if number is not None:
        return Entry(text, EntryKind.NUMBER, number)
    if text in ("R", "U"):
        return Entry(text, EntryKind(text))
    dynamic = _DYNAMIC.match(text)
    if dynamic:
        sign, offset = dynamic.groups()
        return Entry(text, EntryKind.DYNAMIC, float(f"{sign}{offset}") if sign else 0.0)
    return Entry(text, EntryKind.INVALID)


_kept = lru_cache(maxsize=4096)(_parsed)
