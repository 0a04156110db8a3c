"""Draws block weights: one field for each block, with its id, its number, and a color for the number."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from PIL import Image, ImageDraw

from lbw.core.numbers import format_number

from .fonts import font_for, line_height, width_of

PER_ROW = 20
"""Fields in a row."""

_FIELD = 58
_PAPER, _LINE, _INK, _LIGHT = (250, 250, 250), (150, 150, 150), (20, 20, 20), (255, 255, 255)
_FULL, _OVER, _MINUS = (37, 99, 165), (88, 28, 135), (190, 60, 20)


def color(weight: float) -> tuple[int, int, int]:
    """Return the color of a weight: white at 0, blue at 1, violet at 2 and beyond, red at -1 and below."""
    if weight < 0:
        return _between(_LIGHT, _MINUS, -weight)
    if weight <= 1:
        return _between(_LIGHT, _FULL, weight)
    return _between(_FULL, _OVER, weight - 1)


def weights_image(weights: Mapping[str, float], scale: int = 1) -> Image.Image:
    """Return the picture of `weights`, a number for each block in order, `PER_ROW` blocks in a row.

    scale: pixels for each pixel of the page, for high-resolution screens.
    """
    fields = [_field(block, weight, scale) for block, weight in weights.items()] or [_field("", 0.0, scale)]
    width, height = fields[0].width - 1, fields[0].height - 1
    rows, columns = -(-len(fields) // PER_ROW), min(len(fields), PER_ROW)
    picture = Image.new("RGB", (columns * width + 1, rows * height + 1), _PAPER)
    for index, field in enumerate(fields):
        picture.paste(field, (index % PER_ROW * width, index // PER_ROW * height))
    return picture


@lru_cache(maxsize=256)  # a slider changes only one of many fields, and text is slow to draw
def _field(block: str, weight: float, scale: int) -> Image.Image:
    """Return the picture of one block, with a line around it."""
    face = font_for("", 13 * scale)
    high = line_height(face)
    width, height = _FIELD * scale, 2 * high + 8 * scale
    fill = color(weight)
    ink = _LIGHT if sum(fill) < 400 else _INK
    picture = Image.new("RGB", (width + 1, height + 1))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 0, width, height), fill, _LINE)
    for line, words in enumerate((block, _short(weight))):
        pen.text(((width - width_of(words, face)) // 2, 3 * scale + line * high), words, ink, font=face)
    return picture


def _between(low: tuple[int, int, int], high: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    share = min(1.0, share)
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(low, high))
    return red, green, blue


def _short(weight: float) -> str:
    """Return the number shortened to fit into a field; a shortened number ends with an ellipsis."""
    words = format_number(weight)
    return words if len(words) <= 6 else f"{words[:5]}…"
