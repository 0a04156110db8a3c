"""The size of a LoRA's changes and the overlap of two LoRAs; exact, without rendering a picture.

‖ΔW‖ and ⟨ΔW, ΔW'⟩ of products of factors follow from the factors' small Gram matrices,
⟨UD, U'D'⟩ = Σ (UᵀU') ∘ (DD'ᵀ).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from lbw.core.blocks import Site, locate
from lbw.core.errors import HostError
from lbw.core.family import Architecture
from lbw.core.texts import t
from lbw.files.delta import Parameters, change_without_base, delta, factors
from lbw.files.lora import LoraFile
from lbw.files.parameters import kind

BaseWeight = Callable[[Site], "torch.Tensor | None"]
"""Returns the base weight that a LoRA's module at a site changes; None if the model has none."""


@dataclass(frozen=True)
class Factored:
    """ΔW of one module, as the product of two factors if possible, otherwise in full."""

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


@dataclass(frozen=True)
class Changes:
    """All changes of a LoRA, by site."""

    architecture: Architecture
    modules: Mapping[Site, Mapping[str, Factored]]
    """By site and by the module's name in the file: parts of one fused weight share a site."""


def read_changes(file: LoraFile, base: BaseWeight | None = None) -> Changes:
    """Return the changes that `file` makes.

    base: needed for kinds whose change depends on the weight: DoRA, IA3, OFT, GLoRA.

    Raises:
        HostError: the base weights are needed but missing. FileError: the file is not valid.
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
        raise HostError(
            t("the change of {name} ({kind}) depends on the model; pass --model", name=name, kind=kind(parameters))
        )
    weight = base(site)
    return None if weight is None else Factored(delta(parameters, weight).weight.flatten(1))


@dataclass(frozen=True)
class BlockSize:
    """The size of a LoRA's change in one block.

    norm: of ΔW over all its modules. base_norm: of the weights they change, None without a model.
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
    """How much two LoRAs change a block in the same direction.

    cosine: ⟨ΔW, ΔW'⟩ / (‖ΔW‖ ‖ΔW'‖): 1 for the same change, 0 for independent ones, -1 for opposite ones. shared: the
    number of weights that both change.
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
    """Return the modules at one site that change the same weights."""
    return [(module, other) for module in first.values() for other in second.values() if module.shape == other.shape]


def _total(changes: Changes, block: str) -> float:
    squares = (m.inner(m) for site, modules in changes.modules.items() if site.block == block for m in modules.values())
    return math.sqrt(sum(squares))
