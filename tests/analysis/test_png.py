"""PNG files with an infotext, read back as the WebUIs read them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

pytest.importorskip("PIL")

from PIL import Image

from lbw.analysis.png import encoded, write_png
from lbw.core.errors import FileError

IMAGE = Image.new("RGB", (3, 2), (10, 20, 30))
INFOTEXT = "ein Stern, 星, \N{GLOWING STAR}\nSteps: 1"


def test_the_infotext_is_the_text_parameters() -> None:
    read = Image.open(io.BytesIO(encoded(IMAGE, INFOTEXT)))
    assert read.text == {"parameters": INFOTEXT}  # type: ignore[attr-defined]
    assert list(read.getdata()) == [(10, 20, 30)] * 6
    assert Image.open(io.BytesIO(encoded(IMAGE))).text == {}  # type: ignore[attr-defined]


def test_letters_that_no_file_can_hold_are_written_out() -> None:
    read = Image.open(io.BytesIO(encoded(IMAGE, "a \udcff b")))
    assert read.text == {"parameters": "a \\udcff b"}  # type: ignore[attr-defined]


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "there.png").mkdir()
    with pytest.raises(FileError, match=r"there\.png cannot be written"):
        write_png(IMAGE, INFOTEXT, tmp_path / "there.png")
    assert [path.name for path in tmp_path.iterdir()] == ["there.png"]
