"""What the page sends for a painted mask, and what somebody else might send instead."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("gradio")

from lbw.core.errors import WeightsError
from lbw.ui.mask_painter import painted_mask, painter_view


def png(pixels: Any) -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(data, format="PNG")
    return data.getvalue()


def address(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


SMALL = png([[[255, 0, 0, alpha] for alpha in row] for row in ((0, 255, 127), (128, 0, 0))])


def test_what_is_opaque_is_painted() -> None:
    painted = painted_mask(address(SMALL))
    assert painted is not None
    assert painted.tolist() == [[0, 255, 0], [255, 0, 0]]


@pytest.mark.parametrize("nothing", [None, "", address(png(np.zeros((3, 4, 4))))])
def test_nothing_painted_is_no_mask(nothing: str | None) -> None:
    assert painted_mask(nothing) is None


@pytest.mark.parametrize(
    "text",
    [
        "data:,", "data:image/png;base64,", "data:image/png;base64,AAAA", "/etc/passwd", "0,0,50,50",
        address(SMALL).replace("png", "svg+xml"), address(SMALL) + "é", address(png(np.zeros((1, 2049)))),
        address(SMALL)[:22] + "A" * 4_000_000,
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_what_is_no_mask_is_told(text: str) -> None:
    with pytest.raises(WeightsError, match="painted mask cannot be read; press Clear"):
        painted_mask(text)


@given(st.integers(0, len(SMALL) - 1), st.binary(max_size=8), st.integers(0, 8))
def test_a_damaged_picture_is_read_or_told(place: int, put: bytes, gone: int) -> None:
    try:
        painted = painted_mask(address(SMALL[:place] + put + SMALL[place + gone :]))
    except WeightsError:
        return
    assert painted is None or set(np.unique(painted)) <= {0, 255}


def test_a_painter_names_the_box_that_it_tells() -> None:
    assert painter_view("data:image/png;base64,AA", "box") == (
        '<lbw-mask data-box="box"><img src="data:image/png;base64,AA" alt="source"></lbw-mask>'
    )
