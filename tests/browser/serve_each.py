"""The serving side of server.py: one process for many pages, because starting Gradio is what takes long."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import routes

from lbw.files.user_presets import ROOT

# The WebUIs call back when a certain component exists; on these pages it is any of ours.
HOST = """
window.onUiLoaded = (callback) => new MutationObserver((_, observer) => {
    if (!document.querySelector("[id^=lbw_]")) return;
    observer.disconnect();
    callback();
}).observe(document, {childList: true, subtree: true});
"""


def with_scripts() -> None:
    """Let every page have the scripts of `javascript/` in its head, as the WebUIs do it."""
    original = routes.templates.TemplateResponse
    codes = [HOST, *(path.read_text(encoding="utf-8") for path in sorted((ROOT / "javascript").glob("*.js")))]
    scripts = "".join(f"<script>{code}</script>" for code in codes)

    def response(*arguments: Any, **named: Any) -> Any:
        made = original(*arguments, **named)
        made.body = made.body.replace(b"</head>", f"{scripts}</head>".encode(), 1)
        made.init_headers()
        return made

    routes.templates.TemplateResponse = response


def serve_each(build: Callable[[Path], gr.Blocks]) -> None:
    """Serve a new page for each line of the standard input, a port and a folder, until it ends."""
    with_scripts()
    for line in sys.stdin:
        port, _, folder = line.rstrip("\n").partition(" ")
        page = build(Path(folder)).queue()
        page.launch(
            server_name="127.0.0.1", server_port=int(port), inbrowser=False, prevent_thread_lock=True, quiet=True
        )
