"""The rooms of DESIGN.md: a room imports what stands below it, never beside it, and the core nothing but Python."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "files": {"core"},
    "hosts": {"core", "files"},
    "analysis": {"core", "files"},
    "ui": {"core", "files", "analysis"},
    "api": {"core", "files", "analysis"},
    "studio": {"core", "files", "hosts", "analysis", "ui", "api"},
    "webui": {"core", "files", "hosts", "analysis", "ui", "api"},
}
"""The arrows as they are drawn: `ui` and `api` stand side by side, and neither they nor `analysis` know a host."""
HOST_MODULES = {"modules", "modules_forge", "backend", "ldm_patched", "networks", "network", "lora_patches"}


def imports(path: Path) -> set[str]:
    """Return the full names of all modules that a file of the package imports, at any depth of its code."""
    package = path.relative_to(ROOT).parent.parts
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def files(room: str) -> list[Path]:
    return sorted((ROOT / "lbw" / room).rglob("*.py"))


def test_the_rooms_to_check_are_there() -> None:
    assert {path.parent.name for path in (ROOT / "lbw").glob("*/__init__.py")} == set(MAY_IMPORT)
    assert len(files("core")) > 5
    assert imports(ROOT / "lbw" / "core" / "plan.py") >= {"lbw.core.tag.LoraRequest", "hashlib"}


@pytest.mark.parametrize(
    "path", [path for room in MAY_IMPORT for path in files(room)], ids=lambda p: str(p.relative_to(ROOT))
)
def test_a_room_imports_only_what_stands_below_it(path: Path) -> None:
    room = path.relative_to(ROOT).parts[1]
    ours = [name.split(".") for name in imports(path) if name.split(".")[0] == "lbw"]
    assert {name[1] for name in ours if len(name) > 1 and name[1] in MAY_IMPORT} <= {room, *MAY_IMPORT[room]}


@pytest.mark.parametrize("room", [room for room in MAY_IMPORT if room not in ("hosts", "webui")])
def test_a_room_that_knows_no_host_imports_none(room: str) -> None:
    for path in files(room):
        assert {name.split(".")[0] for name in imports(path)} & HOST_MODULES == set(), path


@pytest.mark.parametrize("path", files("core"), ids=lambda p: p.name)
def test_the_core_imports_nothing_but_python(path: Path) -> None:
    outside = {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names)
    assert outside <= {"lbw"}


def test_importing_the_core_loads_neither_torch_nor_gradio_nor_a_room_above() -> None:
    paths = [path.relative_to(ROOT).with_suffix("") for path in files("core") if path.stem != "__init__"]
    modules = [".".join(path.parts) for path in paths]
    program = f"import {', '.join(modules)}, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(modules) <= set(loaded)
    assert {"torch", "gradio", "numpy", "safetensors", "modules"} & set(loaded) == set()
    assert [name for name in loaded if name.startswith("lbw.") and name.split(".")[1] != "core"] == []
