"""Sampling steps: SYNTAX.md 6, worked out by hand."""

from __future__ import annotations

import pytest

from lbw.core.errors import TagError
from lbw.core.steps import Span, Step, parse_span, parse_step


def steps_with_effect(span: Span, steps: int) -> list[int]:
    return [step for step in range(1, steps + 1) if span.holds(step, steps)]


@pytest.mark.parametrize(
    ("start", "stop", "step", "effective"),
    [
        (None, None, None, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ("1", None, None, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ("4", None, None, [4, 5, 6, 7, 8, 9, 10]),
        ("10", None, None, [10]),
        ("11", None, None, []),
        (None, "4", None, [1, 2, 3]),
        (None, "1", None, []),
        (None, "11", None, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ("3", "6", None, [3, 4, 5]),
        (None, None, "3-6", [3, 4, 5]),
        (None, None, "30%-60%", [3, 4, 5]),
        ("50%", None, None, [5, 6, 7, 8, 9, 10]),
        (None, "100%", None, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("25%", None, None, [3, 4, 5, 6, 7, 8, 9, 10]),
        ("3", "60%", None, [3, 4, 5]),
        ("5", "5", None, []),
    ],
)
def test_a_lora_works_in_these_of_ten_steps(
    start: str | None, stop: str | None, step: str | None, effective: list[int]
) -> None:
    assert steps_with_effect(parse_span(start, stop, step), 10) == effective


def test_a_percentage_is_taken_of_each_passes_own_steps() -> None:
    span = parse_span("50%", None, None)
    assert steps_with_effect(span, 4) == [2, 3, 4]
    assert steps_with_effect(span, 8) == [4, 5, 6, 7, 8]


def test_a_step_is_written_as_it_was_read() -> None:
    assert [str(parse_step("start", text)) for text in ("5", "30%", "12.5%", " 7 ")] == ["5", "30%", "12.5%", "7"]


@pytest.mark.parametrize("text", ["soon", "", "%", "-1", "2.5", "101%", "-1%", "nan", "5%%", "1e999"])
def test_what_is_no_step_is_named_with_its_key(text: str) -> None:
    with pytest.raises(TagError) as failure:
        parse_step("stop", text)
    assert f"stop={text}" in str(failure.value)


@pytest.mark.parametrize(("start", "stop"), [("7", "3"), ("70%", "30%")])
def test_start_after_stop_is_named_with_both(start: str, stop: str) -> None:
    with pytest.raises(TagError) as failure:
        parse_span(start, stop, None)
    assert f"start={start}" in str(failure.value)
    assert f"stop={stop}" in str(failure.value)


def test_start_after_stop_is_seen_between_a_step_and_a_percentage_once_the_steps_are_known() -> None:
    span = Span(Step(8), Step(50, percent=True))
    span.check()
    span.check(20)
    with pytest.raises(TagError, match=r"start=8.*stop=50%"):
        span.check(10)


def test_a_span_without_a_dash_is_named() -> None:
    with pytest.raises(TagError, match="2to9"):
        parse_span(None, None, "2to9")


def test_a_share_is_of_all_steps_of_a_long_pass_too() -> None:
    assert [Span(stop=Step(100, percent=True)).holds(step, 150) for step in (149, 150)] == [True, False]


def test_a_lora_may_start_at_step_0_which_is_from_the_beginning() -> None:
    assert parse_span("0", None, None).holds(1, 4)
