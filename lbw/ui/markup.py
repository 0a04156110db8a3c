"""HTML of the panels. Whatever comes from a file or from the user passes `escape`.

The page is translated in the browser, which looks up the whole text of an element of the class `lbw-text`, names and
numbers in it too (lbw_messages.js).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

from PIL import Image

from lbw.analysis.effective_blocks import NEEDED, NOT_MEASURED, NOT_NEEDED, UNKNOWN
from lbw.analysis.png import encoded

GOOD, REMARK, BAD = "good", "remark", "bad"
SIGNS = {GOOD: "✓", REMARK: "!", BAD: "✗"}
"""What stands beside a colour, for those who cannot tell colours apart."""
VERDICT_SIGNS = {NEEDED: "✓", NOT_NEEDED: "✗", UNKNOWN: "?", NOT_MEASURED: "–"}
"""What stands beside the color of a verdict on a block."""

_FEW = 160_000
"""Pixels up to which a photo is sent without loss."""


def counted(number: int, one: str, many: str) -> str:
    """Return `one` or `many`, with the number in the place of {count}."""
    return (one if number == 1 else many).format(count=number)


def words(*texts: str) -> str:
    """Return `texts`, each in an element of its own, as one line."""
    return " · ".join(f'<span class="lbw-text">{escape(text)}</span>' for text in texts)


def message_view(text: str | Sequence[str], kind: str = GOOD) -> str:
    """Return a message to the user, one text or several in a line; nothing for an empty one."""
    if not text:
        return ""
    role = "alert" if kind == BAD else "status"
    shown = words(text) if isinstance(text, str) else words(*text)
    return f'<div class="lbw-message lbw-{kind}" role="{role}"><span>{SIGNS[kind]}</span> {shown}</div>'


def progress(done: int, total: int, texts: Sequence[str], is_running: bool) -> str:
    """Return a bar that says how far something is; while it runs, the page looks after its server (lbw_watch.js)."""
    share = 100 * done / total
    return (
        f'<div class="lbw-progress{" lbw-running" * is_running}" role="progressbar" aria-valuemin="0" '
        f'aria-valuemax="{total}" aria-valuenow="{done}" aria-valuetext="{escape(" · ".join(texts))}">'
        f'<div style="width:{share:.1f}%"></div><span>{words(*texts)}</span></div>'
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
