"""The weights of a pipeline that LoRAs change, matched with the modules of the original checkpoint.

Trainers and pipelines may represent a module differently: fused in one and split in the other, or with its halves
swapped. `Whole` knows which rows of which layers correspond to a module or a part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from lbw.core.errors import HostError
from lbw.core.texts import t
from lbw.files.delta import Delta, Parameters, delta, output_rows


class Layer:
    """A weight of the pipeline and its bias; their base values are kept from the first change on."""

    def __init__(self, module: torch.nn.Module, attribute: str = "weight") -> None:
        self.parameter: torch.nn.Parameter = getattr(module, attribute)
        bias = getattr(module, "bias", None) if attribute == "weight" else None
        self.bias: torch.nn.Parameter | None = bias
        self._base: tuple[torch.Tensor, torch.Tensor | None] | None = None
        self.is_changed = False

    @property
    def rows(self) -> int:
        """How many rows the weight has: the width of the layer's output."""
        return self.parameter.shape[0]

    def base(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the weight and the bias without any LoRA."""
        if self._base is None:
            bias = None if self.bias is None else self.bias.detach().clone()
            self._base = self.parameter.detach().clone(), bias
        return self._base

    def restore(self) -> None:
        """Restore the base of weight and bias, bit for bit."""
        weight, bias = self.base()
        self.parameter.data.copy_(weight)
        if self.bias is not None and bias is not None:
            self.bias.data.copy_(bias)
        self.is_changed = False

    def write(self, change: torch.Tensor, bias_change: torch.Tensor | None) -> None:
        """Set weight and bias to base + change, summed in float32.

        Raises:
            HostError: a sum is too large for the weight's dtype; then nothing is written.
        """
        weight, bias = self.base()
        sums = _sum(weight, change), None if bias is None or bias_change is None else _sum(bias, bias_change)
        self.is_changed = True
        self.parameter.data.copy_(sums[0])
        if self.bias is not None and bias is not None:
            self.bias.data.copy_(bias if sums[1] is None else sums[1])


def _sum(base: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    total = (base.float() + change).to(base.dtype)
    if not _is_finite(total) and _is_finite(base):
        dtype = str(base.dtype).removeprefix("torch.")
        raise HostError(
            t("the LoRAs change a weight so much that {dtype} cannot represent it; lower the strength", dtype=dtype)
        )
    return total


def _is_finite(tensor: torch.Tensor) -> bool:
    # 8-bit dtypes do not support isfinite.
    return bool((tensor.float() if tensor.element_size() == 1 else tensor).isfinite().all())


class Rows(NamedTuple):
    """Rows `start` to `stop` of a layer."""

    layer: Layer
    start: int
    stop: int


@dataclass(eq=False)
class Whole:
    """A module of the original checkpoint, in one component of a pipeline.

    order: the parts of its output, top to bottom; empty if the original is not fused. layers: the pipeline's, each with
    the parts that it contains, empty for the whole module.
    """

    order: tuple[str, ...]
    layers: list[tuple[tuple[str, ...], Layer]] = field(default_factory=list)

    def rows(self, parts: tuple[str, ...] = (), parameters: Parameters | None = None) -> list[Rows] | None:
        """Return where `parts`, or the whole module, are, in order; None if the pipeline lacks one of them.

        parameters: of the LoRA's module. If the pipeline's layer is fused, they determine the height of the parts.
        """
        whole = next((layer for held, layer in self.layers if not held), None)
        if whole is not None:
            if not parts:
                return [Rows(whole, 0, whole.rows)]
            return _within(whole, self.order, parts, output_rows(parameters) if parameters else None)
        rows_of = {part: rows for held, layer in self.layers for part, rows in zip(held, _shares(layer, len(held)))}
        wanted = parts or self.order
        return [rows_of[part] for part in wanted] if rows_of.keys() >= set(wanted) else None

    def base(self, parts: tuple[str, ...] = ()) -> torch.Tensor | None:
        """Return the base weight of `parts`, or of the whole module; None if the pipeline lacks one of them."""
        rows = self.rows(parts)
        return None if rows is None else _weight(rows)

    def merge(self, changes: Sequence[tuple[float, tuple[str, ...], Parameters]]) -> int:
        """Set the layers to base + Σ multiplier × ΔW, and return how many were written.

        changes: the multipliers, the parts that they apply to, empty for the whole module, and the LoRAs' parameters. A
        kind that depends on the weight gets the rows of its own parts, whatever layers they are in.

        Raises:
            FileError: a module does not fit its weight.
        """
        totals: dict[Layer, torch.Tensor] = {}
        biases: dict[Layer, torch.Tensor] = {}
        for multiplier, parts, parameters in changes:
            rows = self.rows(parts, parameters)
            assert rows is not None  # a change without a place here is not one of this module
            change = delta(parameters, _weight(rows))
            _add(totals, biases, rows, multiplier, change)
        written = 0
        for _, layer in self.layers:
            if layer in totals:
                layer.write(totals[layer], biases.get(layer))
                written += 1
            elif layer.is_changed:
                layer.restore()
                written += 1
        return written

    def restore(self) -> None:
        """Restore the base of every layer, bit for bit."""
        for _, layer in self.layers:
            if layer.is_changed:
                layer.restore()


def _shares(layer: Layer, count: int) -> list[Rows]:
    """Return the rows of a layer in `count` parts of equal height."""
    height = layer.rows // count
    return [Rows(layer, n * height, (n + 1) * height) for n in range(count)]


def _within(layer: Layer, order: tuple[str, ...], parts: tuple[str, ...], height: int | None) -> list[Rows] | None:
    """Return the rows of `parts` in a fused layer, derived from the height of their change.

    All parts have the same height, except for a last one beside the attention's q, k and v. None if that does not fit.
    """
    indices = [order.index(part) for part in parts if part in order]
    if len(indices) < len(parts):
        return None
    last = len(order) - 1
    may_differ = order[last] not in ("q", "k", "v")
    if height is None or height * len(order) == layer.rows * len(parts):
        shares = _shares(layer, len(order)) if layer.rows % len(order) == 0 else []
    elif may_differ and last not in indices:
        each = height // len(parts)
        shares = [Rows(layer, n * each, (n + 1) * each) for n in range(last)]
        shares.append(Rows(layer, last * each, layer.rows))
    elif may_differ and parts == order[last:]:
        each = (layer.rows - height) // last
        shares = [Rows(layer, n * each, (n + 1) * each) for n in range(last)]
        shares.append(Rows(layer, layer.rows - height, layer.rows))
    else:
        shares = []
    heights = {rows.stop - rows.start for rows in shares[:-1]}
    fits = len(heights) == 1 and shares[-1].stop - shares[-1].start >= max(heights) > 0
    return [shares[index] for index in indices] if fits else None


def _weight(rows: Sequence[Rows]) -> torch.Tensor:
    weights = [r.layer.base()[0][r.start : r.stop] for r in rows]
    return weights[0] if len(weights) == 1 else torch.cat(weights)


def _add(
    totals: dict[Layer, torch.Tensor],
    biases: dict[Layer, torch.Tensor],
    rows: Sequence[Rows],
    multiplier: float,
    change: Delta,
) -> None:
    """Add `multiplier` × `change` to the sums of the layers whose rows it changes."""
    first = 0
    for layer, start, stop in rows:
        weight, bias = layer.base()
        part = slice(first, first + stop - start)
        first = part.stop
        totals.setdefault(layer, torch.zeros_like(weight, dtype=torch.float32))
        totals[layer][start:stop] += multiplier * change.weight[part]
        if change.bias is not None and bias is not None:
            biases.setdefault(layer, torch.zeros_like(bias, dtype=torch.float32))
            biases[layer][start:stop] += multiplier * change.bias[part].to(bias.device)
