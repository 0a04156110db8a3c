"""Finding a font on this machine that has the characters of a text."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Fonts with Latin and Japanese, Chinese or Korean letters, of Linux, Windows and macOS.
_WIDE = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKjp-Regular.otf",
    "NotoSansJP-Regular.otf",
    "DroidSansFallbackFull.ttf",
    "DroidSansFallback.ttf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "ipagp.ttf",
    "YuGothM.ttc",
    "meiryo.ttc",
    "msyh.ttc",
    "malgun.ttf",
    "msgothic.ttc",
    "simsun.ttc",
    "Hiragino Sans GB.ttc",
    "PingFang.ttc",
    "AppleSDGothicNeo.ttc",
    "Arial Unicode.ttf",
    "NotoSans-Regular.ttf",
    "DejaVuSans.ttf",
)
_NO_LETTER = "\U0010fffe"


@lru_cache(maxsize=64)
def _default(size: int) -> Font:
    try:
        return ImageFont.load_default(size=size)
    except TypeError:  # Pillow before 10.1 has one small font without sizes
        for name in ("DejaVuSans.ttf", "arial.ttf", "Arial.ttf"):
            found = _system(name, size)
            if found is not None:
                return found
        return ImageFont.load_default()


@lru_cache(maxsize=256)
def _system(name: str, size: int) -> ImageFont.FreeTypeFont | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


@lru_cache(maxsize=4096)
def _missing(font: Font, letter: str) -> bool:
    if not isinstance(font, ImageFont.FreeTypeFont):
        return ord(letter) > 255
    mask_of: Any = font.getmask  # untyped in some versions of Pillow
    drawn, nothing = mask_of(letter), mask_of(_NO_LETTER)
    return drawn.size == nothing.size and bytes(drawn) == bytes(nothing)


def missing_letters(font: Font, text: str) -> set[str]:
    """Return the characters of `text` that `font` does not have."""
    return {letter for letter in set(text) if not letter.isspace() and _missing(font, letter)}


def font_for(text: str, size: int, preferred: str | None = None) -> Font:
    """Return the font of `size` pixels that has the most characters of `text`.

    preferred: a font file to try first, for example from the user's settings.
    """
    first = _system(preferred, size) if preferred else None
    best = first or _default(size)
    lacking = len(missing_letters(best, text))
    for name in _WIDE if lacking else ():
        font = _system(name, size)
        if font is not None and len(missing_letters(font, text)) < lacking:
            best, lacking = font, len(missing_letters(font, text))
            if not lacking:
                break
    return best


_PEN = ImageDraw.Draw(Image.new("L", (1, 1)))


def width_of(text: str, font: Font) -> int:
    """Return the width of a line in pixels."""
    return int(_PEN.textbbox((0, 0), text, font=font)[2])


def line_height(font: Font) -> int:
    """Return the line height in pixels."""
    box = _PEN.textbbox((0, 0), "Åg漢|", font=font) if isinstance(font, ImageFont.FreeTypeFont) else (0, 0, 0, 11)
    return int(box[3]) + 2


def wrap(text: str, font: Font, width: int) -> list[str]:
    """Return `text` in lines no wider than `width` pixels: broken at spaces and commas, or between characters."""
    lines: list[str] = []
    for line in text.split("\n"):
        rest = line
        while width_of(rest, font) > width and len(rest) > 1:
            cut = _cut(rest, font, width)
            lines.append(rest[:cut].rstrip())
            rest = rest[cut:].lstrip()
        lines.append(rest)
    return lines


def _cut(text: str, font: Font, width: int) -> int:
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if width_of(text[:middle], font) <= width:
            low = middle
        else:
            high = middle - 1
    breaks = [index for index in range(low // 2, low + 1) if text[index - 1 : index] in (" ", ",", "、", "_", "-")]
    return max(breaks, default=low)
