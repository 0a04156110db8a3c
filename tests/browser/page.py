"""The panels on a page of their own, with a host that draws its cells; the tests run it in a separate process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import numpy as np

from lbw.analysis.cells import Cell
from lbw.analysis.request import PictureRequest
from lbw.analysis.session import Prepared, Show
from lbw.analysis.store import CellStore, Rendered
from lbw.core.architectures import by_name
from lbw.core.family import Architecture
from lbw.core.tag import LoraRequest
from lbw.files.user_presets import ROOT, PresetStore
from lbw.ui.block_map import block_map_panel
from lbw.ui.hints import hints_panel
from lbw.ui.presets import presets_panel
from lbw.ui.tuner import tuner_panel
from lbw.ui.weights import weights_panel

from .serve_each import serve_each


class Host:
    """A host for the tuner without a model; it logs what it is asked."""

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

    def defaults(self) -> PictureRequest:
        return PictureRequest("a star <lora:demo:1:lbw=XYZ>", width=64, height=64)

    def prepare(
        self, request: PictureRequest, loras: Sequence[LoraRequest], show: Show, stopped: Callable[[], bool]
    ) -> Prepared:
        """Return what paints the tuner's pictures."""
        asked = f"{request.prompt} {request.sampler_name} {request.steps} {request.seed}"
        (self.folder / "asked.txt").write_text(asked)
        return Prepared(
            seed=request.seed,
            architecture=self.loaded() or by_name("sdxl"),
            tensors={},
            presets={},
            store=CellStore(self.folder / "cells", {"asked": asked, "time": time.monotonic()}),
            renderer=Stripes(request.steps / 400),
            probe=None,
            sampling="",
            output=None,
        )


@dataclass
class Stripes:
    """Paints stripes, one a block, as bright as its weight."""

    seconds: float

    def render(self, cell: Cell) -> Rendered:
        time.sleep(self.seconds)
        shades = np.clip([float(entry) for entry in cell.entries], 0, 1) * 255
        row = np.repeat(shades, 8).astype(np.uint8)
        return Rendered(np.broadcast_to(row[None, None, :, None], (1, 64, len(row), 3)).copy())

    def progress(self, done: int, total: int, seconds_left: float | None) -> None:
        """Show nothing."""


def build(folder: Path) -> gr.Blocks:
    """Return the page, with its panels nested as in a host's tab; the preset files lie in `folder`."""
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
            tuner = tuner_panel(host, store, presets, host)
            hints_panel(store, tuner)
    with gr.Blocks(css=(ROOT / "style.css").read_text(encoding="utf-8"), analytics_enabled=False) as page:
        tab.render()
    return page


if __name__ == "__main__":
    serve_each(build)
