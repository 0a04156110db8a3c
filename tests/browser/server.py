"""Pages of this folder, served by a process of their own under the Gradio of a Python that is named."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
STARTS_WITHIN = 120
"""Seconds; a cold start on a busy machine takes its time."""


def pythons() -> dict[str, Path]:
    """Return the Pythons to serve pages with, by name: those of run.py, or what LBW_GRADIO_PYTHON names.

    LBW_GRADIO_PYTHON: paths, parted as in PATH.
    """
    named = os.environ.get("LBW_GRADIO_PYTHON")
    if named:
        return {path: Path(path) for path in named.split(os.pathsep)}
    names = sorted(file.stem for file in Path(__file__).parent.glob("gradio-*.txt"))
    inside = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    return {name: ROOT / f".venv-{name}" / inside for name in names}


@contextmanager
def serve(python: Path, page: str, folder: Path, log: Path) -> Iterator[str]:
    """Yield the address of the page of the module `page`; its files lie in `folder`, what it prints goes to `log`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("w") as out:
        process = subprocess.Popen(
            [python, "-m", f"tests.browser.{page}", str(port), str(folder)], cwd=ROOT, stdout=out, stderr=out,
            env={**os.environ, "PYTHONPATH": str(ROOT), "GRADIO_ANALYTICS_ENABLED": "False"},
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}/"
    try:
        end = time.monotonic() + STARTS_WITHIN
        while not _answers(address):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, f"{page} does not answer: {log.read_text()}"
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(20)
    assert "Traceback" not in log.read_text(), log.read_text()


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except OSError:
        return False
    return True
