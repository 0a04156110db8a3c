"""The panels on a page of their own, with a host that draws its cells; run by the tests in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import gradio as gr
import numpy as np

from lbw.analysis.cells import Cell
from lbw.core.architectures import by_name
from lbw.core.family import Architecture
from lbw.files.user_presets import ROOT, PresetStore
from lbw.ui.analyzer_host import Question
from lbw.ui.block_map import block_map_panel
from lbw.ui.hints import hints_panel
from lbw.ui.presets import presets_panel
from lbw.ui.tuner import tuner_panel
from lbw.ui.weights import weights_panel

from .serve_each import serve_each


class Host:
    """A host of the tuner without a model; it writes down what it is asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def loaded(self) -> Architecture | None:
        name = self.folder / "loaded.txt"
        return by_name(name.read_text()) if name.exists() else None

    def find(self, name: str) -> str | None:
        return self.lora_files().get(name)

    def lora_files(self) -> dict[str, str]:
        return {path.stem: str(path) for path in self.folder.glob("*.safetensors")}

    def samplers(self) -> list[str]:
        return ["Euler", "Heun"]

    def defaults(self) -> Question:
        return Question("a star <lora:demo:1:lbw=XYZ>", width=64, height=64)

    def rounds(self, todo: Sequence[Cell], question: Question) -> Iterator[tuple[Cell, np.ndarray]]:
        """Yield a picture of stripes for each cell, one a block, as bright as its weight."""
        (self.folder / "asked.txt").write_text(f"{question.prompt} {question.sampler} {question.steps} {question.seed}")
        for cell in todo:
            time.sleep(question.steps / 400)
            shades = np.clip([float(entry) for entry in cell.entries], 0, 1) * 255
            row = np.repeat(shades, 8).astype(np.uint8)
            yield cell, np.broadcast_to(row[None, :, None], (64, len(row), 3)).copy()


def build(folder: Path) -> gr.Blocks:
    """Return the page, its panels nested as a host nests a tab; the preset files lie in `folder`."""
    store = PresetStore(folder)
    host = Host(folder)
    with gr.Blocks() as tab:
        with gr.Tab("Presets"):
            presets = presets_panel(store)
            with gr.Tab("Make weights"):
                weights_panel(presets, host.loaded, host)
            with gr.Tab("Block map"):
                block_map_panel(host, host.loaded)
            with gr.Tab("Elemental"):
                presets_panel(store, "elements")
        with gr.Tab("Tuner"):
            tuner = tuner_panel(host, store, presets)
            hints_panel(store, tuner)
    with gr.Blocks(css=(ROOT / "style.css").read_text(encoding="utf-8"), analytics_enabled=False) as page:
        tab.render()
    return page


if __name__ == "__main__":
    serve_each(build)
