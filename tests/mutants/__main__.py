"""`python -m tests.mutants [PATH…] [--minutes N] [--seed N]`: do the tests notice small mistakes in the code?

mutmut makes the mistakes, in a copy of the project, and runs for each those tests that reach the
function. Where the time is not enough for all, those that are tried are drawn at random.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from .selection import ROOMS, Selection, selection_for

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("lbw", "tests", "presets", "scripts", "javascript", "localizations", "demo", "docs", "README.md")
BATCH = 100
"""Mutants that mutmut is given at once: between two batches the time is looked at."""

SETTINGS = """\
[mutmut]
source_paths=lbw
only_mutate=
    {files}
pytest_add_cli_args_test_selection=
    {tests}
pytest_add_cli_args=
    {options}
do_not_mutate_patterns=
    raise \\w+Error\\(
    ^\\s*f?"[^"]* [^"]*",?$
also_copy=
    {also}
"""
"""What an error says is wording, and so is a text of several words on a line of its own: they are left as they are."""


class Copy:
    """A copy of the project in which some files, which the same tests cover, are mutated."""

    def __init__(self, folder: Path, files: Sequence[str], selection: Selection, children: int) -> None:
        self.folder, self.files, self.selection, self.children = folder, files, selection, children

    def prepare(self) -> list[str]:
        """Make the copy and its mutants, let mutmut see which tests reach which function, and return the mutants."""
        self.folder.mkdir(parents=True)
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
            else:
                shutil.copy(ROOT / name, self.folder / name)
        given = {
            "files": self.files, "tests": self.selection.tests, "options": self.selection.options,
            "also": [name for name in COPIED if name not in ("lbw", "tests")],
        }  # fmt: skip
        settings = SETTINGS.format(**{name: "\n    ".join(lines) for name, lines in given.items()})
        (self.folder / "setup.cfg").write_text(settings, encoding="utf-8")
        # There is no command to make the mutants and run none: one that no mutant is called by ends behind that.
        told = self._mutmut("run", "none", "--max-children", "1")
        if "nothing matches" not in told:
            raise SystemExit(f"mutmut could not begin:\n{told[-4000:]}")
        return list(self.results())

    def run(self, mutants: Sequence[str], seconds: float) -> None:
        """Try some mutants, for no longer than `seconds`; the results of those that were finished are kept."""
        self._mutmut("run", *mutants, "--max-children", str(self.children), seconds=seconds)

    def results(self) -> dict[str, str]:
        """Return what became of each mutant."""
        lines = (line.strip().rpartition(": ") for line in self._mutmut("results", "--all", "true").splitlines())
        return {name: result for name, _, result in lines if "__mutmut_" in name}

    def show(self, mutant: str) -> str:
        """Return the mutant as a difference."""
        return self._mutmut("show", mutant)

    def _mutmut(self, *arguments: str, seconds: float | None = None) -> str:
        command = [sys.executable, "-m", "mutmut", *arguments]
        with subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8",
            errors="replace", start_new_session=True,
        ) as process:  # fmt: skip
            try:
                return process.communicate(timeout=seconds)[0]
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # its children too; each result is written when it is there
                return process.communicate()[0]
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise


def copies(files: Sequence[str], folder: Path, children: int) -> Iterator[Copy]:
    """Yield a copy for each selection of tests that `files` need."""
    by_selection: dict[Selection, list[str]] = {}
    for file in files:
        by_selection.setdefault(selection_for(file), []).append(file)
    for number, (selection, own) in enumerate(by_selection.items()):
        yield Copy(folder / str(number), own, selection, children)


def python_files(paths: Sequence[str]) -> list[str]:
    """Return the files that can be mutated among `paths`, files and folders; all of the four rooms by default."""
    found: list[str] = []
    for path in [(ROOT / path).resolve() for path in paths or ROOMS]:
        if not path.exists():
            raise SystemExit(f"{path} does not exist")
        names = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        found += [name.relative_to(ROOT).as_posix() for name in names]
    outside = [name for name in found if not name.startswith(tuple(f"{room}/" for room in ROOMS))]
    if outside or not found:
        raise SystemExit(f"{outside or list(paths)}: nothing of {', '.join(ROOMS)}")
    return [name for name in dict.fromkeys(found) if not name.endswith("__init__.py")]


def main() -> int:
    """Try the mutants, print what became of them and those that survived, and return 1 if any did."""
    parser = argparse.ArgumentParser(prog="python run.py mutants", description="Do the tests notice small mistakes?")
    parser.add_argument("path", nargs="*", help="a file or folder of lbw/core, files, hosts or analysis; default: all")
    parser.add_argument("--minutes", type=float, default=60.0, help="for all of it; default: 60")
    parser.add_argument("--seed", type=int, default=0, help="of the draw; default: from the clock")
    parser.add_argument("--children", type=int, default=2, help="mutants at once; default: 2")
    options = parser.parse_args()
    seed = options.seed or int(time.time())
    print(f"seed {seed}", flush=True)  # noqa: T201
    with tempfile.TemporaryDirectory(prefix="lbw-mutants-") as folder:
        left = copies(python_files(options.path), Path(folder), options.children)
        survived = examine(list(left), random.Random(seed), time.monotonic() + options.minutes * 60)
    for difference in survived:
        print(f"\n{difference}")  # noqa: T201
    return 1 if survived else 0


def examine(left: list[Copy], draw: random.Random, end: float) -> list[str]:
    """Try mutants of each copy until the time `end`, print what became of them, and return those that survived."""
    survived: list[str] = []
    while left:
        copy = left.pop(0)
        mutants = copy.prepare()
        until = time.monotonic() + (end - time.monotonic()) / (len(left) + 1)
        waiting = draw.sample(mutants, len(mutants))
        while waiting and time.monotonic() < until:
            batch, waiting = waiting[:BATCH], waiting[BATCH:]
            copy.run(batch, max(until - time.monotonic(), 1.0))
        results = {name: result for name, result in copy.results().items() if result != "not checked"}
        for file in copy.files:
            module = file.removesuffix(".py").replace("/", ".")
            counts = Counter(result for name, result in results.items() if name.startswith(f"{module}."))
            every = sum(name.startswith(f"{module}.") for name in mutants)
            told = ", ".join(f"{count} {result}" for result, count in sorted(counts.items()))
            print(f"{file}: {counts.total()} of {every} tried: {told}", flush=True)  # noqa: T201
        survived += [copy.show(name) for name, result in results.items() if result in ("survived", "no tests")]
    return survived


if __name__ == "__main__":
    sys.exit(main())
