"""The mask of the panel *Analyze*: a picture to paint on, and what the page sends of it; see javascript/lbw_mask.js."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from lbw.core.errors import WeightsError
from lbw.core.texts import t

from .markup import REMARK, message_view

_HEAD = "data:image/png;base64,"
_LONGEST = 4_000_000
"""Signs of an address; the page's own have far fewer."""
_LARGEST = 2048
"""Pixels of a mask's longer side; the page's own have 1024 at most."""

NO_SOURCE = message_view(t("Press Analyze once; then you can paint the region on the source picture here."), REMARK)


def painter_view(picture: str, box_id: str) -> str:
    """Return a picture to paint on, as a part of the page.

    picture: its address. box_id: the element with the text box that is told what `painted_mask` reads.
    """
    return f'<lbw-mask data-box="{box_id}"><img src="{picture}" alt="source"></lbw-mask>'


def painted_mask(address: str | None) -> np.ndarray | None:
    """Return what was painted, (height, width), 255 where it was; None where nothing was.

    address: holds a PNG that is opaque where something was painted; nothing for nothing.

    Raises:
        WeightsError: it cannot be read, or is larger than a page sends it.
    """
    if not address:
        return None
    try:
        if not address.startswith(_HEAD) or len(address) > _LONGEST:
            raise ValueError("not what the page sends")
        data = base64.b64decode(address[len(_HEAD) :], validate=True)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if max(image.size) > _LARGEST:
                raise ValueError("larger than the page sends it")
            painted = np.asarray(image.convert("RGBA"))[..., 3] >= 128
    except Exception as error:  # whatever Pillow meets in data that is no picture
        raise WeightsError(t("the painted mask cannot be read; press Clear below it and paint it again")) from error
    return painted.astype(np.uint8) * 255 if painted.any() else None
