"""HTML of the panels. Whatever comes from a file or from the user passes `escape`.

The page is translated in the browser, where whole texts of elements are looked up. So a message is given in parts,
words apart from numbers and names, and each part has an element of its own.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

from PIL import Image

from lbw.analysis.effective_blocks import NEEDED, NOT_MEASURED, NOT_NEEDED, UNKNOWN
from lbw.analysis.png import encoded

Text = str | tuple[str | int, ...]
"""A message: a sentence without numbers and names, or its parts."""
GOOD, REMARK, BAD = "good", "remark", "bad"
SIGNS = {GOOD: "✓", REMARK: "!", BAD: "✗"}
"""What stands beside a colour, for those who cannot tell colours apart."""
VERDICT_SIGNS = {NEEDED: "✓", NOT_NEEDED: "✗", UNKNOWN: "?", NOT_MEASURED: "–"}
"""What stands beside the color of a verdict on a block."""

_FEW = 160_000
"""Pixels up to which a photo is sent without loss."""


def plain(text: Text) -> str:
    """Return `text` as one line, for what holds no HTML."""
    return text if isinstance(text, str) else " ".join(map(str, text))


def counted(number: int, one: str, many: str) -> tuple[int, str]:
    """Return how many there are of something, as parts of a sentence."""
    return number, one if number == 1 else many


def words(text: Text) -> str:
    """Return `text` with each of its parts in an element of its own."""
    parts = (text,) if isinstance(text, str) else text
    return " ".join(f"<span>{escape(str(part))}</span>" for part in parts)


def message_view(text: Text, kind: str = GOOD) -> str:
    """Return a message to the user; nothing for an empty one."""
    if not text:
        return ""
    role = "alert" if kind == BAD else "status"
    return f'<div class="lbw-message lbw-{kind}" role="{role}"><span>{SIGNS[kind]}</span> {words(text)}</div>'


def progress(done: int, total: int, text: Text, is_running: bool) -> str:
    """Return a bar that says how far something is; while it runs, the page looks after its server (lbw_watch.js)."""
    share = 100 * done / total
    return (
        f'<div class="lbw-progress{" lbw-running" * is_running}" role="progressbar" aria-valuemin="0" '
        f'aria-valuemax="{total}" aria-valuenow="{done}" aria-valuetext="{escape(plain(text))}">'
        f'<div style="width:{share:.1f}%"></div><span>{words(text)}</span></div>'
    )


def table(headings: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], attributes: str = "") -> str:
    """Return a table of `rows`, each a kind and cells that are HTML already."""
    head = "".join(f"<th scope='col'>{escape(heading)}</th>" for heading in headings)
    body = "".join(
        f'<tr class="lbw-{kind}">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>' for kind, cells in rows
    )
    return f'<table class="lbw-table" {attributes}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def data_uri(image: Image.Image, is_photo: bool = True) -> str:
    """Return `image` as an address that holds it: large photos with a little loss, all else without."""
    if not is_photo or image.width * image.height <= _FEW:
        return png_uri(encoded(image, compress_level=3))
    data = io.BytesIO()
    image.save(data, format="JPEG", quality=90, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"


def png_uri(data: bytes) -> str:
    """Return the PNG file `data` as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"


def picture(address: str, words: str, width: int) -> str:
    """Return a picture as a part of the page, `width` pixels wide; `words` say the same to a screen reader."""
    return f'<img class="lbw-picture" src="{address}" alt="{escape(words)}" style="width:{width}px">'
