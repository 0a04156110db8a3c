"""How a tuner starts: from scratch, from the analyzer's suggestion, or from a saved state."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace

from lbw.core.architectures import ARCHITECTURES, by_name
from lbw.core.errors import WeightsError, quote
from lbw.core.family import Architecture
from lbw.core.texts import t

from .effective_blocks import Suggestion
from .groups import parse_groups
from .tuner import VERDICTS, BlockState, Tuner


def tunable_layouts(architecture: Architecture) -> list[int]:
    """Return the layouts made for `architecture`, not for a smaller one of its kind, by their counts of numbers."""
    is_listed = architecture.name in ARCHITECTURES
    kin = [a for a in ARCHITECTURES.values() if a.kind == architecture.kind] if is_listed else [architecture]

    def smallest(blocks: Collection[str]) -> int:
        return min(len(a.blocks) for a in kin if set(blocks) <= set(a.blocks))

    size = len(architecture.blocks)
    return [
        count for count, blocks in architecture.layouts.items()
        if set(blocks) <= set(architecture.blocks) and smallest(blocks) == size
    ]  # fmt: skip


def start(architecture: Architecture, layout: int | None = None) -> Tuner:
    """Return a tuner in which every block is unknown and open, at 0.5.

    layout: the count of numbers; the one that lists every block if not given.

    Raises:
        WeightsError: `architecture` has no such layout, or not all of its blocks.
    """
    layout = architecture.full_layout if layout is None else layout
    if layout not in tunable_layouts(architecture):
        counts = ", ".join(map(str, tunable_layouts(architecture)))
        wrong = {"model": architecture.title, "count": layout, "counts": counts}
        raise WeightsError(t("{model} has no layout of {count} numbers; choose {counts}", **wrong))
    return Tuner(architecture.name, layout, (BlockState(),) * len(architecture.layouts[layout]))


def from_suggestion(
    suggestion: Suggestion,
    architecture: Architecture,
    layout: int | None = None,
    touched: Collection[str] | None = None,
) -> Tuner:
    """Return a tuner that begins with the analyzer's suggestion; blocks that were not measured are open, at 1.

    layout: the count of numbers; the shortest if not given that lists every block of the suggestion and of `touched`.
    touched: the blocks that the LoRA has tensors in, None if that is not known; all others are fixed, as no picture of
    theirs would differ.
    """
    if layout is None:
        listed = suggestion.verdicts.keys() | set(touched or ())
        counts = [count for count in tunable_layouts(architecture) if listed <= set(architecture.layouts[count])]
        layout = min(counts, default=None)
    tuner = start(architecture, layout)
    states = {block: VERDICTS[suggestion.verdict(block)] for block in tuner.blocks}
    if touched is not None:
        states |= {block: replace(states[block], is_fixed=True) for block in tuner.blocks if block not in touched}
    return replace(tuner, states=tuple(states.values()))


def suggestion_in(text: str) -> Suggestion:
    """Return the suggestion in `text`, the JSON that the analyzer saves with its grid.

    Raises:
        WeightsError: it is not valid.
    """
    try:
        found = json.loads(text)["suggestion"]
        verdicts = {str(block): str(verdict) for block, verdict in found["blocks"].items()}
        suggestion = Suggestion(float(found["not_needed_at_most"]), float(found["needed_at_least"]), verdicts)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        wanted = t(
            "this is not a suggestion of the analyzer; paste the analysis.json that the analyzer saves with its grid"
        )
        raise WeightsError(wanted) from error
    unknown = sorted(set(verdicts.values()) - VERDICTS.keys())
    if unknown:
        known = ", ".join(VERDICTS)
        raise WeightsError(
            t("{text} is not a verdict; the verdicts are {verdicts}", text=quote(unknown[0]), verdicts=known)
        )
    return suggestion


def from_json(text: str) -> Tuner:
    """Return the tuner that `to_json` wrote.

    Raises:
        WeightsError: the text is not valid.
    """
    try:
        data = json.loads(text)
        tuner = start(by_name(data["architecture"]), int(data["layout"]))
        low, high = map(float, data["bounds"])
        history = tuple((str(words), _states(states, tuner)) for words, states in data["history"])
        return replace(
            tuner, states=_states(data["states"], tuner), step=float(data["step"]), bounds=(low, high),
            seed=int(data["seed"]), history=history,
            groups=parse_groups(str(data.get("groups", "")), tuner.family, tuner.blocks),
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise WeightsError(t("this is not a state of the tuner")) from error


def _states(plain: Sequence[tuple[str, bool, float]], tuner: Tuner) -> tuple[BlockState, ...]:
    states = tuple(BlockState(VERDICTS[verdict].verdict, bool(fixed), float(value)) for verdict, fixed, value in plain)
    if len(states) != len(tuner.states):
        raise ValueError(f"{len(states)} states for {len(tuner.states)} blocks")
    return states
