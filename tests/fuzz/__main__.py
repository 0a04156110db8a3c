"""`python -m tests.fuzz MINUTES [FIRST]`, or `python -m tests.fuzz TARGET NUMBER` for one input again."""

from __future__ import annotations

import sys
import time
from random import Random

from .run import fuzz
from .targets import TARGETS


def main(arguments: list[str]) -> int:
    """Run the fuzzer, print what it found, and return 1 if that is anything."""
    if arguments and arguments[0] in TARGETS:
        TARGETS[arguments[0]](Random(f"{arguments[0]} {arguments[1]}"))
        print("nothing found")  # noqa: T201
        return 0
    minutes = float(arguments[0]) if arguments else 1.0
    first = int(arguments[1]) if len(arguments) > 1 else int(time.time()) * 1000
    findings = fuzz(TARGETS, minutes * 60, first)
    for name, count in findings.counts.items():
        took, number = findings.slowest[name]
        print(f"{name:<22} {count:>9,} inputs, the slowest {took:.3f} s (number {number})")  # noqa: T201
    print(f"{'together':<22} {findings.counts.total():>9,} inputs from number {first} on")  # noqa: T201
    for (name, kind), (number, told) in findings.found.items():
        print(f'\n{name}: {kind}; again with: python -m tests.fuzz "{name}" {number}\n{told}')  # noqa: T201
    return 1 if findings.found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
