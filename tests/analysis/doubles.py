"""A renderer whose pictures follow from the weights in a way that can be worked out by hand."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import numpy as np

from lbw.analysis.cells import Cell
from lbw.analysis.runner import SkippedError, StoppedError
from lbw.analysis.store import Rendered
from lbw.core.architectures import ARCHITECTURES
from lbw.core.weights import parse_block_weights

SDXL = ARCHITECTURES["sdxl"]

WIDTH, HEIGHT = 20, 20
FIRST = 40
"""The color of a block's pixels at weight 0; a weight of 1 adds 100."""


def weights_of(cell: Cell) -> dict[str, float]:
    return dict(parse_block_weights(cell.weights).resolve(SDXL, {}).blocks)


def picture(weights: dict[str, float], areas: dict[str, int]) -> np.ndarray:
    """Return a picture in which each block colors so many pixels of its own, brighter with its weight."""
    flat = np.zeros((HEIGHT * WIDTH, 3), np.uint8)
    place = 0
    for block, area in areas.items():
        flat[place : place + area] = FIRST + round(100 * weights[block])
        place += area
    return flat.reshape(HEIGHT, WIDTH, 3)


class Painter:
    """Paints each block's own pixels; `areas` says how many, for each seed."""

    def __init__(self, areas: Callable[[int], dict[str, int]], count: int = 1) -> None:
        self.areas = areas
        self.count = count
        self.painted: list[Cell] = []
        self.shown: list[tuple[int, int, float | None]] = []
        self.alive: list[int] = []
        self.fails: Callable[[Cell], bool] = lambda cell: False
        self.skips: Callable[[Cell], bool] = lambda cell: False
        self.stops_after: int | None = None
        self._made: list[weakref.ref[np.ndarray]] = []

    def render(self, cell: Cell) -> Rendered:
        if self.stops_after is not None and len(self.painted) == self.stops_after:
            raise StoppedError
        self.painted.append(cell)
        self.alive.append(sum(made() is not None for made in self._made))
        if self.fails(cell):
            raise RuntimeError("out of memory\nand a long trace")
        if self.skips(cell):
            raise SkippedError
        one = picture(weights_of(cell), self.areas(cell.seed))
        pictures = np.stack([one] * self.count)
        self._made.append(weakref.ref(pictures))
        return Rendered(pictures, f"seed {cell.seed}")

    def progress(self, done: int, total: int, seconds_left: float | None) -> None:
        self.shown.append((done, total, seconds_left))


def same_areas(**areas: int) -> Callable[[int], dict[str, int]]:
    return lambda seed: dict(areas)
