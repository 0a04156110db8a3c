"""The page's scripts: their syntax and types, if Node is available, and what they share with Python."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [*sorted((ROOT / "javascript").glob("*.js")), ROOT / "lbw" / "studio" / "words.js"]
PYTHON = [path for folder in ("lbw", "scripts") for path in sorted((ROOT / folder).rglob("*.py"))]
TSC = ROOT / "node_modules" / "typescript" / "lib" / "tsc.js"


@pytest.fixture(scope="module")
def node() -> str:
    """The program that runs JavaScript: the system's, or else Playwright's."""
    found = shutil.which("node")
    playwright = importlib.util.find_spec("playwright")
    if found is None and playwright is not None and playwright.origin is not None:
        own = Path(playwright.origin).parent / "driver" / ("node.exe" if os.name == "nt" else "node")
        found = str(own) if own.exists() else None
    if found is None:
        pytest.skip("there is no Node; pip install playwright brings one")
    return found


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the strings of a file that are not docstrings, each with its line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.lineno, node.value


def code_of_all_scripts() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)


def test_every_script_can_be_read(node: str) -> None:
    read = "for (const path of process.argv.slice(1)) new vm.Script(fs.readFileSync(path, 'utf8'), path)"
    checked = subprocess.run([node, "-e", read, *map(str, SCRIPTS)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_the_types_of_the_scripts_are_right(node: str) -> None:
    if not TSC.exists():
        pytest.skip("there is no TypeScript; npm install brings it")
    checked = subprocess.run([node, str(TSC), "--project", str(ROOT / "jsconfig.json")], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_no_script_stands_in_a_string_of_python() -> None:
    code = re.compile(r"=>|\bfunction\s*\(|\bdocument\.|\bwindow\.|addEventListener|querySelector|\bon[a-z]{3,}=[\"']")
    found = [(path.name, line, text) for path in PYTHON for line, text in strings(path) if code.search(text)]
    assert found == []


def test_what_python_calls_is_a_function_of_a_script() -> None:
    given = {
        f"{name}.{function}"
        for name, functions in re.findall(
            r"^const (lbw\w+) = .*?^    return \{(.*?)\};\n\}\)", code_of_all_scripts(), re.M | re.S
        )
        for function in re.findall(r"\w+", functions)
    }
    called = {call for path in PYTHON for _, text in strings(path) for call in re.findall(r"\blbw[A-Z]\w*\.\w+", text)}
    assert called
    assert called <= given


def test_the_elements_that_a_script_looks_for_are_made_somewhere() -> None:
    code = code_of_all_scripts()
    made = {word for path in PYTHON for _, text in strings(path) for word in re.findall(r"lbw[-_][\w-]+", text)}
    made |= {word for _, text in re.findall(r'(class: |className = )"([^"]+)"', code) for word in text.split()}
    wanted = {word for text in re.findall(r'"[^"\n]*"', code) for word in re.findall(r"[.#](lbw[-_][\w-]+)", text)}
    assert wanted
    assert wanted <= made
