"""The English texts that the person at the page sees, found in the code: the keys of `localizations/`."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SESSIONS = tuple(f"lbw/analysis/{name}.py" for name in ("request", "session", "analysis_session", "plot_session"))
SOURCES = ("lbw/ui", "lbw/webui", "lbw/studio/page.py", *SESSIONS)

SHOWN = ("label", "info", "placeholder", "title", "headers", "choices")
"""Keyword arguments of components whose text is shown; `choices` also as the first argument of those that choose."""
FIRST = {
    "Button": 0, "Tab": 0, "Accordion": 0, "Radio": 0, "Dropdown": 0, "CheckboxGroup": 0, "DownloadButton": 0,
    "UploadButton": 0, "table": 0, "button": 0, "OptionInfo": 1,
}  # fmt: skip
"""Calls with a shown text at that place."""
PLACES = {
    "_result": (0, 1), "Kind": (1, 4), "message_view": (0,), "words": (0,), "progress": (2,), "_refused": (0,),
    "_synced": (2,), "_shown": (2,), "_conflicting": (2,), "counted": (1, 2), "say": (0,),
    "_fail": (0,), "option": (1,),
}  # fmt: skip
"""Our own functions and classes that take shown texts by place."""

KINDS = {"GOOD", "REMARK", "BAD"}
"""What a sentence is said with: the first of such a pair is shown."""
ERRORS = {"TagError", "WeightsError", "PresetError", "FileError", "HostError"}
"""Errors whose text is shown, where it holds no value."""
WITH_ERRORS = ("lbw/core", "lbw/files", "lbw/analysis", "lbw/hosts")
CONSTANTS = {
    "lbw/analysis/effective_blocks.py": ("NEEDED", "NOT_NEEDED", "UNKNOWN", "NOT_MEASURED"),
    "lbw/core/preset_check.py": ("NAMED", "ONE_NUMBER", "OTHER_PRESET"),
    "lbw/core/block_words.py": ("SEVERAL", "WITH_EMBEDDERS", "BEFORE", "MIDDLE", "BEHIND"),
}  # fmt: skip
"""Constants that are shown as they are."""
CHECK = "lbw/core/preset_check.py"
"""The file whose functions return what the check of a preset file says."""

MORE: dict[str, tuple[str, ...]] = {
    "lbw/ui/analyze_views.py": ("block", "mean %", "deviation", "inside", "outside", "focus", "suggestion"),
    "lbw/ui/analyze_controls.py": ("full: pictures", "quick scan: no pictures"),
    "lbw/ui/preset_check.py": ("every model",),
    "lbw/core/block_words.py": (
        "double stream block", "single stream block", "joint block", "block", "context refiner", "noise refiner",
        "text fusion", "input block", "output block", "CLIP text encoder", "T5 text encoder", "text encoder",
        "text adapter",
    ),
    "lbw/ui/tuner_controls.py": ("✓ Needed", "✗ Not needed", "? Unknown"),
    "lbw/webui/page.py": ("Take from txt2img", "Take from img2img"),
    "lbw/webui/tab.py": ("Copies the prompt, size, steps, CFG scale, sampler and last seed from there.",),
    "lbw/webui/analyzer.py": ("X Types", "Y Types", "Z Types", "X Values", "Y Values", "Z Values"),
    "lbw/analysis/request.py": ("black", "white"),
    "lbw/analysis/trainer.py": ("LyCORIS preset",),
    "lbw/analysis/training.py": ("sd-scripts: learning rates", "sd-scripts: ranks"),
    "lbw/analysis/xyz.py": ("none", "values", "seed", "elements", "Block ID", "Original Weights"),
}  # fmt: skip
"""Texts that a call gets by a way which the search does not follow, by the file that has them, or their last word."""


@cache
def texts() -> dict[str, str]:
    """Return every text that is to be translated, with the file where it was found first."""
    found: dict[str, str] = {}
    for path in python_files():
        for text in of_python(path):
            found.setdefault(text, str(path.relative_to(ROOT)))
    for path in python_files(WITH_ERRORS):
        for text in of_errors(path):
            found.setdefault(text, str(path.relative_to(ROOT)))
    for path in python_files(["lbw"]):
        for text in marked(path):
            found.setdefault(text, str(path.relative_to(ROOT)))
    for name, constants_of in CONSTANTS.items():
        for constant in constants_of:
            found.update(dict.fromkeys(_named(constant, ROOT / name), name))
    found.update(dict.fromkeys(of_check(ROOT / CHECK), CHECK))
    for path in sorted((ROOT / "javascript").glob("*.js")):
        for text in of_javascript(path.read_text(encoding="utf-8")):
            found.setdefault(text, str(path.relative_to(ROOT)))
    for name, more in MORE.items():
        for text in more:
            found.setdefault(text, name)
    return {text: place for text, place in found.items() if is_language(text)}


def python_files(sources: Sequence[str] = SOURCES) -> list[Path]:
    """Return the files of `sources`: by default those whose components are looked at."""
    places = [ROOT / source for source in sources]
    return [path for place in places for path in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]


def is_language(text: str) -> bool:
    """Tell words from examples: `MYSTYLE`, `0,OUT00=1` and `1` are the same in every language."""
    return re.search(r"[a-z]{2}|^[A-Z] [A-Z]", re.sub(r"<[^>]*>", "", text)) is not None


def pieces(html: str) -> list[str]:
    """Return the texts between the tags of `html`, as the WebUI looks them up; what is code stays as it is."""
    found: list[str] = []
    parser = HTMLParser()
    depth = 0

    def start(tag: str, attributes: object) -> None:
        nonlocal depth
        depth += tag in ("code", "style", "script")

    def end(tag: str) -> None:
        nonlocal depth
        depth -= tag in ("code", "style", "script")

    def data(text: str) -> None:
        if text.strip() and not depth:
            found.append(text.strip())

    parser.handle_starttag, parser.handle_endtag, parser.handle_data = start, end, data  # type: ignore[method-assign]
    parser.feed(html)
    parser.close()
    return found


# Python ------------------------------------------------------------------------------------------


@cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def of_python(path: Path) -> Iterator[str]:
    """Yield the texts that the components of a file show."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield from _of_call(node, path)
        elif isinstance(node, ast.FunctionDef) and node.name == "title":
            for part in ast.walk(node):
                if isinstance(part, ast.Return) and part.value is not None:
                    yield from constants(part.value, path)
        elif isinstance(node, ast.Tuple) and len(node.elts) == 2 and _names(node.elts[1]) & KINDS:
            yield from constants(node.elts[0], path)
    yield from of_sentences(path)
    yield from of_errors(path)
    for text in literals(path):
        yield from re.findall(r' title="([^"{}]+)"', text)


