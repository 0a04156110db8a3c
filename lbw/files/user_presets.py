"""The preset files: those shipped, and the user's own, which is made from them and belongs to the user."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lbw.core.elements import parse_elements
from lbw.core.errors import FileError
from lbw.core.presets import PresetFile, parse_presets

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "presets"
WEIGHTS = "lbwpresets.txt"
ELEMENTS = "elempresets.txt"


def read_text(path: Path) -> str:
    """Return the text of the file at `path`, its line ends and a BOM kept.

    Raises:
        FileError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is not UTF-8: byte {error.start} makes no character; save it as UTF-8") from error


def version(path: Path) -> str:
    """Return a short text that changes when the file at `path` does; empty where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return ""
    return f"{stat.st_mtime_ns:x}-{stat.st_size:x}-{stat.st_ino:x}"


def write_text(path: Path, text: str, known_version: str | None = None) -> None:
    """Replace the file at `path` by `text`, at once and whole; the old one is kept beside it with `.bak` added.

    known_version: `version(path)` when the file was read; None to write whatever is there.

    Raises:
        FileError: the file changed since then, or cannot be written.
    """
    if known_version is not None and version(path) != known_version:
        raise FileError(f"{path} was changed by another program since it was read; reload it, or save it elsewhere")
    name = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(13, "it is write-protected")
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, name)
            shutil.copy2(path, path.with_name(path.name + ".bak"))
        else:
            Path(name).chmod(0o644)
        Path(name).replace(path)
    except (OSError, UnicodeEncodeError) as error:
        if name:
            Path(name).unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"{path} cannot be written: {reason}") from error


@dataclass(frozen=True)
class Reading:
    """A file as it was read: its text, and the version of the user's own file at that time."""

    text: str
    version: str


@dataclass
class PresetStore:
    """The user's files in `folder`, each read again only when it has changed on the disk."""

    folder: Path = ROOT / "presets" / "user"
    shipped: Path = SHIPPED

    def __post_init__(self) -> None:
        self._weights: tuple[str, PresetFile] | None = None
        self._elements: tuple[str, dict[str, str]] | None = None

    def path(self, name: str) -> Path:
        """Return the user's file `name` if it exists, else the shipped one."""
        own = self.folder / name
        return own if own.exists() else self.shipped / name

    def read(self, name: str) -> Reading:
        """Return the user's file `name`, or the shipped one where the user has none, for an editor.

        Raises:
            FileError: it cannot be read.
        """
        known = version(self.folder / name)  # before the text, so that a change in between is noticed at the save
        return Reading(read_text(self.path(name)), known)

    def save(self, name: str, text: str, known_version: str | None) -> Reading:
        """Replace the user's file `name` by `text`; see `write_text`.

        Raises:
            FileError: the file changed since `known_version`, or cannot be written.
        """
        write_text(self.folder / name, text, known_version)
        return Reading(text, version(self.folder / name))

    def changed(self, name: str, known_version: str) -> bool:
        """Tell whether the user's file `name` is another than it was at `known_version`."""
        return version(self.folder / name) != known_version

    def file(self) -> PresetFile:
        """Return the user's preset file.

        Raises:
            FileError: it cannot be read.
        """
        path = self.path(WEIGHTS)
        mark = str(path) + version(path)
        if self._weights is None or self._weights[0] != mark:
            self._weights = mark, parse_presets(read_text(path))
        return self._weights[1]

    def presets(self) -> dict[str, str]:
        """Return block weights by name."""
        return self.file().presets

    def elements(self) -> dict[str, str]:
        """Return elemental rules by name."""
        path = self.path(ELEMENTS)
        mark = str(path) + version(path)
        if self._elements is None or self._elements[0] != mark:
            self._elements = mark, parse_elements(read_text(path))
        return self._elements[1]

    def create(self, predecessors: Iterable[Path] = ()) -> list[str]:
        """Make the user's files where they do not exist yet; return what was done, a sentence each.

        predecessors: folders in which the extension that people come from keeps its files; taken over from
            the first that has one, once. What is shipped with us and missing there is added at the end.
        """
        done = []
        for name in (WEIGHTS, ELEMENTS):
            own = self.folder / name
            if own.exists():
                continue
            text = read_text(self.shipped / name)
            for folder in predecessors:
                if (folder / name).is_file():
                    text = _taken_over(read_text(folder / name), text, name)
                    done.append(f"{folder / name} was taken over into {own}")
                    break
            write_text(own, text)
        return done


def _taken_over(theirs: str, shipped: str, name: str) -> str:
    """Return the text `theirs`, with the shipped presets added that it has not."""
    if name != WEIGHTS:
        return theirs
    file = parse_presets(theirs)
    for preset, weights in parse_presets(shipped).presets.items():
        if preset not in file.presets:
            file = file.with_preset(preset, weights)
    return str(file)
