"""Which blocks a selector selects: ids, groups and ranges."""

from __future__ import annotations

import re
from functools import lru_cache

from .architectures import ARCHITECTURES
from .errors import WeightsError, listing, quote, some
from .family import Architecture
from .texts import t

_ID = re.compile(r"^([A-Z]+)(\d+)$", re.ASCII)


def _normalized(text: str) -> str:
    """Return a block id in one spelling: upper case, no leading zeros, MID as M00."""
    text = text.strip().upper()
    match = _ID.match(text)
    if match:
        letters, number = match.groups()
        return f"{'M' if letters == 'MID' else letters}{number.lstrip('0') or '0'}"
    return text


@lru_cache(maxsize=256)
def _ids(architecture: Architecture) -> dict[str, str]:
    return {_normalized(block): block for block in architecture.blocks}


def _named(text: str, architecture: Architecture) -> tuple[str, ...] | None:
    """Return the blocks of one block id or group; None if `architecture` has nothing of that name."""
    name = _normalized(text)
    block = _ids(architecture).get(name)
    return (block,) if block else architecture.groups.get(name)


def _one(text: str, architecture: Architecture, whole: str) -> tuple[str, ...]:
    """Return the blocks of one block id or group of the selector `whole`."""
    named = _named(text, architecture)
    if named is not None:
        return named
    name = _normalized(text)
    message = t("unknown block {block}", block=quote(text))
    if whole.strip() != text.strip():
        message = t("unknown block {block} in {text}", block=quote(text), text=quote(whole))
    owners = list(dict.fromkeys(a.family.title for a in ARCHITECTURES.values() if name in _ids(a)))
    if owners:
        theirs = {"models": some(owners), "model": architecture.title}
        message = t("{message}; it is a block of {models}, but this LoRA is for {model}", message=message, **theirs)
    raise WeightsError(
        t(
            "{message}; the blocks of {model} are {blocks}; the groups are {groups}",
            message=message,
            model=architecture.title,
            blocks=listing(architecture.blocks),
            groups=", ".join(architecture.groups),
        )
    )


def is_selector(text: str) -> bool:
    """Tell whether `text` is a block id, a group or a range `A-B` of any known model."""
    first, dash, last = text.partition("-")
    return all(_normalized(end) in _every_selector() for end in ([first, last] if dash else [first]))


@lru_cache(maxsize=1)
def _every_selector() -> frozenset[str]:
    return frozenset(name for a in ARCHITECTURES.values() for name in (*_ids(a), *a.groups))


def _words(text: str) -> tuple[list[str], bool]:
    """Return the words of a selector, and whether a `NOT` before them inverts it."""
    words = text.split()
    inverted = bool(words) and words[0].upper() == "NOT"
    return words[inverted:], inverted


@lru_cache(maxsize=4096)
def select(text: str, architecture: Architecture) -> tuple[str, ...]:
    """Return the blocks that `text` selects, in layout order.

    `text` consists of block ids, groups and ranges `A-B`, separated by spaces; a leading `NOT` inverts it.

    Raises:
        WeightsError: an id does not exist in `architecture`.
    """
    words, inverted = _words(text)
    chosen: set[str] = set()
    for word in words:
        first, dash, last = word.partition("-")
        if not dash:
            chosen.update(_one(word, architecture, text))
            continue
        ends = [architecture.blocks.index(b) for end in (first, last) for b in _one(end, architecture, text)]
        chosen.update(architecture.blocks[min(ends) : max(ends) + 1])
    if not words:
        raise WeightsError(
            t("{text} does not name a block; write for example IN04, IN04-IN08 or OUT", text=quote(text))
        )
    return tuple(b for b in architecture.blocks if (b in chosen) != inverted)


@lru_cache(maxsize=4096)
def select_in_kind(text: str, architecture: Architecture) -> tuple[str, ...]:
    """Return the blocks that `text` selects, as `select` does, but accept the ids of all models of this kind.

    `IN00-IN11`, for example, also works for an SDXL LoRA, which only has blocks up to IN08.

    Raises:
        WeightsError: an id does not exist in any model of the kind of `architecture`.
    """
    widest = _widest(architecture)
    if not _can_select(text, widest):
        return select(text, architecture)
    chosen = select(text, widest)
    return tuple(b for b in chosen if b in architecture.blocks)


def can_select_in_kind(text: str, architecture: Architecture) -> bool:
    """Return whether `select_in_kind` accepts `text`, without the cost of composing an error message."""
    return _can_select(text, _widest(architecture)) or _can_select(text, architecture)


def _can_select(text: str, architecture: Architecture) -> bool:
    words = _words(text)[0]
    ends = (end for word in words for end in word.split("-", 1))
    return bool(words) and all(_named(end, architecture) is not None for end in ends)


@lru_cache(maxsize=256)
def _widest(architecture: Architecture) -> Architecture:
    """Return the architecture of the same kind that has the most blocks."""
    kin = [a for a in ARCHITECTURES.values() if a.kind == architecture.kind]
    return max(kin, key=lambda a: len(a.blocks))
