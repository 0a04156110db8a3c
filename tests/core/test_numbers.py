"""Numbers in text: what is one, and how it is written."""

from __future__ import annotations

import pytest

from lbw.core.numbers import format_number, parse_number


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("-0.5", -0.5), ("+2", 2), (".5", 0.5), ("1.", 1), ("1e-3", 0.001), ("2E+2", 200), (" 3 ", 3)],
)
def test_a_number_has_a_sign_decimals_and_an_exponent(text: str, value: float) -> None:
    assert parse_number(text) == value


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e999", "1_0", "0x1", "1,0", "٣", "--1", "1 2", "e5", ".", "1\n2"])
def test_anything_else_is_no_number(text: str) -> None:
    assert parse_number(text) is None


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1"), (0.0, "0"), (0.5, "0.5"), (-2.0, "-2"), (0.1 + 0.2, "0.30000000000000004")]
)
def test_a_number_is_written_in_the_shortest_exact_form(value: float, text: str) -> None:
    assert format_number(value) == text
