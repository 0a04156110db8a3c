"""Lists of numbers on an axis, with the range forms of the WebUI's X/Y/Z plot: `0-1 (+0.25)`, `0-1 [5]`."""

from __future__ import annotations

import csv
import io
import re

from lbw.core import limits
from lbw.core.errors import WeightsError, quote
from lbw.core.numbers import DECIMAL, format_number, parse_number
from lbw.core.texts import t

# After the spaces were made single ones: a text is matched in one way at most.
_NUM = rf"[+-]? ?{DECIMAL}"
_STEPS = re.compile(rf"({_NUM}) ?- ?({_NUM}) ?(?:\( ?([+-] ?{DECIMAL}) ?\))?", re.ASCII)
_COUNT = re.compile(rf"({_NUM}) ?- ?({_NUM}) ?\[ ?(\d+) ?\]", re.ASCII)
MOST = limits.AXIS_VALUES
"""Values that one axis may have."""


def split(text: str) -> list[str]:
    """Return the values of an axis: separated by commas, in double quotes where one holds commas.

    Raises:
        WeightsError: a quote is not closed where it must be, or there are too many.
    """
    lines = io.StringIO(re.sub(r"[\r\0]", "\n", text.strip()))
    try:
        rows = csv.reader(lines, skipinitialspace=True)
        values = [value.strip() for row in rows for value in row if value.strip()]
    except csv.Error as error:
        raise WeightsError(t("{text} is not a list of values: {reason}", text=quote(text), reason=error)) from error
    _check_count(values)
    return values


def _check_count(values: list[str]) -> None:
    if len(values) > MOST:
        shown = quote(", ".join(values[:5]), 40)
        raise WeightsError(t("more than {most} values on an axis: {values} and so on", most=f"{MOST:,}", values=shown))


def _too_many(value: str, number: str) -> WeightsError:
    """Return the error for a range form that means `number` values."""
    return WeightsError(
        t("{text} would have {number} values; 1 to {most} are allowed", text=quote(value), number=number, most=MOST)
    )


def _float(text: str) -> float:
    """Return the number, kept where arithmetic with it cannot overflow."""
    return min(max(float(re.sub(r"\s", "", text)), -1e12), 1e12)


def _exact(value: float) -> float:
    """Return `value` without the noise of repeated addition."""
    return round(value, 10)


def expand(value: str, whole: bool = False) -> list[str] | None:
    """Return the numbers that a range form writes, None if `value` is no range form.

    `A-B (+S)` goes in steps of S (1 if left out), with both ends; `A-B [N]` is N numbers from A to B.

    Raises:
        WeightsError: a range that never reaches its end, or that has too many values.
    """
    spaced = " ".join(value.split())
    count = _COUNT.fullmatch(spaced)
    if count:
        first, last = _float(count[1]), _float(count[2])
        many = int(count[3]) if len(count[3]) < 10 else MOST + 1
        if not 1 <= many <= MOST:
            raise _too_many(value, quote(count[3]))
        numbers = [first + (last - first) * i / max(1, many - 1) for i in range(many)]
        return [format_number(float(int(n)) if whole else _exact(n)) for n in numbers]
    steps = _STEPS.fullmatch(spaced)
    if not steps or parse_number(value) is not None:
        return None
    first, last = _float(steps[1]), _float(steps[2])
    step = _float(steps[3]) if steps[3] else 1.0
    if step == 0 or (last - first) / step < 0:
        ends = {"first": f"{first:g}", "last": f"{last:g}", "step": f"{step:g}"}
        raise WeightsError(t("{text} never gets from {first} to {last} in steps of {step}", text=quote(value), **ends))
    length = (last - first) / step + 1e-9
    if length >= MOST:
        raise _too_many(value, f"{length + 1:.0f}")
    return [format_number(_exact(first + step * i)) for i in range(int(length) + 1)]


def numbers(text: str, whole: bool = False) -> list[str]:
    """Return the values of a numeric axis as text, range forms written out; values that are none stay as they are."""
    values: list[str] = []
    for value in split(text):
        values += expand(value, whole) or [value]
        _check_count(values)
    return values
