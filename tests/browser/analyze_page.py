"""The panel Analyze on a page with presets and tuner, with a host that draws its pictures; in a separate process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr
import numpy as np

from lbw.analysis.cells import Cell
from lbw.analysis.request import RANDOM, PictureRequest
from lbw.analysis.runner import StoppedError
from lbw.analysis.session import Prepared, Show
from lbw.analysis.sessions import Sessions
from lbw.analysis.store import CellStore, Rendered
from lbw.core.architectures import ARCHITECTURES
from lbw.core.tag import LoraRequest
from lbw.files.user_presets import ROOT, PresetStore
from lbw.ui.analyze import analyze_panel
from lbw.ui.presets import presets_panel
from lbw.ui.tuner import tuner_panel

from .serve_each import serve_each

SDXL = ARCHITECTURES["sdxl"]

HOSTILE = "<img src=x onerror=alert(1)>"
TENSORS = {"IN04": 4, "IN07": 4, "IN08": 4, "M00": 4, "OUT00": 4, "OUT01": 4}
DELAY = 0.1


@dataclass
class Painter:
    """Paints a disc for each block, larger for a stronger effect, and logs what it painted."""

    folder: Path
    show: Show
    stopped: Callable[[], bool]
    size: tuple[int, int]
    painted: list[Cell] = field(default_factory=list)

    def render(self, cell: Cell) -> Rendered:
        hold = self.folder / "hold"  # how many pictures to paint before the next waits until the file is gone
        while hold.exists() and len(self.painted) == int(hold.read_text()) and not self.stopped():
            time.sleep(0.02)
        if self.stopped():
            raise StoppedError
        time.sleep(DELAY)
        with (self.folder / "painted.txt").open("a") as log:
            log.write(f"{cell.seed} {cell.weights}\n")
        self.painted.append(cell)
        width, height = self.size
        y, x = np.mgrid[:height, :width]
        shade = (60 + 120 * y / height).astype(np.uint8)
        picture = np.stack([shade, shade // 2 + 40, 200 - shade], axis=-1).astype(np.uint8)
        weights = dict(zip(cell.layout, cell.entries))
        for number, block in enumerate(TENSORS):
            radius = (4 + 5 * number) * width / 200
            disc = (x - width * (number + 1) / 7) ** 2 + (y - height * (0.3 + 0.4 * (number % 2))) ** 2 < radius**2
            picture[disc] = np.array((240, 40 * number, 30)) * float(weights[block])
        return Rendered(picture[None], f"a prompt\nSeed: {cell.seed}")

    def progress(self, done: int, total: int, seconds_left: float | None) -> None:
        self.show(done, total, seconds_left)


class Probe:
    """Noise in which the first block accounts for a half, the second for a quarter, and so on."""

    def noise(self, cell: Cell) -> np.ndarray:
        time.sleep(DELAY / 4)
        weights = dict(zip(cell.layout, cell.entries))
        missing = [(1 - float(weights[block])) / (2 + 2 * place) for place, block in enumerate(TENSORS)]
        return np.array([1.0, *missing], np.float32)


class Host:
    """A host of the panel without a model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def loras(self) -> list[str]:
        return ["demo", HOSTILE]

    def loaded(self) -> None:
        """Return None: there is no model."""

    def samplers(self) -> list[str]:
        return ["Euler", "Heun"]

    def defaults(self) -> PictureRequest:
        return PictureRequest("a star <lora:demo:0.8:lbw=XYZ>", width=200, height=160)

    def open_folder(self, folder: Path) -> None:
        """Write down which folder was asked for."""
        (self.folder / "opened.txt").write_text(str(folder))

    def output(self) -> Path:
        return self.folder / "out"

    def prepare(
        self, request: PictureRequest, loras: Sequence[LoraRequest], show: Show, stopped: Callable[[], bool]
    ) -> Prepared:
        """Return a painter; the tuner's pictures are painted as the analyzer's are."""
        return Prepared(
            seed=7 if request.seed == RANDOM else request.seed,
            architecture=SDXL,
            tensors=TENSORS,
            presets={},
            store=CellStore(self.folder / "cells", {"prompt": request.prompt, "size": request.width}),
            renderer=Painter(self.folder, show, stopped, (request.width, request.height)),
            probe=Probe(),
            sampling="painted",
            output=self.output(),
        )


def tabs(folder: Path) -> None:
    """Add the tabs Analyze, Presets and Tuner to the current page; what they write lies in `folder`."""
    store, host = PresetStore(folder), Host(folder)
    analyze = gr.Tab("Analyze")
    with gr.Tab("Presets"):
        presets = presets_panel(store)
    with gr.Tab("Tuner"):
        tuner = tuner_panel(host, store, presets)
    with analyze:
        analyze_panel(host, Sessions(host), presets, tuner)


def build(folder: Path) -> gr.Blocks:
    """Return the page; what it writes lies in `folder`."""
    with gr.Blocks() as tab:
        tabs(folder)
    with gr.Blocks(css=(ROOT / "style.css").read_text(encoding="utf-8"), analytics_enabled=False) as page:
        tab.render()
    return page


if __name__ == "__main__":
    serve_each(build)
