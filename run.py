#!/usr/bin/env python3
"""One command to everything: `python run.py demo`, `python run.py test`.

Needs nothing but Python 3.10 or later. Makes `.venv` beside this file, installs what a command needs at the
versions of constraints.txt, and runs it there; the tests make one more for each Gradio that a WebUI has. A second
start only compares stamps.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
USAGE = """\
usage: python run.py COMMAND

  demo     analyze a bundled LoRA: a grid, and the ranking of its blocks
  studio   the page, in your browser, on this machine only
  test     lint, types, and all tests
  bench    benchmarks, as ratios
  mutants  small mistakes in the code: does some test notice each? [PATH…] [--minutes N] [--seed N]

What follows COMMAND is handed on: python run.py demo --lora style --seeds 3; python run.py test --fuzz MINUTES
"""


def say(text: str) -> None:
    """Print a line of progress, at once."""
    print(f"[run] {text}", file=sys.stderr, flush=True)


def call(*command: str | Path) -> int:
    """Run `command` in the project's folder and return its exit status."""
    return subprocess.call([str(part) for part in command], cwd=ROOT)


def torch_of_this_machine() -> bool:
    """Tell whether the Python that runs this has a torch that fits; the environment then uses it."""
    code = "import torch, sys; sys.exit(tuple(map(int, torch.__version__.split('.')[:2])) < (2, 0))"
    return subprocess.call([sys.executable, "-c", code], stderr=subprocess.DEVNULL) == 0


def python_of(environment: Path) -> Path:
    """Return the Python of an environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


PYTHON = python_of(VENV)


def install(environment: Path, arguments: list[str], stamp: Path, sources: list[str], with_torch: bool) -> bool:
    """Let pip install `arguments` into `environment`, made if need be, and tell whether that went well.

    stamp: remembers what was installed, so that it is done again only when `arguments` or a file of `sources` changed.
    with_torch: let the environment use the torch of this machine.
    """
    said = [(ROOT / name).read_bytes() for name in sources] + [" ".join(arguments).encode()]
    wanted = hashlib.sha256(b"".join(said)).hexdigest()
    python = python_of(environment)
    if stamp.exists() and stamp.read_text() == wanted and python.exists():
        return True
    start = time.monotonic()
    if not python.exists():
        say(f"making {environment}")
        venv.create(environment, with_pip=True, system_site_packages=with_torch and torch_of_this_machine())
    say(f"installing {' '.join(arguments)}; the first time this takes some minutes")
    if call(python, "-m", "pip", "install", "--disable-pip-version-check", *arguments) != 0:
        return False
    stamp.write_text(wanted)
    say(f"installed in {time.monotonic() - start:.0f} s")
    return True


def prepare(extra: str) -> None:
    """Make the environment, and install the extra `extra` of pyproject.toml if that was not done yet."""
    arguments = ["-c", "constraints.txt", "-e", f".[{extra}]"]
    stamp = VENV / f"installed-{extra}"
    if not install(VENV, arguments, stamp, ["pyproject.toml", "constraints.txt"], with_torch=True):
        sys.exit("[run] the installation failed; see above")


def prepare_browser_tests() -> None:
    """Make an environment for each Gradio that the browser tests run under; where something lacks, they are skipped."""
    if call(PYTHON, "-m", "tests.browser.chromium") != 0:
        return
    for path in sorted((ROOT / "tests" / "browser").glob("gradio-*.txt")):
        file = path.relative_to(ROOT).as_posix()
        environment = ROOT / f".venv-{path.stem}"
        if not install(environment, ["-r", file], environment / "installed", [file], with_torch=False):
            say(f"{path.stem} cannot be installed here; the browser tests under it are skipped")


def prepare_script_types() -> None:
    """Install TypeScript, which checks the types of the page's scripts; without npm, that test is skipped."""
    npm = shutil.which("npm")
    wanted = json.loads((ROOT / "package.json").read_text())["devDependencies"]["typescript"]
    installed = ROOT / "node_modules" / "typescript" / "package.json"
    if installed.exists() and json.loads(installed.read_text())["version"] == wanted:
        return
    if npm is None or call(npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent") != 0:
        say("TypeScript cannot be installed here; the types of javascript/ are not checked")


def demo(arguments: list[str]) -> int:
    """The analysis of a bundled LoRA, with the bundled model."""
    prepare("studio")
    return call(PYTHON, "-m", "lbw", "demo", *arguments)


def studio(arguments: list[str]) -> int:
    """The page."""
    prepare("studio")
    return call(PYTHON, "-m", "lbw", "studio", *arguments)


def test(arguments: list[str]) -> int:
    """Lint, types and all tests; with arguments, pytest alone with them; with `--fuzz MINUTES`, hostile inputs."""
    prepare("test")
    if arguments[:1] == ["--fuzz"]:
        return call(PYTHON, "-m", "tests.fuzz", *arguments[1:])
    prepare_browser_tests()
    prepare_script_types()
    if arguments:
        return call(PYTHON, "-m", "pytest", *arguments)
    steps = (
        ("format", (PYTHON, "-m", "ruff", "format", "--check", ".")),
        ("lint", (PYTHON, "-m", "ruff", "check", ".")),
        ("types", (PYTHON, "-m", "mypy")),
        ("tests", (PYTHON, "-m", "pytest", "-q")),
    )
    failed = []
    for name, command in steps:
        say(name)
        if call(*command) != 0:
            failed.append(name)
    if failed:
        say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def bench(arguments: list[str]) -> int:
    """The benchmarks that need no WebUI."""
    prepare("bench")
    return max(call(PYTHON, ROOT / "bench" / name, *arguments) for name in ("hook.py", "standalone.py", "scan.py"))


def mutants(arguments: list[str]) -> int:
    """Mutation tests, of the files and folders that are named, for as long as `--minutes` says."""
    prepare("mutants")
    return call(PYTHON, "-m", "tests.mutants", *arguments)


COMMANDS = {"demo": demo, "studio": studio, "test": test, "bench": bench, "mutants": mutants}


def main() -> int:
    """Run the command that was asked for."""
    if sys.version_info < (3, 10):
        sys.exit("[run] Python 3.10 or later is needed")
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        print(USAGE, end="")
        return 0 if sys.argv[1:] in ([], ["-h"], ["--help"]) else 2
    try:
        return COMMANDS[sys.argv[1]](sys.argv[2:])
    except KeyboardInterrupt:
        say("stopped")
        return 1


if __name__ == "__main__":
    sys.exit(main())
