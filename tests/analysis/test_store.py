"""Cells on disk: what comes back is what went in, or nothing."""

from __future__ import annotations

import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")

from PIL import Image, PngImagePlugin

from lbw.analysis.cells import Cell, uniform_cell
from lbw.analysis.store import CellStore, Rendered, forget_oldest
from lbw.core.architectures import ARCHITECTURES
from lbw.core.errors import FileError

SDXL = ARCHITECTURES["sdxl"]

CELL = uniform_cell(SDXL, 1, 42)
INFOTEXT = 'a cat — 猫 <lora:n:1:lbw=XYZ>\nNegative prompt: "x", ñ, 😀\nSteps: 2, LBW: ＮＡＭＥ'


def pictures(count: int = 1, height: int = 5, width: int = 7, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 5, 7), (4, 1, 1), (2, 64, 48)])
@pytest.mark.parametrize("infotext", [INFOTEXT, "", " spaces \n\n"])
def test_what_was_kept_comes_back_bit_for_bit(shape: tuple[int, int, int], infotext: str, tmp_path: Path) -> None:
    kept = pictures(*shape)
    CellStore(tmp_path, {"prompt": "a"}).save(CELL, Rendered(kept, infotext))
    found = CellStore(tmp_path, {"prompt": "a"}).load(CELL)
    assert found is not None
    assert found.pictures.dtype == np.uint8
    assert np.array_equal(found.pictures, kept)
    assert found.infotext == infotext


def test_every_field_of_a_cell_tells_it_from_others(tmp_path: Path) -> None:
    store = CellStore(tmp_path, {})
    others = [
        uniform_cell(SDXL, 1, 43),
        uniform_cell(SDXL, 0.5, 42),
        CELL.with_entry(("OUT05",), "0"),
        Cell(CELL.layout, CELL.entries, 42, "IN04:attn:0"),
    ]
    for number, cell in enumerate([CELL, *others]):
        store.save(cell, Rendered(pictures(seed=number)))
    for number, cell in enumerate([CELL, *others]):
        found = store.load(cell)
        assert found is not None
        assert np.array_equal(found.pictures, pictures(seed=number))


def test_saving_again_replaces(tmp_path: Path) -> None:
    store = CellStore(tmp_path, {})
    store.save(CELL, Rendered(pictures(3)))
    store.save(CELL, Rendered(pictures(1, seed=9)))
    found = store.load(CELL)
    assert found is not None
    assert np.array_equal(found.pictures, pictures(1, seed=9))


def test_an_unknown_cell_is_not_there(tmp_path: Path) -> None:
    store = CellStore(tmp_path, {})
    assert CELL not in store
    assert store.load(CELL) is None
    store.save(CELL, Rendered(pictures()))
    assert CELL in store
    assert uniform_cell(SDXL, 0, 42) not in store
    assert store.load(uniform_cell(SDXL, 0, 42)) is None
    store.forget()
    assert CELL not in store
    assert store.load(CELL) is None


def test_another_context_is_another_folder(tmp_path: Path) -> None:
    context: dict[str, Any] = {"prompt": "a", "steps": 20}
    CellStore(tmp_path, context).save(CELL, Rendered(pictures()))
    assert CELL in CellStore(tmp_path, {"steps": 20, "prompt": "a"})
    for other in ({**context, "steps": 21}, {**context, "steps": "20"}, {"prompt": "a"}, {**context, "cfg": 7.0}):
        assert CELL not in CellStore(tmp_path, other)
        assert CellStore(tmp_path, other).load(CELL) is None


def test_a_file_that_was_cut_off_counts_as_missing(tmp_path: Path) -> None:
    store = CellStore(tmp_path, {})
    store.save(CELL, Rendered(pictures(2), INFOTEXT))
    (file,) = tmp_path.rglob("*.png")
    whole = file.read_bytes()
    unread = 0
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        found = store.load(CELL)
        unread += found is None
        # Without its last bytes, which contain no pixels, a file may still be complete.
        assert found is None or np.array_equal(found.pictures, pictures(2))
    assert unread > len(whole) - 40


def _as_picture(path: Path, **chunks: str) -> None:
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    for name, value in chunks.items():
        info.add_text(name, value)
    Image.new("RGB", (4, 6)).save(path, format="PNG", pnginfo=info)


@pytest.mark.parametrize("count", [None, "0", "4", "-2", "many", ""])
def test_a_picture_that_is_no_batch_counts_as_missing(count: str | None, tmp_path: Path) -> None:
    store = CellStore(tmp_path, {})
    store.save(CELL, Rendered(pictures()))
    _as_picture(store.path(CELL), **({} if count is None else {"count": count}))
    assert store.load(CELL) is None


def test_what_is_no_file_counts_as_missing(tmp_path: Path) -> None:
    store = CellStore(tmp_path, {})
    store.path(CELL).mkdir(parents=True)
    assert CELL not in store
    assert store.load(CELL) is None


