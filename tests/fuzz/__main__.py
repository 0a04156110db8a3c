"""`python -m tests.fuzz MINUTES [FIRST]`, or `python -m tests.fuzz TARGET NUMBER` for one input again."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import suppress
from random import Random

from . import requests
from .run import Findings, fuzz
from .targets import TARGETS


def main(arguments: list[str]) -> int:
    """Run the fuzzer, print its findings, and return 1 if there are any."""
    if arguments and arguments[0] in TARGETS:
        TARGETS[arguments[0]](Random(f"{arguments[0]} {arguments[1]}"))
        print("nothing found")  # noqa: T201
        return 0
    minutes = float(arguments[0]) if arguments else 1.0
    first = int(arguments[1]) if len(arguments) > 1 else int(time.time()) * 1000
    findings = Findings(tell)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    requests.server()  # whose libraries take longer to import than any input may run
    with suppress(KeyboardInterrupt):  # the findings so far count
        fuzz(TARGETS, minutes * 60, findings, first)
    for name, count in findings.counts.items():
        took, number = findings.slowest[name]
        print(f"{name:<22} {count:>9,} inputs, the slowest {took:.3f} s (number {number})")  # noqa: T201
    print(f"{'together':<22} {findings.counts.total():>9,} inputs from number {first} on")  # noqa: T201
    return 1 if findings.found else 0


def tell(name: str, kind: str, number: int, seen: str) -> None:
    """Print what was found, at once."""
    print(f'{name}: {kind}; again with: python -m tests.fuzz "{name}" {number}\n{seen}', flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
