"""Lists of values: the range forms of the WebUI's X/Y/Z plot, with numbers worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbw.analysis.ranges import expand, numbers, split
from lbw.core.errors import LbwError, WeightsError


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0,0.5,1", "0 0.5 1"),
        ("0-1 (+0.25)", "0 0.25 0.5 0.75 1"),
        ("0 - 1(+0.25)", "0 0.25 0.5 0.75 1"),
        ("0-1 [5]", "0 0.25 0.5 0.75 1"),
        ("1-0 (-0.5)", "1 0.5 0"),
        ("1-0 [3]", "1 0.5 0"),
        ("-1-1 (+0.5)", "-1 -0.5 0 0.5 1"),
        ("-1--0.5 (+0.25)", "-1 -0.75 -0.5"),
        ("-0.5--1 (-0.25)", "-0.5 -0.75 -1"),
        ("-1-1 [3]", "-1 0 1"),
        ("0-1 (+0.1)", "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1"),
        ("0-1 [11]", "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1"),
        ("0-1 (+0.3)", "0 0.3 0.6 0.9"),
        ("1-3", "1 2 3"),
        (".5-1 (+.25)", "0.5 0.75 1"),
        ("2-2 (+1)", "2"),
        ("0-1 [1]", "0"),
        ("0-0.5 (+0.5), 2, 1-0 [2],R", "0 0.5 2 1 0 R"),
        ("1e-3,-0.5,1E1", "1e-3 -0.5 1E1"),
        ("X-0.1,X+0.2,U", "X-0.1 X+0.2 U"),
    ],
)
def test_a_list_is_written_out(text: str, values: str) -> None:
    assert numbers(text) == values.split()


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1-10 [5]", [1, 3, 5, 7, 10]),  # the WebUI cuts 3.25, 5.5 and 7.75
        ("1-10 (+3)", [1, 4, 7, 10]),
        ("3-1 (-1)", [3, 2, 1]),
        ("4294967290-4294967294 (+2)", [4294967290, 4294967292, 4294967294]),
    ],
)
def test_whole_numbers_stay_whole(text: str, values: list[int]) -> None:
    assert [int(value) for value in numbers(text, whole=True)] == values


@pytest.mark.parametrize("text", ["0-1 (-0.25)", "1-0 (+0.25)", "1-0", "0-1 (+0)"])
def test_a_range_that_never_arrives_is_named(text: str) -> None:
    with pytest.raises(WeightsError, match="never gets from") as caught:
        numbers(f"0.5,{text}")
    assert f'"{text}"' in str(caught.value)


@pytest.mark.parametrize("text", ["0-1 (+0.00001)", "0-1 [0]", "0-1 [10001]", "0-99999"])
def test_a_range_of_too_many_values_is_named(text: str) -> None:
    with pytest.raises(WeightsError, match=r"would have \"?\d+\"? values; 1 to 10000") as caught:
        numbers(text)
    assert f'"{text}"' in str(caught.value)


@pytest.mark.parametrize("text", ["5", "-5", "1e-5", "IN04-IN08", "0-1 (0.5)", "0-1 [x]", "0-1-2", "", "٣-٤"])
def test_what_is_no_range_is_left_alone(text: str) -> None:
    assert expand(text) is None


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a, b ,,c ,", ["a", "b", "c"]),
        ('IN04,"0,1,1", "a ""b"""', ["IN04", "0,1,1", 'a "b"']),
        ('"IN04:attn:0.5,OUT:mlp:0",BASE::1', ["IN04:attn:0.5,OUT:mlp:0", "BASE::1"]),
        ("a,b\nc\r\nd", ["a", "b", "c", "d"]),
        ("名前, プリセット", ["名前", "プリセット"]),
        ("  ", []),
    ],
)
def test_values_stand_between_commas_or_in_quotes(text: str, values: list[str]) -> None:
    assert split(text) == values


@given(st.lists(st.text("aZ0 ,\"'-名\n").map(str.strip).filter(bool), min_size=1))
def test_quoted_values_come_back(values: list[str]) -> None:
    assert split(",".join('"' + value.replace('"', '""') + '"' for value in values)) == values


@given(st.integers(-1000, 1000), st.integers(1, 100), st.integers(1, 60))
def test_steps_of_hundredths_arrive_exactly(first: int, step: int, count: int) -> None:
    # In whole hundredths, where nothing is rounded.
    values = [first + step * place for place in range(count)]
    text = f"{first / 100:.2f}-{values[-1] / 100:.2f} (+{step / 100:.2f})"
    assert [float(value) for value in numbers(text)] == [value / 100 for value in values]


def is_list_or_error(text: str) -> None:
    try:
        found = numbers(text)
    except LbwError:
        return
    assert all(value.strip() for value in found)


@given(st.text("0123456789.,-+()[] RX\n", max_size=30))
def test_any_text_is_a_list_or_an_error_of_ours(text: str) -> None:
    is_list_or_error(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("0-" + "9" * 400, id="more than a float holds"),
        pytest.param("0-1 (+0." + "0" * 320 + "1)", id="a step next to nothing"),
        pytest.param("0\r1", id="an old Mac's line end"),
    ],
)
def test_strange_text_is_a_list_or_an_error_of_ours(text: str) -> None:
    is_list_or_error(text)