def marked(path: Path) -> list[str]:
    """Return the texts that are marked with `t` where they stand (lbw/core/texts.py)."""
    calls = [
        node for node in ast.walk(tree(path)) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "t"
    ]
    found = [constants(call.args[0], path) for call in calls]
    assert all(found), f"{path}: what is marked is to be written out there"
    return [text for texts_of in found for text in texts_of]


def of_sentences(path: Path) -> Iterator[str]:
    """Yield the parts of sentences that are put together in variables, which are declared as `Text`."""
    for function in ast.walk(tree(path)):
        if not isinstance(function, ast.FunctionDef):
            continue
        declared = [node for node in ast.walk(function) if isinstance(node, ast.AnnAssign)]
        names = {name for node in declared if "Text" in _names(node.annotation) for name in _names(node.target)}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if {name for target in targets for name in _names(target)} & names:
                    yield from constants(node.value, path)


def of_errors(path: Path) -> Iterator[str]:
    """Yield the texts of errors that hold no value."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS and node.args:
            yield from constants(node.args[0], path)


def of_check(path: Path) -> Iterator[str]:
    """Yield what the check says about lines: what its functions return, and what they call a problem or a remark."""
    for node in ast.walk(tree(path)):
        called = {node.arg} if isinstance(node, ast.keyword) else set()
        if isinstance(node, ast.Assign):
            called = _names(node.targets[0])
        value = getattr(node, "value", None)
        if value is not None and (isinstance(node, ast.Return) or called & {"problem", "remark"}):
            yield from constants(value, path)


def _names(node: ast.expr) -> set[str]:
    """Return the names that stand in an expression."""
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _of_call(node: ast.Call, path: Path) -> Iterator[str]:
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    is_component = isinstance(function, ast.Attribute) and getattr(function.value, "id", "") == "gr"
    shown: list[ast.expr] = []
    is_hidden = any(
        keyword.arg == "visible" and getattr(keyword.value, "value", 1) is False for keyword in node.keywords
    )
    if is_hidden and name in ("Textbox", "Checkbox"):
        return  # an argument of the script that nobody sees
    classes = [keyword.value for keyword in node.keywords if keyword.arg == "elem_classes"]
    if any("lbw-unseen" in constants(part, path) for part in classes):
        return  # hidden by the style sheet: the page's own code writes into it
    if name in FIRST and len(node.args) > FIRST[name]:
        shown.append(node.args[FIRST[name]])
    shown += [node.args[place] for place in PLACES.get(name, ()) if place < len(node.args)]
    if is_component or name in FIRST or name in PLACES:
        shown += [keyword.value for keyword in node.keywords if keyword.arg in SHOWN]
    if is_component and name == "Button":
        shown += [keyword.value for keyword in node.keywords if keyword.arg == "value"]
    for part in shown:
        yield from constants(part, path)
    if is_component and name in ("HTML", "Markdown"):
        for part in [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "value")]:
            for text in constants(part, path):
                yield from pieces(re.sub(r"^#+ ", "", text))
    if name == "tooltips" and node.args and isinstance(node.args[0], ast.Dict):
        for part in node.args[0].values:
            yield from constants(part, path)
    if name == "OptionInfo":
        for part in node.args[3:4]:  # the component's arguments
            if isinstance(part, ast.Dict):
                for key, value in zip(part.keys, part.values):
                    if getattr(key, "value", "") in SHOWN:
                        yield from constants(value, path)
    if name == "info" and isinstance(function, ast.Attribute) and isinstance(function.value, ast.Call):
        for text in (text for part in node.args for text in constants(part, path)):
            yield f"({text})"  # as the WebUI writes it behind a setting's name


def constants(node: ast.expr, path: Path) -> list[str]:
    """Return the texts that an expression gives, as far as that can be told without running it."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.List | ast.Tuple):
        return [text for part in node.elts for text in constants(part, path)]
    if isinstance(node, ast.JoinedStr):
        parts = [constants(part.value if isinstance(part, ast.FormattedValue) else part, path) for part in node.values]
        return ["".join(text for part in parts for text in part)] if all(len(part) == 1 for part in parts) else []
    if isinstance(node, ast.IfExp):
        return constants(node.body, path) + constants(node.orelse, path)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return constants(node.left, path) + constants(node.right, path)
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("list", "tuple"):
        return [text for part in node.args for text in constants(part, path)]
    if isinstance(node, ast.Name):
        return _named(node.id, path)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        module = _imported(node.value.id, path)
        return _named(node.attr, module[0]) if module and not module[1] else []
    return []


