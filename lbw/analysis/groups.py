"""Groups of blocks that move together in the tuner, and their text form."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from lbw.core.errors import WeightsError, listing, quote
from lbw.core.family import Architecture
from lbw.core.selectors import select
from lbw.core.texts import t

Group = tuple[str, ...]
_DIGITS = "0123456789"
_LONG = 3
"""How many consecutive blocks are written as a range."""


def parse_groups(text: str, architecture: Architecture, blocks: Sequence[str]) -> tuple[Group, ...]:
    """Return the groups in `text`: as in the analyzer's field Blocks, ids and ranges separated by spaces, groups by
    commas.

    blocks: those of the layout; others in a range are left out. Semicolons work like commas.

    Raises:
        WeightsError: an id does not exist or is not in `blocks`, or a block is in two groups.
    """
    owners: dict[str, str] = {}
    groups = []
    for part in filter(None, (part.strip() for part in re.split("[,;\n]", text))):
        try:
            selected = select(part, architecture)
        except WeightsError as error:
            raise WeightsError(t("{place}: {message}", place=t("Groups"), message=error)) from error
        group = tuple(block for block in blocks if block in selected)
        if not group:
            known = {"count": len(blocks), "blocks": listing(blocks)}
            raise WeightsError(t("Groups: {text} is not among the {count} blocks: {blocks}", text=quote(part), **known))
        twice = next((block for block in group if block in owners), None)
        if twice:
            both = {"one": quote(owners[twice]), "other": quote(part)}
            raise WeightsError(
                t("Groups: {block} is in {one} and {other}; a block can be in one group only", block=twice, **both)
            )
        owners |= dict.fromkeys(group, part)
        groups.append(group)
    return tuple(groups)


def usual_groups(architecture: Architecture, blocks: Collection[str]) -> tuple[Group, ...]:
    """Return the usual groups of `architecture` that have at least two of `blocks`."""
    groups = (
        tuple(block for block in select(text, architecture) if block in blocks) for text in architecture.usual_groups
    )
    return tuple(group for group in groups if len(group) > 1)


def apart(groups: Iterable[Collection[str]], blocks: Collection[str]) -> tuple[Group, ...]:
    """Return those of `groups` with two or more of `blocks` and without blocks of earlier groups."""
    found: list[Group] = []
    for group in groups:
        members = tuple(block for block in blocks if block in group)
        if len(members) > 1 and not set(members) & {block for other in found for block in other}:
            found.append(members)
    return tuple(found)


def groups_text(groups: Iterable[Collection[str]], architecture: Architecture) -> str:
    """Return `groups` in the form read by `parse_groups` and the analyzer's field Blocks."""
    return ",".join(selector_text(group, architecture) for group in groups)


def selector_text(blocks: Collection[str], architecture: Architecture) -> str:
    """Return `blocks` as a selector, in layout order, three or more in a row as a range: `IN04 OUT00-OUT02`."""
    runs: list[list[str]] = []
    last = ""
    for block in architecture.blocks:
        is_next = block.rstrip(_DIGITS) == last.rstrip(_DIGITS)
        last = block if block in blocks else ""
        if not last:
            continue
        if is_next:
            runs[-1].append(block)
        else:
            runs.append([block])
    return " ".join(f"{run[0]}-{run[-1]}" if len(run) >= _LONG else " ".join(run) for run in runs)
