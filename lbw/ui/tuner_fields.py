"""What the tuner's controls say that stand beside its state, and what that makes of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from lbw.analysis.cells import parse_span, whole_number
from lbw.analysis.groups import parse_groups
from lbw.analysis.tuner import BOTH, STEPS, Tuner, parse_step
from lbw.core.errors import LbwError


@dataclass(frozen=True)
class Fields:
    """What the controls say, as it was written."""

    name: str = "TUNED"
    direction: str = BOTH
    step: Any = str(STEPS[0])
    bounds: str = "0,1"
    seed: Any = "1"
    groups: str = ""


def set_up(tuner: Tuner, fields: Fields) -> Tuner:
    """Return `tuner` with the settings of a round.

    Raises:
        WeightsError: one of them cannot be understood.
    """
    low, high = sorted(parse_span(fields.bounds or ""))
    return replace(
        tuner, step=parse_step(fields.step), bounds=(low, high), seed=whole_number(fields.seed, "Seed", 0, 2**32 - 1),
        groups=parse_groups(fields.groups or "", tuner.family, tuner.blocks),
    )  # fmt: skip


def set_up_anew(tuner: Tuner, fields: Fields) -> Tuner:
    """Return `tuner` with the settings of a round; groups are left out where its model does not have them.

    Raises:
        WeightsError: one of them cannot be understood.
    """
    tuner = set_up(tuner, replace(fields, groups=""))
    with suppress(LbwError):
        tuner = set_up(tuner, fields)
    return tuner
