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


def test_other_texts_stand_beside_the_infotext() -> None:
    read = Image.open(io.BytesIO(encoded(IMAGE, INFOTEXT, texts={"count": "2", "Software": "none"})))
    assert read.text == {"count": "2", "Software": "none", "parameters": INFOTEXT}  # type: ignore[attr-defined]


def test_the_level_says_how_much_a_file_is_compressed(tmp_path: Path) -> None:
    plain = Image.new("RGB", (100, 100))
    stored, usual = (encoded(plain, compress_level=level) for level in (0, 6))
    assert len(stored) > 100 * (1 + 100 * 3) > 50 * len(usual)  # a line is its filter's number and its pixels
    assert encoded(plain) == usual  # 6 is zlib's own level
    for level, data in ((0, stored), (6, usual)):
        write_png(plain, "", tmp_path / "there.png", compress_level=level)
        assert (tmp_path / "there.png").read_bytes() == data
    write_png(plain, INFOTEXT, tmp_path / "there.png")
    assert (tmp_path / "there.png").read_bytes() == encoded(plain, INFOTEXT)


def test_letters_that_no_file_can_hold_are_written_out() -> None:
    read = Image.open(io.BytesIO(encoded(IMAGE, "a \udcff b")))
    assert read.text == {"parameters": "a \\udcff b"}  # type: ignore[attr-defined]


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "there.png").mkdir()
    with pytest.raises(FileError, match=r"there\.png cannot be written"):
        write_png(IMAGE, INFOTEXT, tmp_path / "there.png")
    assert [path.name for path in tmp_path.iterdir()] == ["there.png"]
