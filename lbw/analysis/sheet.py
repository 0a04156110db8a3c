"""A grid of pictures with labels, as one picture."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

_MARGIN = 6


def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Return a font of `size` pixels; Pillow before 10.1 has one size only."""
    try:
        return ImageFont.load_default(size=size)
    except TypeError:
        return ImageFont.load_default()


def grid(
    rows: Sequence[Sequence[Image.Image]], row_labels: Sequence[str], column_labels: Sequence[str], title: str
) -> Image.Image:
    """Return the pictures of `rows` as a table with labels at its left and top, and a title above it all."""
    width, height = rows[0][0].size
    text = font(max(11, min(width, height) // 6))
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))

    def size(label: str) -> tuple[int, int]:
        box = measure.multiline_textbbox((0, 0), label, font=text)
        return int(box[2]) + 2 * _MARGIN, int(box[3]) + 2 * _MARGIN

    left = max((size(label)[0] for label in row_labels), default=0)
    column = max(width, *(size(label)[0] for label in column_labels))
    title_height = size(title)[1] if title else 0
    top = title_height + max(size(label)[1] for label in column_labels)
    row = max(height, *(size(label)[1] for label in row_labels)) + 2
    sheet = Image.new("RGB", (max(left + column * len(column_labels), size(title)[0]), top + row * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    draw.multiline_text((_MARGIN, _MARGIN), title, fill="black", font=text)
    for number, label in enumerate(column_labels):
        draw.multiline_text((left + number * column + _MARGIN, title_height + _MARGIN), label, fill="black", font=text)
    for line, pictures in enumerate(rows):
        y = top + line * row
        draw.multiline_text((_MARGIN, y + _MARGIN), row_labels[line], fill="black", font=text)
        for number, picture in enumerate(pictures):
            sheet.paste(picture, (left + number * column, y))
    return sheet
