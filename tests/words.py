"""The English texts that people see, found in the code where they are marked: the keys of `localizations/`."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

SHOWN = ("label", "info", "placeholder", "title")
"""Arguments of Gradio's components whose text is shown."""
FIRST = ("Button", "Tab", "Accordion", "DownloadButton", "UploadButton")
"""Components whose first argument is shown."""
SAID = ("message_view", "words", "say", "_fail", "_refused")
ERRORS = (
    "LbwError", "TagError", "WeightsError", "PresetError", "FileError", "HostError", "ChangedError", "TooLargeError",
    "CannotKeepError", "ConfigError",
)  # fmt: skip
"""Our own functions whose first argument is shown, and our errors, whose text is."""
COMMANDS = ("analyze", "commands", "language", "scan", "server")
"""Files of the studio whose sentences with values only the command line says."""
NAMES = {"LoRA", "VAE", "CFG"}
"""Labels that are the same in every language."""


@cache
def texts() -> dict[str, str]:
    """Return every text that is to be translated, with the file where it was found first."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "lbw").rglob("*.py")):
        for text in marked(path.read_text(encoding="utf-8")):
            found.setdefault(text, path.relative_to(ROOT).as_posix())
    for path in sorted((ROOT / "javascript").glob("*.js")):
        for text in of_javascript(path.read_text(encoding="utf-8")):
            found.setdefault(text, path.relative_to(ROOT).as_posix())
    return {text: place for text, place in found.items() if is_language(text)}


def is_language(text: str) -> bool:
    """Tell words from examples: `MYSTYLE`, `0,OUT00=1` and `1` are the same in every language."""
    return re.search(r"[a-z]{2}|^[A-Z] [A-Z]", re.sub(r"<[^>]*>", "", text)) is not None and text not in NAMES


# Python ------------------------------------------------------------------------------------------


def marked(code: str) -> Iterator[str]:
    """Yield the texts that `code` marks with `t` (lbw/core/texts.py)."""
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    # `OptionInfo(…).info(…)`: a WebUI writes such a remark in parentheses.
    infos = [call for call in calls if _name(call) == "info" and isinstance(getattr(call.func, "value", 0), ast.Call)]
    remarks = {argument for call in infos for argument in call.args}
    for call in calls:
        if _name(call) == "t":
            text = call.args[0]
            assert isinstance(text, ast.Constant), f"line {call.lineno}: what is marked is written out"
            yield f"({text.value})" if call in remarks else text.value


def unmarked(code: str, is_command: bool = False) -> Iterator[tuple[int, str]]:
    """Yield the lines and texts that `code` shows or raises without a mark; values in them are written as `…`.

    is_command: whether its sentences are for the command line alone, which speaks English.
    """
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call):
            continue
        shown: list[ast.expr] = []
        if _is_component(node):
            shown += [keyword.value for keyword in node.keywords if keyword.arg in SHOWN]
            if _name(node) in FIRST:
                shown += [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "value")]
        elif _name(node) in SAID or _name(node) in ERRORS:
            shown += node.args[:1]
        for part in shown:
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and is_language(part.value):
                yield node.lineno, part.value
            if not is_command:
                yield from ((node.lineno, text) for text in _sentences(part))


def _sentences(part: ast.expr) -> Iterator[str]:
    """Yield the f-strings of at least two words within an expression."""
    for one in ast.walk(part):
        if isinstance(one, ast.JoinedStr):
            text = "".join(str(piece.value) if isinstance(piece, ast.Constant) else "…" for piece in one.values)
            if len(re.findall(r"[A-Za-z]{2,}", text)) >= 2:
                yield text


def _name(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _is_component(node: ast.Call) -> bool:
    is_gradio = isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "gr"
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    is_hidden = getattr(given.get("visible"), "value", True) is False and _name(node) in ("Textbox", "Checkbox")
    return is_gradio and not is_hidden and "lbw-unseen" not in ast.dump(given.get("elem_classes", ast.Constant("")))


# JavaScript --------------------------------------------------------------------------------------

_TEXT = r'"((?:[^"\\]|\\.)+)"'


def of_javascript(code: str) -> Iterator[str]:
    """Yield the texts that a script looks up by `word`, itself or by `WORDS`, `STATES`, and what makes a control."""
    for table in re.findall(r"const (?:WORDS|STATES) = \{(.*?)\};", code, re.S):
        yield from re.findall(rf"\w+:\s*{_TEXT}", table)
    for arguments in re.findall(r'\bword\(((?:"[^"]*"|[^()"])*)\)', code):
        yield from re.findall(rf"{_TEXT}", arguments)
    for first, second in re.findall(rf"\b(?:field|button|strength)\(\s*{_TEXT},\s*{_TEXT}", code):
        yield from (first, second)


# What is said of the languages -------------------------------------------------------------------


def placeholders(text: str) -> list[str]:
    """Return the names that values stand for in a text, sorted."""
    return sorted(re.findall(r"\{(\w+)\}", text))


def tags(text: str) -> list[str]:
    """Return the HTML tags of a text, sorted."""
    return sorted(re.findall(r"</?\w[^>]*>", text))


def lines(table: Mapping[str, str]) -> str:
    """Return entries as lines of JSON, ready to be put into a language's file."""
    entries = [json.dumps({key: value}, ensure_ascii=False)[1:-1] for key, value in table.items()]
    return "\n".join(f"  {entry}," for entry in entries)
