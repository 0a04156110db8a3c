"""The one safe write: a file is replaced completely or not at all, and by one program at a time.

A new file is written beside the one that it replaces, and takes its name when all of it is on the disk. Whatever ends
the program in between, the file is the old one or the new one. What a program that was killed has left behind is
deleted at the next write into the folder.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from lbw.core.errors import FileError
from lbw.core.texts import t

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

PREFIX, SUFFIX = ".lbw-", ".part"
"""How the names of files begin and end that are being written."""
PATIENCE = 10.0
"""Seconds to wait for another program that holds a lock, or that keeps Windows from replacing a file."""
_PAUSE = 0.005
_BINARY = getattr(os, "O_BINARY", 0)


class ChangedError(FileError):
    """A file that another program has changed since it was read: it was not replaced."""


def version(path: Path) -> str:
    """Return a short text that changes when the file at `path` does; empty where there is none."""
    try:
        state = path.stat()
    except OSError:
        return ""
    # Not when its attributes changed: programs that synchronise folders note there what they have done.
    return f"{state.st_mtime_ns:x}-{state.st_size:x}-{state.st_ino:x}"


def write_text(path: Path, text: str) -> None:
    """Replace the file at `path` by `text` in UTF-8, half characters as Python writes them; see `write`.

    Raises:
        FileError: it cannot be written.
    """
    write(path, text.encode("utf-8", "backslashreplace"))


def write(path: Path, data: bytes, *, backup: bool = False, known_version: str | None = None) -> None:
    """Replace the file at `path` by `data`; its folder is made if need be, and the file's permissions stay.

    A symbolic link stays, and what it leads to is replaced. backup: keep the old file beside `path`, with `.bak` added
    to its name. known_version: `version(path)` when it was read; None to replace whatever is there.

    Raises:
        ChangedError: the file is not of the version that is known. FileError: it cannot be written.
    """
    try:
        target = _target(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        _delete_abandoned(target.parent)
        _check(path, known_version)
        old = target.stat() if target.exists() else None
        if old is not None and not os.access(target, os.W_OK):
            raise PermissionError(13, t("it is write-protected"))
        if backup and old is not None:
            kept = path.with_name(path.name + ".bak")
            write(kept, target.read_bytes())
            os.utime(_target(kept), ns=(old.st_atime_ns, old.st_mtime_ns))
        mode = 0o666 if old is None else stat.S_IMODE(old.st_mode)  # of a new file, the umask takes away from that
        file, part = _new_part(target.parent, mode)
        try:
            with file:
                if old is not None:
                    part.chmod(mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                _check(path, known_version)
                _rename(file, part, target)
        finally:
            part.unlink(missing_ok=True)
        _sync_folder(target.parent)
    except OSError as error:
        raise FileError(t("{path} cannot be written: {reason}", path=path, reason=error.strerror or error)) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep all others, threads and programs, out of this for `path`, from reading a file to replacing it.

    The lock is the system's, on a file that stands beside the file for so long: it ends with the program, however that
    ends. Where a network's file system knows no locks, nobody is kept out; `known_version` still tells what they did.

    Raises:
        FileError: another program does not let go, or the folder cannot be written to.
    """
    until = time.monotonic() + PATIENCE
    try:
        target = _target(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = target.with_name(f".{target.name}.lock")
        file = _lock_file(lock)
        while file is None and time.monotonic() < until:
            time.sleep(_PAUSE)
            file = _lock_file(lock)
    except OSError as error:
        raise FileError(t("{path} cannot be written: {reason}", path=path, reason=error.strerror or error)) from error
    if file is None:
        held = t("another program has been writing to it for {seconds} s", seconds=f"{PATIENCE:g}")
        raise FileError(t("{path} cannot be written: {reason}", path=path, reason=held))
    try:
        yield
    finally:
        with suppress(OSError):  # on Windows it stays
            lock.unlink()
        _unlock(file.fileno())
        file.close()


def _lock_file(path: Path) -> BinaryIO | None:
    """Return the file at `path`, made if need be, locked; None while somebody else has it."""
    file = path.open("ab")
    try:
        # Whoever had it before has deleted it: then what is locked here is nothing that others find.
        if _lock(file.fileno()) is not False and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
    except FileNotFoundError:
        pass
    except BaseException:
        file.close()
        raise
    file.close()
    return None


def _target(path: Path) -> Path:
    """Return the file that `path` leads to, which need not be there."""
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(40, t("the link points to itself"))
    if target.is_dir():
        raise IsADirectoryError(21, t("it is a folder"))
    return target


def _check(path: Path, known_version: str | None) -> None:
    if known_version is not None and version(path) != known_version:
        changed = t(
            "{path} was changed by another program after it was read; reload it, or save it elsewhere", path=path
        )
        raise ChangedError(changed)


def _new_part(folder: Path, mode: int) -> tuple[BinaryIO, Path]:
    """Return a new file in `folder`, locked as long as it is open, and its path."""
    while True:
        part = folder / f"{PREFIX}{token_hex(8)}{SUFFIX}"
        file = open(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _BINARY, mode), "wb")  # noqa: SIM115, PTH123
        is_ours = sys.platform == "win32" or _lock(file.fileno()) is not False
        if is_ours and part.exists():
            return file, part
        file.close()  # another program took it for abandoned before it was locked, and has deleted it or is about to


def _rename(file: BinaryIO, part: Path, target: Path) -> None:
    """Give `part` the name `target`."""
    if sys.platform != "win32":
        part.replace(target)
        return
    file.close()  # there, an open file keeps its name
    until = time.monotonic() + PATIENCE
    while True:
        try:
            part.replace(target)
            return
        except PermissionError:  # somebody reads the old file
            if time.monotonic() > until:
                raise
        time.sleep(_PAUSE)


def _delete_abandoned(folder: Path) -> None:
    """Delete what programs that were killed have left in `folder`."""
    parts: list[Path] = []
    with suppress(OSError), os.scandir(folder) as entries:
        parts += [Path(e.path) for e in entries if e.name.startswith(PREFIX) and e.name.endswith(SUFFIX)]
    for part in parts:
        with suppress(OSError):
            if sys.platform == "win32":  # where an open file cannot be deleted, and one that gets its name is closed
                if time.time() - part.stat().st_mtime > PATIENCE:
                    part.unlink()
                continue
            with part.open("rb") as file:
                if _lock(file.fileno()) is True:
                    part.unlink()


def _sync_folder(folder: Path) -> None:
    """Let the folder's new entry reach the disk, where the system can be asked for that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Lock an open file, without waiting: True if that is done, False if another has it; None without such locks."""
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def _unlock(descriptor: int) -> None:
    with suppress(OSError):
        if sys.platform == "win32":
            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
