"""Writing files: whole or not at all, whatever is killed or in the way, and however many write at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lbw.core.errors import FileError
from lbw.core.presets import parse_presets
from lbw.files import atomic
from lbw.files.atomic import SUFFIX, ChangedError, locked, version, write, write_text
from lbw.files.user_presets import PresetStore, Reading

ROOT = Path(__file__).resolve().parents[2]
posix = pytest.mark.skipif(os.name == "nt", reason="signals and links of POSIX")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


# Killed ------------------------------------------------------------------------------------------

SAVE_FOR_EVER = """
import sys
from pathlib import Path
from lbw.files.user_presets import write_text
texts = [f"{letter}:" + letter * 3_000_000 for letter in "ab"]
print("begun", flush=True)
while True:
    for text in texts:
        write_text(Path(sys.argv[1]), text)
"""


@posix
def test_a_file_is_whole_whenever_its_writer_is_killed_and_so_is_its_backup(tmp_path: Path) -> None:
    path = tmp_path / "presets.txt"
    whole = {f"{letter}:" + letter * 3_000_000 for letter in "ab"}
    path.write_text(min(whole))
    left_behind = 0
    for moment in random.Random(1).sample(range(1, 60), 15):
        with start(SAVE_FOR_EVER, path) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(moment / 1000)
            writer.send_signal(signal.SIGKILL)
        assert path.read_text() in whole
        backup = tmp_path / "presets.txt.bak"
        assert not backup.exists() or backup.read_text() in whole
        left_behind += any(name.endswith(SUFFIX) for name in names(tmp_path))
    assert left_behind  # otherwise nobody was killed in the middle
    write(path, b"last")
    assert [name for name in names(tmp_path) if name.endswith(SUFFIX)] == []
    with locked(path):  # a dead process's lock blocks nobody
        write(path, b"locked")


@posix
def test_what_another_program_is_writing_at_this_moment_is_left_alone(tmp_path: Path) -> None:
    program = "import sys, lbw.files.atomic as a; from pathlib import Path\n"
    program += "held = a._new_part(Path(sys.argv[1]), 0o600); print(held[1], flush=True); input()"
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        part = Path(other.stdout.readline().strip())
        write(tmp_path / "file", b"1")
        assert part.exists()
        other.kill()
    write(tmp_path / "file", b"2")
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError(), KeyboardInterrupt()])
@pytest.mark.parametrize("operation", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    error: BaseException, operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write(path, b"old")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(*((os, "fsync") if operation == "fsync" else (Path, "replace")), fail)
    with pytest.raises(FileError if isinstance(error, OSError) else type(error)):
        write(path, b"new")
    monkeypatch.undo()
    assert names(tmp_path) == ["file"]
    assert path.read_bytes() == b"old"


# Links and permissions ---------------------------------------------------------------------------


@posix
def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link, chain = tmp_path / "elsewhere" / "mine.txt", tmp_path / "presets.txt", tmp_path / "chain.txt"
    target.write_text("first")
    link.symlink_to(target)
    chain.symlink_to("presets.txt")
    write(chain, b"second", backup=True, known_version=version(target))
    assert (link.is_symlink(), chain.is_symlink(), target.is_symlink()) == (True, True, False)
    assert target.read_text() == "second"
    assert (tmp_path / "chain.txt.bak").read_text() == "first"
    assert names(tmp_path / "elsewhere") == ["mine.txt"]


@posix
def test_a_link_to_nothing_yet_is_filled_and_one_to_itself_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("later")
    write(tmp_path / "link", b"text")
    assert (tmp_path / "later").read_bytes() == b"text"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FileError, match="loop cannot be written: the link points to itself"):
        write(tmp_path / "loop", b"text")
    assert (tmp_path / "loop").is_symlink()


@posix
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o755])
def test_permissions_stay_and_a_new_file_has_those_of_the_umask(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    before = os.umask(0o027)
    try:
        write(path, b"new")
        assert path.stat().st_mode & 0o777 == 0o640
        path.chmod(mode)
        write(path, b"newer")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


def test_half_characters_are_written_out(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "a \udcff\n")
    assert (tmp_path / "file").read_bytes() == b"a \\udcff\n"


# Several at once ---------------------------------------------------------------------------------

CHANGE = """
import sys
from pathlib import Path
from lbw.core.presets import parse_presets
from lbw.files.user_presets import PresetStore
store = PresetStore(Path(sys.argv[1]))
for number in range(150):
    store.change("lbwpresets.txt", lambda text: str(parse_presets(text).with_preset(f"{sys.argv[2]}{number}", "1")))
"""

SAVE = """
import sys
from pathlib import Path
from lbw.core.presets import parse_presets
from lbw.files.atomic import ChangedError
from lbw.files.user_presets import PresetStore
store, told = PresetStore(Path(sys.argv[1])), 0
for number in range(150):
    while True:
        known = store.read("lbwpresets.txt")
        text = str(parse_presets(known.text).with_preset(f"{sys.argv[2]}{number}", "1"))
        try:
            store.save("lbwpresets.txt", text, known.version)
            break
        except ChangedError:
            told += 1
"""


@pytest.mark.parametrize("program", [CHANGE, SAVE])
def test_two_programs_that_save_150_presets_each_lose_none(program: str, tmp_path: Path) -> None:
    store = PresetStore(tmp_path / "user")
    store.create()
    shipped = set(store.presets())
    writers = [start(program, store.folder, letter) for letter in "AB"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.close()
    expected = {f"{letter}{number}" for letter in "AB" for number in range(150)}
    assert set(store.presets()) - shipped == expected
    assert names(store.folder) == ["elempresets.txt", "lbwpresets.txt", "lbwpresets.txt.bak"]


def in_threads(count: int, work: Callable[[int], None]) -> list[BaseException]:
    errors: list[BaseException] = []

    def one(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_threads_that_write_one_file_do_not_meet(tmp_path: Path) -> None:
    texts = [bytes([65 + number]) * 100_000 for number in range(4)]

    def work(number: int) -> None:
        for _ in range(25):
            write(tmp_path / "file", texts[number])
            assert (tmp_path / "file").read_bytes() in texts

    assert in_threads(4, work) == []
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(sys.platform == "win32", reason="there, new files are not locked")
def test_a_new_file_that_another_program_is_about_to_delete_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = atomic._lock, []

    def lock(descriptor: int) -> bool | None:
        asked.append(descriptor)
        return False if len(asked) == 1 else real(descriptor)

    monkeypatch.setattr(atomic, "_lock", lock)
    file, part = atomic._new_part(tmp_path, 0o666)
    with file, part.open("rb") as other:
        assert real(other.fileno()) is False
    assert len(asked) == 2


def test_a_lock_is_waited_for_and_given_up_with_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    order: list[str] = []

    def second() -> None:
        with locked(path):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(path):
        thread.start()
        time.sleep(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    monkeypatch.setattr(atomic, "PATIENCE", 0.05)
    given_up = pytest.raises(FileError, match=r"another program has been writing to it for 0\.05 s")
    with locked(path), given_up, locked(path):
        pass
    assert names(tmp_path) == []


def test_what_changed_since_it_was_read_is_told_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write(path, b"1")
    known = version(path)
    write(path, b"22")
    with pytest.raises(ChangedError, match="file was changed by another program"):
        write(path, b"mine", backup=True, known_version=known)
    with pytest.raises(ChangedError):
        write(path, b"mine", known_version="")  # there was none
    assert (path.read_bytes(), names(tmp_path)) == (b"22", ["file"])


def test_a_change_while_the_new_file_is_written_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1")
    real = os.fsync

    def meanwhile(descriptor: int) -> None:
        path.write_bytes(b"theirs")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    with pytest.raises(ChangedError):
        write(path, b"mine", known_version=version(path))
    assert (path.read_bytes(), names(tmp_path)) == (b"theirs", ["file"])


def test_new_attributes_alone_are_no_other_version(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write(path, b"1")
    known = version(path)
    path.chmod(0o600)
    write(path, b"2", known_version=known)
    assert version(path) != known
    assert version(tmp_path / "none") == ""


# One preset --------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> PresetStore:
    store = PresetStore(tmp_path / "user")
    write_text(store.folder / "lbwpresets.txt", "A:1\nB:2\n")
    return store


def test_a_change_sees_the_file_as_it_is_and_what_it_raises_changes_nothing(store: PresetStore) -> None:
    changed = store.change("lbwpresets.txt", lambda text: text + "C:3\n")
    assert changed == store.read("lbwpresets.txt") == Reading("A:1\nB:2\nC:3\n", version(store.path("lbwpresets.txt")))

    def refuse(text: str) -> str:
        raise ChangedError(text)

    with pytest.raises(ChangedError, match="C:3"):
        store.change("lbwpresets.txt", refuse)
    assert store.read("lbwpresets.txt") == changed
    assert names(store.folder) == ["lbwpresets.txt", "lbwpresets.txt.bak"]


def test_the_panel_saves_one_preset_beside_what_others_changed_meanwhile(store: PresetStore) -> None:
    pytest.importorskip("gradio")
    import gradio as gr

    from lbw.ui.presets import presets_panel

    with gr.Blocks():
        panel = presets_panel(store)
    known = store.read("lbwpresets.txt")
    write_text(store.folder / "lbwpresets.txt", "A:1\nB:2\nTHEIRS:1\n")
    held = {panel.text: known.text, panel.known: known}
    updates = panel.with_preset("MINE", "0,OUT00=1", held, is_saved=True)
    assert "Saved to" in updates[panel.message]
    assert updates[panel.text] == store.read("lbwpresets.txt").text == "A:1\nB:2\nTHEIRS:1\nMINE:0,OUT00=1\n"
    # Two changes of one preset are a conflict, and so is a change of a text that is being edited.
    write_text(store.folder / "lbwpresets.txt", "A:theirs\nB:2\n")
    for edited, written in ((known.text, "A:mine\nB:2\n"), ("A:1\n", "A:mine\n")):
        updates = panel.with_preset("A", "mine", {**held, panel.text: edited}, is_saved=True)
        assert "nothing was saved" in updates[panel.message]
        assert updates[panel.text] == written
    assert parse_presets(store.read("lbwpresets.txt").text).presets == {"A": "theirs", "B": "2"}


def test_folders_that_are_missing_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "presets.txt", "A:1")
    assert (tmp_path / "a" / "b" / "presets.txt").read_text() == "A:1"
