"""The user's preset files: created once, imported once, replaced whole, and never over another program's changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lbw.core.errors import FileError
from lbw.core.limits import PRESET_FILE_BYTES
from lbw.core.presets import parse_presets
from lbw.files.user_presets import ELEMENTS, SHIPPED, WEIGHTS, PresetStore, read_text, version, write_text


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def store(tmp_path: Path) -> PresetStore:
    return PresetStore(tmp_path / "user")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    folder = tmp_path / "old"
    folder.mkdir()
    return folder


# Texts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["A:1\n", "\ufeffA:1\r\nB:2\r\n", "名:1\r", ""])
def test_a_text_is_read_and_written_byte_by_byte(tmp_path: Path, text: str) -> None:
    path = tmp_path / "presets.txt"
    path.write_bytes(text.encode())
    assert read_text(path) == text
    write_text(path, read_text(path))
    assert path.read_bytes() == text.encode()


def test_a_file_that_is_not_utf8_is_named_with_the_place(tmp_path: Path) -> None:
    path = tmp_path / "presets.txt"
    path.write_bytes(b"ok\xff")
    with pytest.raises(FileError, match=r"presets\.txt is not valid UTF-8 at byte 2"):
        read_text(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none\.txt cannot be read"):
        read_text(tmp_path / "none.txt")


def test_a_file_larger_than_any_preset_file_is_neither_read_nor_written(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    write_text(path, "a" * PRESET_FILE_BYTES)
    with pytest.raises(FileError, match="more than 16,777,216 bytes"):
        write_text(path, "é" * (PRESET_FILE_BYTES // 2 + 1))
    assert len(read_text(path)) == PRESET_FILE_BYTES
    path.write_bytes(b"a" * (PRESET_FILE_BYTES + 1))
    with pytest.raises(FileError, match="more than 16,777,216 bytes"):
        read_text(path)


def test_the_old_text_is_kept_beside_the_new(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "presets.txt"
    write_text(path, "first")
    assert tree(tmp_path) == {"deep/presets.txt": b"first"}
    write_text(path, "second")
    assert tree(tmp_path) == {"deep/presets.txt": b"second", "deep/presets.txt.bak": b"first"}


def test_the_files_mode_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "presets.txt"
    path.write_text("first")
    path.chmod(0o640)
    write_text(path, "second")
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_file_that_another_program_changed_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "presets.txt"
    path.write_text("mine")
    known = version(path)
    path.write_text("theirs!")
    with pytest.raises(FileError, match=r"presets\.txt was changed by another program"):
        write_text(path, "new", known)
    assert tree(tmp_path) == {"presets.txt": b"theirs!"}
    write_text(path, "new", version(path))
    assert path.read_text() == "new"


def test_a_file_that_appeared_since_it_was_looked_for_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "presets.txt"
    known = version(path)
    assert known == ""
    path.write_text("theirs")
    with pytest.raises(FileError, match="was changed"):
        write_text(path, "new", known)
    assert path.read_text() == "theirs"


def test_what_cannot_be_written_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "presets.txt"
    path.write_text("first")
    with pytest.raises(FileError, match=r"presets\.txt cannot be written"):
        write_text(path, "lone \ud800 surrogate")
    assert tree(tmp_path) == {"presets.txt": b"first"}


def test_an_interrupted_replacement_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "presets.txt"
    path.write_text("first")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match=r"presets\.txt\.bak cannot be written: No space left"):
        write_text(path, "second")
    assert tree(tmp_path) == {"presets.txt": b"first"}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot be written"):
        write_text(tmp_path / "file" / "presets.txt", "text")


# The store ---------------------------------------------------------------------------------------


def test_before_the_first_run_the_shipped_presets_serve(store: PresetStore) -> None:
    assert store.presets() == parse_presets(read_text(SHIPPED / WEIGHTS)).presets
    assert store.presets()["XL-LAYOUT"] == "0,IN08=1"
    assert store.elements()["XYZ"] == "::1"
    assert not store.folder.exists()


def test_the_users_files_are_made_from_the_shipped_ones(store: PresetStore) -> None:
    assert store.create() == []
    assert tree(store.folder) == {name: (SHIPPED / name).read_bytes() for name in (WEIGHTS, ELEMENTS)}


def test_files_that_are_there_are_never_touched(store: PresetStore, old: Path) -> None:
    store.create()
    (store.folder / WEIGHTS).write_text("MINE:1\n")
    (old / WEIGHTS).write_text("THEIRS:1\n")
    before = tree(store.folder)
    assert store.create([old]) == []
    assert tree(store.folder) == before


def test_the_predecessors_files_are_taken_over_with_every_line(store: PresetStore, old: Path) -> None:
    theirs = "\ufeff# my own\r\nALL:0.5\r\nMINE:1,0,0\r\nno preset"
    (old / WEIGHTS).write_bytes(theirs.encode())
    (old / ELEMENTS).write_bytes(b"MY:IN04:attn:0.5")
    before = tree(old)
    done = store.create([old.parent / "absent", old])
    text = read_text(store.folder / WEIGHTS)
    assert text.startswith(theirs + "\r\n")
    shipped = parse_presets(read_text(SHIPPED / WEIGHTS)).presets
    assert store.presets() == shipped | {"ALL": "0.5", "MINE": "1,0,0"}
    assert store.elements() == {"MY": "IN04:attn:0.5"}
    assert [str(old / name) in sentence for name, sentence in zip((WEIGHTS, ELEMENTS), done)] == [True, True]
    assert tree(old) == before


def test_only_the_first_predecessor_is_taken_over(store: PresetStore, old: Path) -> None:
    second = old.parent / "second"
    second.mkdir()
    (old / WEIGHTS).write_text("ONE:1\n")
    (second / WEIGHTS).write_text("TWO:1\n")
    assert len(store.create([old, second])) == 1
    assert "ONE" in store.presets()
    assert "TWO" not in store.presets()


def test_a_file_is_read_again_where_it_changed_and_only_there(store: PresetStore) -> None:
    store.create()
    first = store.file()
    assert store.file() is first
    write_text(store.folder / WEIGHTS, "NEW:1\n")
    assert store.presets() == {"NEW": "1"}
    (store.folder / ELEMENTS).write_text("OTHER:::2")
    assert store.elements() == {"OTHER": "::2"}


def test_a_users_file_that_cannot_be_read_is_named(store: PresetStore) -> None:
    store.create()
    (store.folder / WEIGHTS).write_bytes(b"\xff")
    with pytest.raises(FileError, match="is not valid UTF-8"):
        store.presets()


# For an editor -----------------------------------------------------------------------------------


def test_an_editor_saves_over_what_it_read_and_over_nothing_else(store: PresetStore) -> None:
    first = store.read(WEIGHTS)
    assert first.text == read_text(SHIPPED / WEIGHTS)
    saved = store.save(WEIGHTS, "MINE:1\n", first.version)
    assert store.read(WEIGHTS) == saved
    assert not store.changed(WEIGHTS, saved.version)
    (store.folder / WEIGHTS).write_text("THEIRS:1\n")
    assert store.changed(WEIGHTS, saved.version)
    with pytest.raises(FileError, match="was changed by another program"):
        store.save(WEIGHTS, "MINE:2\n", saved.version)
    assert store.presets() == {"THEIRS": "1"}