def test_a_batch_larger_than_pillow_opens_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow refuses twice as many
    store = CellStore(tmp_path, {})
    store.save(CELL, Rendered(pictures(3)))
    found = store.load(CELL)
    assert found is not None
    assert np.array_equal(found.pictures, pictures(3))


# Disks that do not take it -----------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_cell_that_cannot_be_moved_into_place_leaves_nothing(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        assert self.stat().st_size > 0
        if target.suffix == ".png":
            raise OSError(code, os.strerror(code))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    store = CellStore(tmp_path, {})
    with pytest.raises(FileError, match=f"cannot be written: {os.strerror(code)}") as caught:
        store.save(CELL, Rendered(pictures()))
    assert str(store.path(CELL)) in str(caught.value)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["context.json"]
    assert CELL not in store


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = CellStore(tmp_path, {})
    store.save(CELL, Rendered(pictures()))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="No space left on device"):
        store.save(CELL, Rendered(pictures(seed=1)))
    monkeypatch.undo()
    assert list(tmp_path.rglob("*.part")) == []
    found = store.load(CELL)
    assert found is not None
    assert np.array_equal(found.pictures, pictures())  # the old one stays


def test_threads_that_save_one_cell_do_not_meet(tmp_path: Path) -> None:
    rendered = [Rendered(pictures(height=64, width=64, seed=number)) for number in range(4)]

    def save(number: int) -> None:
        for _ in range(20):
            CellStore(tmp_path, {"prompt": "a"}).save(CELL, rendered[number])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(save, range(4)))
    found = CellStore(tmp_path, {"prompt": "a"}).load(CELL)
    assert found is not None
    assert any(np.array_equal(found.pictures, one.pictures) for one in rendered)
    assert len(list(tmp_path.rglob("*.*"))) == 2  # the cell, and what it follows from


def test_a_file_in_the_place_of_the_folder_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "cells").write_text("no folder")
    with pytest.raises(FileError, match="cannot be written"):
        CellStore(tmp_path / "cells", {}).save(CELL, Rendered(pictures()))


def test_a_cell_that_another_program_stored_in_shades_of_gray_comes_back_in_color(tmp_path: Path) -> None:
    store = CellStore(tmp_path, {})
    gray = np.repeat(pictures()[..., :1], 3, axis=-1)
    store.save(CELL, Rendered(gray))
    with Image.open(store.path(CELL)) as stored:
        told = PngImagePlugin.PngInfo()
        told.add_text("count", stored.info["count"])
        stored.convert("L").save(store.path(CELL), pnginfo=told)
    found = store.load(CELL)
    assert found is not None
    assert np.array_equal(found.pictures, gray)


# Forgetting --------------------------------------------------------------------------------------


def test_a_run_that_is_forgotten_is_gone_and_may_be_forgotten_again(tmp_path: Path) -> None:
    store = CellStore(tmp_path, {})
    store.forget()
    store.save(CELL, Rendered(pictures()))
    store.forget()
    assert CELL not in store
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_another_process_forgets_at_the_same_time_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.rmtree

    def late(folder: Path, **options: Any) -> None:
        real(folder)
        real(folder, **options)

    run_of(tmp_path, "a", 200, 1_000)
    monkeypatch.setattr(shutil, "rmtree", late)
    forget_oldest(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_nothing_is_forgotten_first(tmp_path: Path) -> None:
    run_of(tmp_path, "a", 200, 1_000)
    (tmp_path / "b").mkdir()
    forget_oldest(tmp_path, 199)
    assert list(tmp_path.iterdir()) == []
    run_of(tmp_path, "a", 200, 1_000)
    (tmp_path / "b").mkdir()
    run_of(tmp_path, "c", 200, 2_000)
    forget_oldest(tmp_path, 200)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def run_of(root: Path, name: str, size: int, time: int) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    for number in range(2):
        (folder / f"{number}.png").write_bytes(b"\0" * (size // 2))
        os.utime(folder / f"{number}.png", (time, time))
    os.utime(folder, (1, 1))
    return folder


@pytest.mark.parametrize(
    ("limit", "kept"), [(600, "abcd"), (599, "bcd"), (400, "bcd"), (399, "cd"), (300, "cd"), (299, "c"), (100, "c")]
)
def test_the_runs_used_longest_ago_are_forgotten_first(limit: int, kept: str, tmp_path: Path) -> None:
    run_of(tmp_path, "c", 100, 4_000)
    run_of(tmp_path, "a", 200, 1_000)
    run_of(tmp_path, "d", 200, 3_000)
    run_of(tmp_path, "b", 100, 2_000)
    (tmp_path / "note.txt").write_bytes(b"\0" * 1000)
    forget_oldest(tmp_path, limit)
    assert "".join(sorted(path.name for path in tmp_path.iterdir() if path.is_dir())) == kept
    assert (tmp_path / "note.txt").is_file()


def test_forgetting_where_nothing_is_does_nothing(tmp_path: Path) -> None:
    forget_oldest(tmp_path / "nowhere", 0)
    forget_oldest(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []
