"""Quick scans: how large a LoRA's changes are, where two LoRAs collide, and what each block does to the noise.

Sizes and overlaps are exact and need no picture: ‖ΔW‖ and ⟨ΔW, ΔW'⟩ of products of factors follow from the
factors' small Gram matrices, ⟨UD, U'D'⟩ = Σ (UᵀU') ∘ (DD'ᵀ). The noise scan asks the denoiser once for each block,
at a step of the source's own trajectory, and decodes nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lbw.core.architectures import Architecture
from lbw.core.blocks import Site, locate
from lbw.core.errors import HostError
from lbw.core.weights import format_number
from lbw.files.delta import Parameters, change_without_base, delta, factors, kind
from lbw.files.lora import LoraFile

from .cells import Cell, Choice, ordered, uniform_cell

BaseWeight = Callable[[Site], "torch.Tensor | None"]
"""Returns the base weight that a LoRA's module at a site changes; None where the model has none."""

# Sizes and overlaps ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Factored:
    """ΔW of one module: as the product of two factors where it is one, else whole."""

    up: torch.Tensor
    down: torch.Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.up.shape[0], (self.up if self.down is None else self.down).shape[1]

    def inner(self, other: Factored) -> float:
        """Return ⟨ΔW, ΔW'⟩, the sum of products of their entries, in double precision."""
        if self.down is None or other.down is None:
            one, two = (f.up if f.down is None else f.up @ f.down for f in (self, other))
            return float((one.double() * two.double()).sum())
        rows = self.up.double().T @ other.up.double()
        columns = self.down.double() @ other.down.double().T
        return float((rows * columns).sum())

    def norm(self) -> float:
        """Return ‖ΔW‖, the root of the sum of squares."""
        return math.sqrt(max(0.0, self.inner(self)))


@dataclass(frozen=True)
class Changes:
    """All changes of a LoRA, by where they stand."""

    architecture: Architecture
    modules: Mapping[Site, Mapping[str, Factored]]
    """By site and by the module's name in the file: parts of one fused weight share a site."""


def read_changes(file: LoraFile, base: BaseWeight | None = None) -> Changes:
    """Return the changes that `file` makes.

    base: needed for kinds whose change depends on the weight: DoRA, IA3, OFT, GLoRA.

    Raises:
        HostError: the base weights are needed and not there. FileError: the file makes no sense.
    """
    modules: dict[Site, dict[str, Factored]] = {}
    for name, parameters in file.parameters():
        site = locate(name, file.architecture)
        found = _factored(name, parameters, site, base)
        if found is not None:
            modules.setdefault(site, {})[name] = found
    return Changes(file.architecture, modules)


def _factored(name: str, parameters: Parameters, site: Site, base: BaseWeight | None) -> Factored | None:
    product = factors(parameters)
    if product is not None:
        return Factored(*product)
    change = change_without_base(parameters)
    if change is not None:
        return Factored(change)
    if base is None:
        raise HostError(f"{name} is of the kind {kind(parameters)}, whose change depends on the model; give --model")
    weight = base(site)
    return None if weight is None else Factored(delta(parameters, weight).weight.flatten(1))


@dataclass(frozen=True)
class BlockSize:
    """The size of a LoRA's change in one block.

    norm: of ΔW over all its modules. base_norm: of the weights that they change, None without a model.
    """

    block: str
    modules: int
    norm: float
    base_norm: float | None

    @property
    def relative(self) -> float | None:
        """‖ΔW‖ / ‖W‖."""
        return self.norm / self.base_norm if self.base_norm else None


def sizes(changes: Changes, base: BaseWeight | None = None) -> list[BlockSize]:
    """Return the size of each block that the LoRA has modules in, in layout order."""
    found = []
    for block in changes.architecture.blocks:
        here = {site: modules for site, modules in changes.modules.items() if site.block == block}
        if not here:
            continue
        norm = math.sqrt(sum(module.inner(module) for modules in here.values() for module in modules.values()))
        weights = [base(site) for site in here] if base else []
        squares = [float(weight.double().square().sum()) for weight in weights if weight is not None]
        count = sum(len(modules) for modules in here.values())
        found.append(BlockSize(block, count, norm, math.sqrt(sum(squares)) if squares else None))
    return found


@dataclass(frozen=True)
class Overlap:
    """How far two LoRAs change one block in the same direction.

    cosine: ⟨ΔW, ΔW'⟩ / (‖ΔW‖ ‖ΔW'‖): 1 the same change, 0 independent ones, -1 opposite ones. shared: the weights
    that both change.
    """

    block: str
    cosine: float
    shared: int


def overlaps(first: Changes, second: Changes) -> list[Overlap]:
    """Return the overlap of each block in which both LoRAs have modules, in layout order."""
    found = []
    for block in first.architecture.blocks:
        pairs = [
            pair
            for site, modules in first.modules.items()
            if site.block == block
            for pair in _pairs(modules, second.modules.get(site, {}))
        ]
        if not pairs:
            continue
        inner = sum(module.inner(other) for module, other in pairs)
        norms = [_total(changes, block) for changes in (first, second)]
        found.append(Overlap(block, inner / (norms[0] * norms[1]) if all(norms) else 0.0, len(pairs)))
    return found


def _pairs(first: Mapping[str, Factored], second: Mapping[str, Factored]) -> list[tuple[Factored, Factored]]:
    """Return the modules at one site that change the same weights: of a fused weight, the same part."""
    by_part = {_part(name): module for name, module in second.items()}
    pairs = [(module, by_part.get(_part(name))) for name, module in first.items()]
    return [(module, other) for module, other in pairs if other is not None and module.shape == other.shape]


def _part(name: str) -> str:
    """Return which part of a fused weight a module changes, by its name in any naming; empty for all of it."""
    found = re.search(r"(?:to|add|self_attn)[._](?:q|k|v|[qkv]_proj)$|proj_mlp$", name)
    return found[0].replace(".", "_") if found else ""


def _total(changes: Changes, block: str) -> float:
    squares = (m.inner(m) for site, modules in changes.modules.items() if site.block == block for m in modules.values())
    return math.sqrt(sum(squares))


# The noise ---------------------------------------------------------------------------------------

Noise = NDArray[np.float32]
AT = (0.3,)
"""Where on the source's trajectory the noise is compared, as shares of its steps: one place about a third along it
ranks the blocks as the pictures do (bench/scan.py)."""


class Probe(Protocol):
    """What a host does for the noise scan."""

    def noise(self, cell: Cell) -> Noise:
        """Return the guided noise that is predicted with the weights of `cell`, at each kept step of the source of its
        seed: (steps, ...). The source comes first: its call runs the trajectory.
        """


@dataclass(frozen=True)
class NoiseChange:
    """How much the predicted noise changes without the blocks of a choice.

    changes: for each seed, the root mean square of the change relative to that of the noise.
    """

    choice: Choice
    changes: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.changes))


def noise_scan(
    choices: Sequence[Choice],
    seeds: Sequence[int],
    span: tuple[float, float],
    architecture: Architecture,
    tensors: Mapping[str, int],
    probe: Probe,
    show: Callable[[int, int], None] = lambda done, total: None,
) -> list[NoiseChange]:
    """Return what each choice does to the predicted noise, the largest change first.

    span: the weight of the blocks that are looked at, and that of all others. tensors: how many tensors the LoRA has
    in each block; choices without any change nothing and cost nothing. show: is told how far it is.
    """
    low, high = span
    found: dict[str, list[float]] = {choice.label: [] for choice in choices}
    plans = []
    for seed in seeds:
        source = uniform_cell(architecture, high, seed)
        cells: dict[Cell, list[str]] = {}
        for choice in choices:
            if low != high and any(tensors.get(block) for block in choice.blocks):
                cells.setdefault(source.with_entry(choice.blocks, format_number(low)), []).append(choice.label)
            else:
                found[choice.label].append(0.0)
        plans.append((source, cells))
    total, done = sum(1 + len(cells) for _, cells in plans), 0
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
    results = [NoiseChange(choice, tuple(found[choice.label])) for choice in choices]
    return sorted(results, key=lambda result: -result.mean)


def _relative(after: Noise, before: Noise) -> float:
    size = float(np.sqrt(np.mean(np.square(before, dtype=np.float64))))
    change = float(np.sqrt(np.mean(np.square(after.astype(np.float64) - before))))
    return change / size if size else 0.0


def kept_steps(steps: int, at: Iterable[float] = AT) -> list[int]:
    """Return the steps, from 0, at the shares `at` of a pass of `steps` steps."""
    return sorted({min(steps - 1, int(steps * share)) for share in at})
