"""The quick scan: what each block does to the noise that the model predicts.

The denoiser is called once for each block, at a step of the source's own trajectory, and nothing is decoded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lbw.core.family import Architecture
from lbw.core.numbers import format_number

from .cells import Cell, Choice, ordered
from .effective_blocks import Settings

Noise = NDArray[np.float32]
AT = (0.3,)
"""Where on the source's trajectory the noise is compared, as fractions of its steps: a single point about a third of
the way ranks the blocks in the same way as the pictures (bench/scan.py)."""


class Probe(Protocol):
    """What a host provides for the quick scan."""

    def noise(self, cell: Cell) -> Noise:
        """Return the guided noise that is predicted with the weights of `cell`, at each kept step of the source of its
        seed and prompt: (steps, ...). The source comes first: its call runs the trajectory.
        """


@dataclass(frozen=True)
class NoiseChange:
    """How much the predicted noise changes without the blocks of a choice.

    changes: for each source, the root mean square of the change relative to that of the noise; None where either
    prediction contains NaN or infinity.
    """

    choice: Choice
    changes: tuple[float | None, ...]

    @property
    def mean(self) -> float | None:
        """Mean of the known changes; None without any."""
        known = [change for change in self.changes if change is not None]
        return float(np.mean(known)) if known else None


def noise_scan(
    settings: Settings,
    architecture: Architecture,
    tensors: Mapping[str, int],
    probe: Probe,
    show: Callable[[int, int], None] = lambda done, total: None,
) -> list[NoiseChange]:
    """Return what each choice of `settings` does to the predicted noise, the largest change first, unknown ones last.

    tensors: how many tensors the LoRA has in each block; choices without any change nothing and cost nothing. show: is
    told how far it is.
    """
    low, high = settings.span
    found: dict[str, list[float | None]] = {choice.label: [] for choice in settings.choices}
    plans = []
    for sample in settings.samples:
        source = settings.source(sample, architecture)
        cells: dict[Cell, list[str]] = {}
        for choice in settings.choices:
            if low != high and any(tensors.get(block) for block in choice.blocks):
                cells.setdefault(source.with_entry(choice.blocks, format_number(low)), []).append(choice.label)
            else:
                found[choice.label].append(0.0)
        plans.append((source, cells))
    total, done = sum(1 + len(cells) for _, cells in plans), 0
    show(done, total)
    for source, cells in plans:
        before = probe.noise(source)
        done += 1
        show(done, total)
        for cell in ordered([source, *cells], tensors)[1:]:
            change = _relative(probe.noise(cell), before)
            for label in cells[cell]:
                found[label].append(change)
            done += 1
            show(done, total)
    results = [NoiseChange(choice, tuple(found[choice.label])) for choice in settings.choices]
    return sorted(results, key=lambda result: math.inf if result.mean is None else -result.mean)


def _relative(after: Noise, before: Noise) -> float | None:
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        return None
    size = float(np.sqrt(np.mean(np.square(before, dtype=np.float64))))
    change = float(np.sqrt(np.mean(np.square(after.astype(np.float64) - before))))
    return change / size if size else 0.0


def kept_steps(steps: int, at: Iterable[float] = AT) -> list[int]:
    """Return the steps, from 0, at the shares `at` of a pass of `steps` steps."""
    return sorted({min(steps - 1, int(steps * share)) for share in at})
