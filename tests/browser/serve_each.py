"""The serving side of server.py: one process for many pages, as what takes long is the start of Gradio."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import gradio as gr

from lbw.files.user_presets import ROOT
from lbw.ui.gradio_versions import on_page_load


def run_script(name: str) -> None:
    """Let the page run `javascript/NAME.js` when it is opened, as a WebUI does; to be called within the page."""
    code = (ROOT / "javascript" / f"{name}.js").read_text(encoding="utf-8")
    on_page_load(None, js=f"() => {{\n{code}\n}}")


def serve_each(build: Callable[[Path], gr.Blocks]) -> None:
    """Serve a new page for each line of the standard input, a port and a folder, until it ends."""
    for line in sys.stdin:
        port, _, folder = line.rstrip("\n").partition(" ")
        page = build(Path(folder)).queue()
        page.launch(
            server_name="127.0.0.1", server_port=int(port), inbrowser=False, prevent_thread_lock=True, quiet=True
        )
