"""PNG files with an infotext in them, as the WebUIs write and read it: the text `parameters`."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, PngImagePlugin

from lbw.core.errors import FileError


def encoded(image: Image.Image, infotext: str = "", **options: int) -> bytes:
    """Return `image` as a PNG file with `infotext`; options: of Pillow's writer, for example `compress_level`."""
    info = PngImagePlugin.PngInfo()
    if infotext:
        info.add_itxt("parameters", infotext.encode("utf-8", "backslashreplace").decode("utf-8"))
    data = io.BytesIO()
    image.save(data, format="PNG", pnginfo=info, **options)
    return data.getvalue()


def write_png(image: Image.Image, infotext: str, path: Path) -> None:
    """Write `image` to `path` with `infotext`, whole or not at all.

    Raises:
        FileError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(encoded(image, infotext))
        part.replace(path)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
