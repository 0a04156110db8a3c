"""Patch entries of hosts with one list per tensor for all LoRAs: which LoRA they belong to, weighting, comparison.

An entry begins with its strength: `(strength, patch, strength of the model[, offset, function[, on the fly]])`. If
LoRAs are applied on the fly by functions of their own, an entry is such a function, with those tuples in `patch`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lbw.core.blocks import locate
from lbw.core.plan import ResolvedLora

Table = Mapping[str, Sequence[Any]]  # entries by tensor
Counts = Mapping[str, int]  # how many entries, by tensor


@dataclass(frozen=True)
class Added:
    """What one LoRA file added: the number of entries for each tensor, for each table of the host's patcher.

    names: the file's tensors.
    """

    filename: str
    unet: Mapping[str, Counts]
    clip: Mapping[str, Counts]
    names: Sequence[str] = field(default=(), repr=False)


def counts_of(patcher: Any, tables: Iterable[str]) -> dict[str, Counts]:
    """Return how many entries a patcher, if any, has for each tensor, by table."""
    return {name: {key: len(entries) for key, entries in getattr(patcher, name, {}).items()} for name in tables}


def difference(before: Mapping[str, Counts], after: Mapping[str, Counts]) -> dict[str, Counts]:
    """Return how many entries were added to each tensor, by table; tables without new entries are omitted."""
    added = {
        name: {
            key: count - before[name].get(key, 0) for key, count in counts.items() if count > before[name].get(key, 0)
        }
        for name, counts in after.items()
    }
    return {name: counts for name, counts in added.items() if counts}


def weighted(entry: Any, multiplier: float) -> Any:
    """Return `entry` with `multiplier` as its strength."""
    if isinstance(entry, (tuple, list)):
        return type(entry)((multiplier, *entry[1:]))
    twin = copy.copy(entry)
    twin.patch = [weighted(own, multiplier) for own in entry.patch]
    return twin


def plan_table(pristine: Table, owners: Sequence[tuple[Counts, ResolvedLora | None]]) -> dict[str, list[Any]]:
    """Return `pristine` with each owner's multipliers as the strengths of its entries; zeros are omitted.

    owners: in the order in which they added entries, how many for each tensor, and the resolved LoRA; None for a LoRA
        that no tag named. Entries from before the first owner are left unchanged.
    """
    result: dict[str, list[Any]] = {}
    for key, entries in pristine.items():
        start = len(entries) - sum(counts.get(key, 0) for counts, _ in owners)
        kept = list(entries[:start])
        for counts, resolved in owners:
            own = entries[start : start + counts.get(key, 0)]
            start += len(own)
            if resolved is None:
                kept += own
                continue
            multiplier = resolved.multiplier(locate(key, resolved.architecture)) if own else 0.0
            if multiplier != 0:
                kept += [weighted(entry, multiplier) for entry in own]
        if kept:
            result[key] = kept
    return result


def with_strangers(planned: Table, was_planned: Table, table: Table) -> dict[str, list[Any]]:
    """Return `planned`, followed for each tensor by the entries of `table` that others have added.

    was_planned: the plan that `table` was made from.
    """
    result = {key: list(entries) for key, entries in planned.items()}
    for key, entries in table.items():
        ours = set(map(id, was_planned.get(key, ())))
        if strangers := [entry for entry in entries if id(entry) not in ours]:
            result[key] = [*result.get(key, ()), *strangers]
    return result


def same_table(a: Table, b: Table) -> bool:
    """Return whether two tables have the same entries."""
    return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)


def same(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Return whether two lists of entries are the same: numbers equal, everything else identical."""
    return len(a) == len(b) and all(map(_same, a, b))


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, (int, float, str)) and isinstance(b, (int, float, str)):
        return a == b
    if type(a) is not type(b):
        return False
    if isinstance(a, (tuple, list)):
        return same(a, b)
    patches = getattr(a, "patch", None), getattr(b, "patch", None)
    return all(isinstance(patch, list) for patch in patches) and same(*patches) and a.key == b.key
