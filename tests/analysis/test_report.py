"""JSON and CSV of an analysis: every figure, and files that are whole."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PIL")

from lbw.analysis.cells import choose
from lbw.analysis.effective_blocks import Analysis, Settings, suggest
from lbw.analysis.measure import rectangle_mask
from lbw.analysis.report import report, to_csv, write_figures
from lbw.analysis.store import CellStore
from lbw.core.architectures import ARCHITECTURES
from lbw.core.errors import FileError
from lbw.core.presets import parse_presets
from lbw.files.atomic import write_text

from .doubles import Painter, weights_of

SDXL = ARCHITECTURES["sdxl"]


def figures(folder: Path, with_mask: bool = False, fails: bool = False) -> dict[str, Any]:
    """Analyse blocks of 4·seed and 40 of 400 pixels, and one without tensors, over the seeds 1 and 3."""
    chosen = tuple(choose("IN04,IN05 M00,OUT01", SDXL, ()))
    made = Analysis(
        Settings(chosen, (1, 3), (0.0, 1.0), 15, "white", True),
        SDXL,
        {"IN04": 2, "M00": 2},
        CellStore(folder / "cells", {}),
        rectangle_mask("0,0,100,10", 20, 20) if with_mask else None,
    )
    renderer = Painter(lambda seed: {"IN04": 4 * seed, "M00": 40})
    renderer.fails = lambda cell: fails and cell.seed == 3 and weights_of(cell)["M00"] == 0
    for _ in made.run(renderer):
        pass
    about = {"prompt": '猫, "a"', "steps": 4}
    return report(made.settings, made.results, suggest(made.results), about, "my LoRA", ["a.png", "b.png"])


def test_the_report_carries_every_figure_and_setting(tmp_path: Path) -> None:
    found = figures(tmp_path)
    assert found["settings"] == {
        "prompt": '猫, "a"',
        "steps": 4,
        "range": [0.0, 1.0],
        "blocks": ["IN04", "IN05 M00", "OUT01"],
        "seeds": [1, 3],
        "sources": ["seed 1", "seed 3"],
        "threshold": 15,
        "diff_color": "white",
        "swap_axes": True,
        "mask": False,
    }
    one, two, none = found["blocks"]
    assert one == {
        "block": "IN04",
        "blocks": ["IN04"],
        "percent": pytest.approx([1, 3]),
        "mean": pytest.approx(2),
        "std": pytest.approx(1),
    }
    assert two["blocks"] == ["IN05", "M00"]
    assert two["percent"] == pytest.approx([10, 10])
    assert (none["percent"], none["mean"], none["std"]) == ([0.0, 0.0], 0.0, 0.0)
    assert found["ranking"] == ["IN05 M00", "IN04", "OUT01"]
    assert (found["grid"], found["grids"]) == ("a.png", ["a.png", "b.png"])


def test_the_report_carries_the_suggestion(tmp_path: Path) -> None:
    found = figures(tmp_path)["suggestion"]
    assert (found["not_needed_at_most"], found["needed_at_least"]) == pytest.approx((1, 5))
    assert found["blocks"] == {"IN04": "unknown", "IN05": "needed", "M00": "needed", "OUT01": "not needed"}
    assert parse_presets(found["preset"]).presets == {"my LoRA": "1,IN04=0.5,OUT01=0"}


def test_with_a_mask_the_report_says_what_is_inside_and_outside(tmp_path: Path) -> None:
    found = figures(tmp_path, with_mask=True)
    one, two, none = found["blocks"]
    assert found["settings"]["mask"] is True
    # 40 pixels inside. IN04 has the first 4 or 12 of them, and M00 the 40 after those.
    assert one["inside"] == pytest.approx([10, 30])
    assert one["outside"] == [0.0, 0.0]
    assert (one["mean_inside"], one["mean_outside"], one["mean_focus"]) == pytest.approx((20, 0, 1))
    assert two["inside"] == pytest.approx([90, 70])
    assert two["outside"] == pytest.approx([100 * 4 / 360, 100 * 12 / 360])
    assert two["focus"] == pytest.approx([90 / (90 + 10 / 9), 70 / (70 + 10 / 3)])
    assert (none["focus"], none["mean_focus"]) == ([None, None], None)


def test_what_failed_is_told(tmp_path: Path) -> None:
    _, two, _ = figures(tmp_path, fails=True)["blocks"]
    assert two["percent"] == [pytest.approx(10), None]
    assert two["mean"] == pytest.approx(10)
    assert two["errors"] == {"seed 3": "RuntimeError: out of memory"}


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_table_carries_every_figure(tmp_path: Path) -> None:
    found = figures(tmp_path, with_mask=True, fails=True)
    table = rows(to_csv(found))
    extra = ["mean_inside", "mean_outside", "mean_focus"]
    assert list(table[0]) == ["rank", "block", "seed 1", "seed 3", "mean", "std", *extra]
    assert [(row["rank"], row["block"]) for row in table] == [("2", "IN04"), ("1", "IN05 M00"), ("3", "OUT01")]
    for row, block in zip(table, found["blocks"]):
        for name, value in zip(
            ["seed 1", "seed 3", "mean", "std", *extra],
            [*block["percent"], block["mean"], block["std"], *(block[name] for name in extra)],
        ):
            assert row[name] == ("" if value is None else str(value))
    assert table[1]["seed 3"] == ""
    assert table[2]["mean_focus"] == ""
    assert list(rows(to_csv(figures(tmp_path / "other")))[0]) == ["rank", "block", "seed 1", "seed 3", "mean", "std"]


def test_a_block_of_which_nothing_is_known_has_no_place() -> None:
    block = {"block": 'a,"b"', "percent": [None], "mean": None, "std": None}
    table = rows(to_csv({"settings": {"sources": ["seed 1"], "mask": False}, "ranking": [], "blocks": [block]}))
    assert table == [{"rank": "", "block": 'a,"b"', "seed 1": "", "mean": "", "std": ""}]


def test_figures_are_written_as_json_and_csv(tmp_path: Path) -> None:
    found = figures(tmp_path)
    write_figures(tmp_path / "out" / "名前 v1.5-blocks", found)
    folder = tmp_path / "out"
    assert sorted(path.name for path in folder.iterdir()) == ["名前 v1.5-blocks.csv", "名前 v1.5-blocks.json"]
    text = (folder / "名前 v1.5-blocks.json").read_text(encoding="utf-8")
    assert json.loads(text) == found
    assert "猫" in text
    table = (folder / "名前 v1.5-blocks.csv").read_bytes().decode("utf-8")
    assert table == to_csv(found)
    assert "\r" not in table


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_file_is_written_whole_or_not_at_all(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "a.json", "old")

    def refuse(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(FileError, match=f"a.json cannot be written: {os.strerror(code)}"):
        write_text(tmp_path / "a.json", "a new text")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "old"


def test_a_folder_in_the_place_of_the_file_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(FileError, match=r"a\.json cannot be written"):
        write_text(tmp_path / "a.json", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_file_in_the_place_of_the_folder_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("no folder")
    with pytest.raises(FileError, match="cannot be written"):
        write_text(tmp_path / "out" / "a.json", "text")


def test_text_that_is_no_utf_8_is_written_or_an_error_of_ours(tmp_path: Path) -> None:
    try:
        write_text(tmp_path / "a.json", os.fsdecode(b"prompt \xff"))
    except FileError:
        assert list(tmp_path.iterdir()) == []
