"""Which blocks of a LoRA change the picture, and how much: render without each in turn, and compare.

All blocks at the range's second number give the *source*; each block alone at the first number gives a changed
picture. The percentage is the share of colour values whose absolute difference exceeds the threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lbw.core.weights import format_number

Pixels = NDArray[np.uint8]
Render = Callable[[str, int], Pixels]


@dataclass(frozen=True)
class Settings:
    """What to compare.

    span: the weight of the block that is looked at, and that of all others. seeds: one source each. threshold:
    a difference of colour values, 0 to 255, that counts as a change only when it is exceeded.
    """

    blocks: tuple[str, ...]
    seeds: tuple[int, ...]
    span: tuple[float, float] = (0.0, 1.0)
    threshold: int = 20


@dataclass(frozen=True)
class Cell:
    """One changed picture: which block, which seed, the pictures, and the percentage."""

    block: str
    seed: int
    source: Pixels
    changed: Pixels
    percent: float


def difference(source: Pixels, changed: Pixels) -> Pixels:
    """Return the absolute difference of two pictures of shape (height, width, 3)."""
    return np.abs(source.astype(np.int16) - changed.astype(np.int16)).astype(np.uint8)


def percent_changed(source: Pixels, changed: Pixels, threshold: int) -> float:
    """Return 100·n / (width·height·3), n being the colour values that differ by more than `threshold`."""
    return float(100 * np.count_nonzero(difference(source, changed) > threshold) / source.size)


def weights_without(block: str, span: tuple[float, float]) -> str:
    """Return block weights with `block` at the span's first number, all others at the second."""
    low, high = map(format_number, span)
    return f"{high},{block}={low}"


def analyze(render: Render, settings: Settings) -> Iterator[Cell]:
    """Yield a cell for each block and seed, as they are rendered.

    render: takes block weights and a seed, returns the picture as (height, width, 3).
    """
    for seed in settings.seeds:
        source = render(format_number(settings.span[1]), seed)
        for block in settings.blocks:
            changed = render(weights_without(block, settings.span), seed)
            yield Cell(block, seed, source, changed, percent_changed(source, changed, settings.threshold))


def ranking(cells: Sequence[Cell]) -> list[tuple[str, float]]:
    """Return the blocks with the mean of their percentages over the seeds, the largest first."""
    values: dict[str, list[float]] = {}
    for cell in cells:
        values.setdefault(cell.block, []).append(cell.percent)
    means = [(block, float(np.mean(percents))) for block, percents in values.items()]
    return sorted(means, key=lambda pair: -pair[1])
