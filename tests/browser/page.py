"""The panels on a page of their own, with a renderer that draws its cells; run by the tests in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import gradio as gr
import numpy as np

from lbw.analysis.cells import Cell
from lbw.files.user_presets import ROOT, PresetStore
from lbw.ui.hints import hints_panel
from lbw.ui.presets import presets_panel
from lbw.ui.tuner import tuner_panel
from lbw.ui.weights import weights_panel

from .serve_each import serve_each


def render(cells: Sequence[Cell]) -> Iterator[tuple[Cell, np.ndarray]]:
    """Yield a picture of stripes for each cell, one a block, as bright as its weight."""
    for cell in cells:
        time.sleep(0.05)
        shades = np.clip([float(entry) for entry in cell.entries], 0, 1) * 255
        row = np.repeat(shades, 8).astype(np.uint8)
        yield cell, np.broadcast_to(row[None, :, None], (64, len(row), 3)).copy()


def build(folder: Path) -> gr.Blocks:
    """Return the page, its panels nested as a host nests a tab; the preset files lie in `folder`."""
    store = PresetStore(folder)
    with gr.Blocks() as tab:
        with gr.Tab("Presets"):
            presets = presets_panel(store)
            with gr.Tab("Make weights"):
                weights_panel(presets)
            with gr.Tab("Elemental"):
                presets_panel(store, "elements")
        with gr.Tab("Tuner"):
            tuner = tuner_panel(render, store, presets)
            hints_panel(store, tuner)
    with gr.Blocks(css=(ROOT / "style.css").read_text(encoding="utf-8"), analytics_enabled=False) as page:
        tab.render()
    return page


if __name__ == "__main__":
    serve_each(build)
