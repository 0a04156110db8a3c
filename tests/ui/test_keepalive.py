"""What the page receives while it waits for a slow step."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from lbw.ui.keepalive import with_keepalive


def test_items_come_in_order_and_silence_is_filled() -> None:
    go = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        go.wait(20)
        yield 2

    found: list[int | None] = []
    for item in with_keepalive(items(), 0.02):
        found.append(item)
        if found.count(None) == 3:
            go.set()
    assert [item for item in found if item is not None] == [1, 2]
    assert found[1:4] == [None] * 3


def test_an_error_reaches_the_caller() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("lost")

    found = with_keepalive(items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="lost"):
        next(found)


def test_a_caller_that_ends_early_ends_the_work_too() -> None:
    made: list[int] = []
    go, ended = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        try:
            for number in range(1000):
                made.append(number)
                yield number
                go.wait(20)
        finally:
            ended.set()

    found = with_keepalive(items())
    assert next(found) == 0
    found.close()  # type: ignore[attr-defined]
    go.set()
    assert ended.wait(20)
    assert len(made) <= 2
