"""The preset files: those shipped, and the user's own, which is made from them and belongs to the user."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lbw.core.elements import parse_elements
from lbw.core.errors import FileError
from lbw.core.limits import PRESET_FILE_BYTES
from lbw.core.presets import PresetFile, parse_presets
from lbw.core.texts import t

from .atomic import ChangedError, locked, version, write

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "presets"
WEIGHTS = "lbwpresets.txt"
ELEMENTS = "elempresets.txt"


class TooLargeError(FileError):
    """A text that is larger than any preset file."""


def read_text(path: Path) -> str:
    """Return the text of the file at `path`, its line ends and a BOM kept.

    Raises:
        FileError: it cannot be read, is not UTF-8, or is larger than any preset file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(PRESET_FILE_BYTES + 1)
        _check_size(len(data), path)
        return data.decode("utf-8")
    except OSError as error:
        raise FileError(t("{path} cannot be read: {reason}", path=path, reason=error.strerror or error)) from error
    except UnicodeDecodeError as error:
        raise FileError(
            t("{path} is not valid UTF-8 at byte {place}; save it as UTF-8", path=path, place=error.start)
        ) from error


def write_text(path: Path, text: str, known_version: str | None = None) -> None:
    """Replace the file at `path` with `text`, atomically; the old one is kept beside it with `.bak` added.

    known_version: `version(path)` when the file was read; None to write whatever is there.

    Raises:
        ChangedError: the file changed since then. FileError: it cannot be written, or is too large.
    """
    with locked(path):
        _write(path, text, known_version)


def _write(path: Path, text: str, known_version: str | None) -> None:
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        wrong = t("its character {place} is half of a surrogate pair", place=error.start + 1)
        raise FileError(t("{path} cannot be written: {reason}", path=path, reason=wrong)) from error
    _check_size(len(data), path)
    write(path, data, backup=True, known_version=known_version)


def _check_size(size: int, path: Path) -> None:
    if size > PRESET_FILE_BYTES:
        most = f"{PRESET_FILE_BYTES:,}"
        raise TooLargeError(t("{path} holds more than {most} bytes, the most of a preset file", path=path, most=most))


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
        """Return the user's file `name`, or the shipped one if the user has none, for an editor.

        Raises:
            FileError: it cannot be read.
        """
        known = version(self.folder / name)  # before the text, so that a change in between is noticed at the save
        return Reading(read_text(self.path(name)), known)

    def save(self, name: str, text: str, known_version: str | None) -> Reading:
        """Replace the user's file `name` by `text`; see `write_text`.

        Raises:
            ChangedError: the file changed since `known_version`. FileError: it cannot be written.
        """
        own = self.folder / name
        with locked(own):
            _write(own, text, known_version)
            return Reading(text, version(own))

    def change(self, name: str, edit: Callable[[str], str]) -> Reading:
        """Replace the current text of the file `name` with what `edit` returns for it.

        Nobody else who saves through this module comes in between, so nothing of theirs is lost.

        Raises:
            FileError: it cannot be read or written. Whatever `edit` raises; the file is as it was then.
        """
        own = self.folder / name
        with locked(own):
            known = self.read(name)
            text = edit(known.text)
            if text != known.text:
                _write(own, text, known.version)
            return Reading(text, version(own))

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
        """Create the user's files if they do not exist yet; return what was done, a sentence each.

        predecessors: folders in which the extension that people come from keeps its files; taken over from
            the first that has one, once. What is shipped with us and missing there is added at the end.
        """
        done = []
        for name in (WEIGHTS, ELEMENTS):
            own = self.folder / name
            if own.exists():
                continue
            text = read_text(self.shipped / name)
            imported = []
            for folder in predecessors:
                if (folder / name).is_file():
                    text = _taken_over(read_text(folder / name), text, name)
                    imported.append(t("{source} was imported into {path}", source=folder / name, path=own))
                    break
            with suppress(ChangedError):  # another program that starts at the same time has made it
                write_text(own, text, known_version="")
                done += imported
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