def _named(name: str, path: Path) -> list[str]:
    """Return the texts of a module's constant, or of one that it imports."""
    for node in tree(path).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name) and target.id == name:
                return constants(node.value, path)
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                for part, value in zip(target.elts, node.value.elts):
                    if getattr(part, "id", "") == name:
                        return constants(value, path)
    module = _imported(name, path)
    return _named(module[1], module[0]) if module and module[1] else []


def _imported(name: str, path: Path) -> tuple[Path, str] | None:
    """Return the file of ours that `name` comes from, and its name there; no name where it is the module itself."""
    for node in tree(path).body:
        if not isinstance(node, ast.ImportFrom):
            continue
        folder = path.parents[node.level - 1] if node.level else ROOT
        for alias in node.names:
            if (alias.asname or alias.name) == name:
                place = folder.joinpath(*(node.module or "").split("."))
                if place.with_suffix(".py").is_file():
                    return place.with_suffix(".py"), alias.name
                if (place / f"{alias.name}.py").is_file():
                    return place / f"{alias.name}.py", ""
    return None


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


def literals(path: Path) -> set[str]:
    """Return every text of a file, those parts of f-strings included that are written out."""
    return {
        node.value for node in ast.walk(tree(path)) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def stale() -> list[str]:
    """Return the entries of `MORE` that their files do not have any longer."""
    missing: list[str] = []
    for name, more in MORE.items():
        written = literals(ROOT / name)
        missing += [text for text in more if not any(text.endswith(part) for part in written if len(part) > 3)]
    return missing


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
