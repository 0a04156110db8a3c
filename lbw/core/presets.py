"""The preset file: parsed without losing a byte, looked up, changed, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from .errors import PresetError, quote
from .preset_names import key_of, shown_names
from .texts import t

BOM = "\ufeff"
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")  # Unicode's other line separators do not end a line here


@dataclass(frozen=True)
class Line:
    """One line of a preset file.

    number: counted from 1. text: the line as written, including its end. name, weights: of a preset; the name includes
    the model if it is for one (`NAME@flux`). None for a comment, which is a line without `:` or with a `#`.
    """

    number: int
    text: str
    name: str | None
    weights: str | None


@dataclass(frozen=True)
class PresetFile:
    """The lines of a preset file. `str()` gives back exactly the text that was parsed."""

    lines: tuple[Line, ...]

    def __str__(self) -> str:
        return "".join(line.text for line in self.lines)

    @cached_property
    def presets(self) -> dict[str, str]:
        """Block weights by name, including the model if they are for one, in the order of the file.

        If two presets have the same name, the last one is used.
        """
        return {line.name: line.weights for line in self.lines if line.name is not None and line.weights is not None}

    @cached_property
    def names(self) -> list[str]:
        """The names that tags can use, in the order of the file."""
        return shown_names(self.presets)

    @cached_property
    def duplicates(self) -> list[Line]:
        """The lines that are ignored because a later one has the same name."""
        last = {line.name: line.number for line in self.lines if line.name is not None}
        return [line for line in self.lines if line.name is not None and last[line.name] != line.number]

    def with_preset(self, name: str, weights: str) -> PresetFile:
        """Return the file with `name` set to `weights`: its line replaced, or one added at the end."""
        name = key_of(name)
        end = "\r\n" if "\r\n" in str(self) else "\n"
        texts = [line.text for line in self.lines]
        line_number = max((line.number for line in self.lines if line.name == name), default=None)
        if line_number is not None:
            old = texts[line_number - 1]
            tail = old[len(old.rstrip("\r\n")) :]
            bom = BOM if old.startswith(BOM) else ""
            texts[line_number - 1] = f"{bom}{name}:{weights}{tail}"
        else:
            if texts and not texts[-1].endswith(("\n", "\r")):
                texts[-1] += end
            texts.append(f"{name}:{weights}{end}")
        return parse_presets("".join(texts))


def parse_presets(text: str) -> PresetFile:
    """Return the lines of `text`, a preset file (SYNTAX.md 4). Any text is a preset file."""
    lines = []
    for number, line in enumerate(_LINE.findall(text), start=1):
        content = (line.removeprefix(BOM) if number == 1 else line).strip()
        name, colon, weights = content.partition(":")
        if colon and "#" not in content and name.strip():
            lines.append(Line(number, line, key_of(name.strip()), weights.strip()))
        else:
            lines.append(Line(number, line, None, None))
    return PresetFile(tuple(lines))


def merged(*files: Mapping[str, str]) -> dict[str, str]:
    """Return the presets of several files; if two have the same name, the one of the later file is used."""
    result: dict[str, str] = {}
    for presets in files:
        result |= presets
    return result


def check_name(name: str) -> str:
    """Return `name` without surrounding spaces, if it is a valid preset name.

    Raises:
        PresetError: it is empty, or contains what a preset file or a tag does not allow in a name.
    """
    name = name.strip()
    if not name:
        raise PresetError(t("the preset has no name; write one, for example MYSTYLE"))
    bad = [sign for sign in (":", "#", ">", "\n", "\r", BOM) if sign in name]
    if bad:
        signs = " ".join(map(ascii, bad))
        raise PresetError(t("a preset name cannot contain {signs}: {name}", signs=signs, name=quote(name)))
    return name


# Text in an editor -------------------------------------------------------------------------------


def editor_text(text: str) -> str:
    """Return the text of a file as an editor in a browser has it: without a BOM, all line ends alike."""
    return text.removeprefix(BOM).replace("\r\n", "\n").replace("\r", "\n")


def file_text(edited: str, before: str) -> str:
    """Return what to write for `edited`, the text of an editor, to a file that contained `before`.

    The BOM and the line ends are those of `before`; a text that was not edited gives exactly `before`.
    """
    edited = editor_text(edited)
    if edited == editor_text(before):
        return before
    counts = {end: before.count(end) for end in ("\r\n", "\n", "\r")}
    counts["\n"] -= counts["\r\n"]
    counts["\r"] -= counts["\r\n"]
    most = max(counts, key=lambda end: (counts[end], end == "\n"))
    return (BOM if before.startswith(BOM) else "") + edited.replace("\n", most)
