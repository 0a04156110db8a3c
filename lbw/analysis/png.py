"""PNG files with an infotext in them, as the WebUIs write and read it: the text `parameters`."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from PIL import Image, PngImagePlugin

from lbw.files.atomic import write


def encoded(
    image: Image.Image, infotext: str = "", *, compress_level: int = -1, texts: Mapping[str, str] | None = None
) -> bytes:
    """Return `image` as a PNG file with `infotext`.

    compress_level: 0 to 9, fast to small; -1 for zlib's own. texts: others, in ASCII, by name.
    """
    info = PngImagePlugin.PngInfo()
    for name, text in (texts or {}).items():
        info.add_text(name, text)
    if infotext:
        info.add_itxt("parameters", infotext.encode("utf-8", "backslashreplace").decode("utf-8"))
    data = io.BytesIO()
    image.save(data, format="PNG", pnginfo=info, compress_level=compress_level)
    return data.getvalue()


def write_png(image: Image.Image, infotext: str, path: Path, *, compress_level: int = -1) -> None:
    """Write `image` to `path` with `infotext`, whole or not at all. compress_level: as for `encoded`.

    Raises:
        FileError: it cannot be written.
    """
    write(path, encoded(image, infotext, compress_level=compress_level))
