"""Pages of this folder, served by a separate process under the Gradio of a given Python."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
STARTS_WITHIN = 300.0
"""Seconds; a cold start on a busy machine takes its time."""


def pythons() -> list[Path]:
    """Return the Pythons to serve pages with: those that run.py makes, or what LBW_GRADIO_PYTHON names.

    LBW_GRADIO_PYTHON: paths, separated as in PATH.
    """
    named = os.environ.get("LBW_GRADIO_PYTHON")
    if named:
        return [Path(path) for path in named.split(os.pathsep)]
    inside = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    return [ROOT / f".venv-{file.stem}" / inside for file in sorted(Path(__file__).parent.glob("gradio-*.txt"))]


@dataclass
class Server:
    """A process that serves pages; what it prints goes to `log`."""

    process: subprocess.Popen[str]
    log: Path

    def page(self, folder: Path) -> str:
        """Return the address of a new page, whose files lie in `folder`."""
        port = free_port()
        assert self.process.stdin
        self.process.stdin.write(f"{port} {folder}\n")
        self.process.stdin.flush()
        return self.answers(port)

    def answers(self, port: int) -> str:
        """Wait until the process answers at `port`, and return the address."""
        address = f"http://127.0.0.1:{port}/"
        end = time.monotonic() + STARTS_WITHIN
        while True:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, f"no answer: {self.log.read_text()}"
            try:
                urllib.request.urlopen(address, timeout=5).close()
            except OSError:
                time.sleep(0.1)
            else:
                return address

    def check(self) -> None:
        """Fail if something went wrong on the server's side."""
        assert "Traceback" not in self.log.read_text(), self.log.read_text()


@contextmanager
def serving(python: Path, module: Sequence[str], log: Path) -> Iterator[Server]:
    """A running server. module: its name and arguments; it calls `serve_each`, or serves by itself."""
    with log.open("w") as out:
        process = subprocess.Popen(
            [python, "-m", *module], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=out, stderr=out,
            env={**os.environ, "PYTHONPATH": str(ROOT), "GRADIO_ANALYTICS_ENABLED": "False"},
        )  # fmt: skip
    try:
        yield Server(process, log)
    finally:
        process.terminate()
        process.wait(20)


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
