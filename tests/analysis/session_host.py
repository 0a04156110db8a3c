"""A host of sessions whose pictures follow from the weights in a way that can be worked out by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lbw.analysis.cells import Cell
from lbw.analysis.request import RANDOM, PictureRequest
from lbw.analysis.runner import StoppedError
from lbw.analysis.session import Prepared, Session, Show
from lbw.analysis.store import CellStore, Rendered
from lbw.core.architectures import ARCHITECTURES
from lbw.core.family import Architecture
from lbw.core.tag import LoraRequest
from lbw.core.weights import parse_block_weights

from .doubles import picture

SDXL = ARCHITECTURES["sdxl"]
PROMPT = "a cat <lora:demo:1:lbw=XYZ>"
AREAS = {"IN04": 40, "IN08": 8, "OUT00": 2}
"""How many of a picture's 400 pixels each block colors: 10, 2 and 0.5 percent."""
DRAWN = 5
"""The seed that is drawn for a random one."""


class PaintingHost:
    """Paints each block's own pixels; cells lie in a folder of `folder`, results in `folder / "out"`.

    go: pictures wait while it is not set. painted: the cells that were rendered.
    """

    def __init__(self, folder: Path, architecture: Architecture = SDXL, areas: Mapping[str, int] = AREAS) -> None:
        self.folder = folder
        self.architecture = architecture
        self.areas = dict(areas)
        self.results: Path | None = folder / "out"
        self.probe: Any = None
        self.painted: list[Cell] = []
        self.fails: Callable[[Cell], bool] = lambda cell: False
        self.stops_after: int | None = None
        self.go = threading.Event()
        self.go.set()

    def output(self) -> Path | None:
        return self.results

    def prepare(
        self, request: PictureRequest, loras: Sequence[LoraRequest], show: Show, stopped: Callable[[], bool]
    ) -> Prepared:
        seed = DRAWN if request.seed == RANDOM else request.seed
        sampling = (request.prompt, request.negative_prompt, request.steps)
        return Prepared(
            seed=seed,
            architecture=self.architecture,
            tensors=dict.fromkeys(self.areas, 1),
            presets={},
            store=CellStore(self.folder / "cells", {"sampling": sampling}),
            renderer=_Painter(self, show, stopped),
            probe=self.probe,
            sampling="painted",
            output=self.output(),
            about={"model": "paint"},
        )


class _Painter:
    def __init__(self, host: PaintingHost, show: Show, stopped: Callable[[], bool]) -> None:
        self.host, self.show, self.stopped = host, show, stopped

    def render(self, cell: Cell) -> Rendered:
        host = self.host
        host.go.wait(20)
        if self.stopped() or (host.stops_after is not None and len(host.painted) >= host.stops_after):
            raise StoppedError
        host.painted.append(cell)
        if host.fails(cell):
            raise RuntimeError("out of memory\nand a long trace")
        weights = parse_block_weights(cell.weights).resolve(host.architecture, {}).blocks
        return Rendered(np.stack([picture(weights, host.areas)]), f"seed {cell.seed}")

    def progress(self, done: int, total: int, seconds_left: float | None) -> None:
        self.show(done, total, seconds_left)


class NoiseOfTwo:
    """Noise of size 2 with the whole LoRA; without IN04 a tenth of it for each unit of the seed is added."""

    def __init__(self) -> None:
        self.asked: list[Cell] = []
        self.then: Callable[[], None] = lambda: None

    def noise(self, cell: Cell) -> np.ndarray:
        self.asked.append(cell)
        self.then()
        weights = parse_block_weights(cell.weights).resolve(SDXL, {}).blocks
        return np.array([2.0, 0.2 * cell.seed * (1 - weights["IN04"])], np.float32)


def until(condition: Callable[[], Any]) -> None:
    """Wait until `condition` holds, 20 seconds at most."""
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def ended(session: Session) -> Session:
    """Run a session in its own thread, and return it when it has ended."""
    session.start(threading.Lock())
    assert session.over.wait(20)
    return session
