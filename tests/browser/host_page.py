"""The panels in the tab of a page built like the WebUIs', with an accordion for them in txt2img and img2img."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from .analyze_page import tabs
from .serve_each import serve_each


def build(folder: Path) -> gr.Blocks:
    """Return the page; what it writes lies in `folder`."""
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs():
        for tab in ("txt2img", "img2img"):
            with gr.Tab(tab, elem_id=f"tab_{tab}"):
                gr.Textbox("a cat <lora:demo:1:lbw=XYZ> on a mat", label=f"{tab} prompt", elem_id=f"{tab}_prompt")
                with gr.Accordion(f"Panels in {tab}", open=False):
                    gr.Column(elem_id=f"lbw_{tab}_panels", elem_classes=["lbw-place"])
        with gr.Tab("LoRA Block Weight", elem_id="tab_lbw"), gr.Tabs(elem_id="lbw_tabs"):
            tabs(folder)
    return page


if __name__ == "__main__":
    serve_each(build)
