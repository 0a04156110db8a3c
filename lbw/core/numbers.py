"""Numbers in text: reading what users write, and writing numbers that are read back exactly."""

from __future__ import annotations

import math
import re

DECIMAL = r"(?:\d+(?:\.\d*)?|\.\d+)"
"""A regular expression for a number without a sign; it matches a text in at most one way."""

_NUMBER = re.compile(rf"^[+-]?{DECIMAL}(?:[eE][+-]?\d+)?$", re.ASCII)


def parse_number(text: str) -> float | None:
    """Return the finite number written as `text` (sign, decimals, exponent), None if it is not a number."""
    if not _NUMBER.match(text.strip()):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def format_number(value: float) -> str:
    """Return the shortest text that `parse_number` reads back as exactly `value`; whole numbers without a point."""
    text = repr(float(value))
    return text[:-2] if text.endswith(".0") else text
