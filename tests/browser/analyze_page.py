"""The panel Analyze on a page with presets and tuner, over a host that draws its pictures; in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr
import numpy as np

from lbw.analysis.cells import Cell, choose, parse_span
from lbw.analysis.effective_blocks import Analysis, Settings
from lbw.analysis.measure import picture_mask
from lbw.analysis.prompt import tag_to_analyze
from lbw.analysis.runner import StoppedError
from lbw.analysis.store import CellStore, Rendered
from lbw.core.architectures import ARCHITECTURES
from lbw.files.user_presets import ROOT, PresetStore
from lbw.ui.analyze import analyze_panel
from lbw.ui.analyzer_host import Prepared, Question, Show
from lbw.ui.presets import presets_panel
from lbw.ui.tuner import tuner_panel

from .serve_each import serve_each

SDXL = ARCHITECTURES["sdxl"]

HOSTILE = "<img src=x onerror=alert(1)>"
TENSORS = {"IN04": 4, "IN07": 4, "IN08": 4, "M00": 4, "OUT00": 4, "OUT01": 4}
DELAY = 0.1


@dataclass
class Painter:
    """Paints a disc for each block, the larger the more its block does; and writes down what it painted."""

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
    """Noise in which the first block counts for a half, the second for a quarter, and so on."""

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

    def defaults(self) -> Question:
        return Question("a star <lora:demo:0.8:lbw=XYZ>", width=200, height=160)

    def open_folder(self, folder: Path) -> None:
        """Write down which folder was asked for."""
        (self.folder / "opened.txt").write_text(str(folder))

    def prepare(self, question: Question, show: Show, stopped: Callable[[], bool]) -> Prepared:
        name = tag_to_analyze(question.prompt).name
        seed = 7 if question.seed == -1 else question.seed
        settings = Settings(
            tuple(choose(question.blocks, SDXL, TENSORS)), tuple(range(seed, seed + int(question.seeds))),
            parse_span(question.span), int(question.threshold), question.background, question.swap_axes,
        )  # fmt: skip
        mask = None
        if question.mask is not None:
            mask, _ = picture_mask(question.mask, question.width, question.height)
        store = CellStore(self.folder / "cells", {"prompt": question.prompt, "size": question.width})
        analysis = Analysis(settings, SDXL, TENSORS, store, mask)
        painter = Painter(self.folder, show, stopped, (question.width, question.height))
        return Prepared(analysis, painter, Probe(), name, f"{name}, seed {seed}", self.folder / "out" / "demo-blocks")

    def rounds(self, todo: Sequence[Cell], question: Question) -> Iterator[tuple[Cell, np.ndarray]]:
        """Yield the tuner's pictures, painted as the analyzer's are."""
        painter = Painter(self.folder, lambda *_: None, lambda: False, (question.width, question.height))
        for cell in todo:
            yield cell, painter.render(cell).pictures[0]


def build(folder: Path) -> gr.Blocks:
    """Return the page; what it writes lies in `folder`."""
    store = PresetStore(folder)
    host = Host(folder)
    with gr.Blocks() as tab:
        with gr.Tab("Analyze"):
            place = gr.Column()
        with gr.Tab("Presets"):
            presets = presets_panel(store)
        with gr.Tab("Tuner"):
            tuner = tuner_panel(host, store, presets)
        with place:
            analyze_panel(host, presets, tuner)
    with gr.Blocks(css=(ROOT / "style.css").read_text(encoding="utf-8"), analytics_enabled=False) as page:
        tab.render()
    return page


if __name__ == "__main__":
    serve_each(build)
