"""The loop: inputs of each target in turn, each under a limit of CPU time; findings have the input's number."""

from __future__ import annotations

import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

SLOW = 1.0
"""Seconds of CPU time that one input may take."""
HANGS = 10.0
"""Seconds of CPU time after which one is abandoned."""


class HangError(Exception):
    """An input kept the program busy."""


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raise HangError where the block takes more than `seconds` of CPU time; nothing where signals are missing."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def give_up(*_: Any) -> None:
        raise HangError(f"more than {seconds:g} s of CPU time")

    before = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@dataclass
class Findings:
    """How many inputs each target had, and for each kind of failure the first input that showed it.

    tell: is called with each at once: the target, the kind, the input's number, what was seen.
    """

    tell: Callable[[str, str, int, str], None] = lambda *_: None
    counts: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, tuple[float, int]] = field(default_factory=dict)
    found: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)

    def add(self, name: str, kind: str, number: int, seen: str) -> None:
        """Keep a failure, the first of its kind."""
        if (name, kind) not in self.found:
            self.found[name, kind] = number, seen
            self.tell(name, kind, number, seen)


def one(name: str, target: Callable[[Random], None], number: int, findings: Findings) -> None:
    """Give `target` the input of `number`."""
    began = time.process_time()
    try:
        with limit(HANGS):
            target(Random(f"{name} {number}"))
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} at {place.filename}:{place.lineno}"
        findings.add(name, kind, number, traceback.format_exc())
    took = time.process_time() - began
    findings.counts[name] += 1
    if took > findings.slowest.get(name, (0.0, 0))[0]:
        findings.slowest[name] = took, number
    if took > SLOW:
        findings.add(name, "slow", number, f"{took:.1f} s of CPU time")


def fuzz(
    targets: Mapping[str, Callable[[Random], None]],
    seconds: float,
    findings: Findings,
    first: int = 0,
    batch: int = 200,
) -> None:
    """Give each of `targets` inputs in turn, from the number `first` on, for `seconds`; what is found is added."""
    until = time.monotonic() + seconds
    number = first
    while True:
        for name, target in targets.items():
            for n in range(number, number + batch):
                one(name, target, n, findings)
            if time.monotonic() > until:
                return
        number += batch
