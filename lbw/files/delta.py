"""The change ΔW that one module of a LoRA makes to a weight W at strength 1, for every kind of LoRA.

The mathematics of LoRA, LoCon, LoHa, LoKr, (Diag-)OFT, BOFT and DoRA is LyCORIS' (`lycoris.functional`); IA3,
GLoRA, full differences and norms are a line each. A strength scales ΔW as a whole, DoRA's decomposition and
OFT's rotation included, as the WebUIs do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from lbw.core.errors import FileError

Parameters = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Delta:
    """ΔW, in the weight's shape and in float32, and the bias' change or None."""

    weight: torch.Tensor
    bias: torch.Tensor | None = None


def _scale(parameters: Parameters, rank: int) -> float:
    """Return `scale`, or alpha / rank; 1 where the file gives neither."""
    if "scale" in parameters:
        return float(parameters["scale"])
    return float(parameters["alpha"]) / rank if "alpha" in parameters else 1.0


def _lora(p: Parameters, weight: torch.Tensor) -> torch.Tensor:
    from lycoris.functional import locon

    up, down, mid = p["lora_up.weight"], p["lora_down.weight"], p.get("lora_mid.weight")
    scale = _scale(p, down.shape[0])
    change: torch.Tensor = locon.diff_weight(down, up, mid, gamma=scale)
    return change


def _loha(p: Parameters, weight: torch.Tensor) -> torch.Tensor:
    from lycoris.functional import loha

    parts = (p["hada_w1_b"], p["hada_w1_a"], p["hada_w2_b"], p["hada_w2_a"], p.get("hada_t1"), p.get("hada_t2"))
    change: torch.Tensor = loha.diff_weight(*parts, gamma=torch.tensor(_scale(p, p["hada_w1_b"].shape[0])))
    return change


def _lokr(p: Parameters, weight: torch.Tensor) -> torch.Tensor:
    from lycoris.functional import lokr

    names = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")
    parts = [p.get(name) for name in names]
    factors = [parts[i] for i in (1, 4) if parts[i] is not None]
    rank = factors[0].shape[1] if factors else 1  # type: ignore[union-attr]
    gamma = float(p["alpha"]) if "alpha" in p and factors else float(rank)
    change: torch.Tensor = lokr.diff_weight(*parts, gamma=gamma)
    return change


def _full(p: Parameters, weight: torch.Tensor) -> torch.Tensor:
    return p["diff"]


def _norm(p: Parameters, weight: torch.Tensor) -> torch.Tensor:
    return p["w_norm"]


def _ia3(p: Parameters, weight: torch.Tensor) -> torch.Tensor:
    if bool(p["on_input"]):
        return weight * p["weight"].reshape(1, -1, *[1] * (weight.dim() - 2))
    return weight * p["weight"].reshape(-1, *[1] * (weight.dim() - 1))


def _glora(p: Parameters, weight: torch.Tensor) -> torch.Tensor:
    a1, a2, b1, b2 = (p[name].flatten(1) for name in ("a1.weight", "a2.weight", "b1.weight", "b2.weight"))
    flat = weight.flatten(1)
    if a1.shape[0] == b2.shape[1] and a2.shape[1] == b1.shape[0] and a2.shape[0] == weight.shape[1]:
        delta = b2 @ b1 + flat @ a2 @ a1
        return delta.reshape(weight.shape) * _scale(p, a1.shape[0])
    delta = b1 @ b2 + torch.einsum("oi...,ij->oj...", weight, a1 @ a2).flatten(1)
    return delta.reshape(weight.shape) * _scale(p, a2.shape[0])


def _oft(p: Parameters, weight: torch.Tensor) -> torch.Tensor:
    from lycoris.functional import boft, diag_oft

    blocks, rescale = p["oft_blocks"], p.get("rescale")
    constraint = float(p.get("alpha", torch.tensor(0.0))) * weight.shape[0]
    function = boft.diff_weight if blocks.dim() == 4 else diag_oft.diff_weight
    change: torch.Tensor = function(weight, blocks, rescale, constraint=constraint)
    return change


def _old_oft(p: Parameters, weight: torch.Tensor) -> torch.Tensor:
    rotations = p["oft_diag"]
    count, size, _ = rotations.shape
    rotated = torch.einsum("knm,kn...->km...", rotations, weight.reshape(count, size, *weight.shape[1:]))
    return rotated.reshape(weight.shape) - weight


KINDS: tuple[tuple[str, str, Callable[[Parameters, torch.Tensor], torch.Tensor]], ...] = (
    ("lora", "lora_up.weight", _lora),
    ("loha", "hada_w1_a", _loha),
    ("lokr", "lokr_w1", _lokr),
    ("lokr", "lokr_w1_a", _lokr),
    ("ia3", "on_input", _ia3),
    ("glora", "a1.weight", _glora),
    ("oft", "oft_blocks", _oft),
    ("oft", "oft_diag", _old_oft),
    ("norm", "w_norm", _norm),
    ("full", "diff", _full),
)


def kind(parameters: Mapping[str, object]) -> str:
    """Return the kind of a module with these parameters ("lora", "loha", …); "dora" where it is decomposed.

    Raises:
        FileError: it is none that is known.
    """
    if "dora_scale" in parameters:
        return "dora"
    for name, mark, _ in KINDS:
        if mark in parameters:
            return name
    raise FileError(f"a module with the parameters {', '.join(sorted(parameters))} is of no kind that is known")


_WITHOUT_BASE = (_lora, _loha, _lokr, _full, _norm)


def factors(parameters: Parameters) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return up, (rows, rank), and down, (rank, columns), whose product is ΔW; None where it is no such product."""
    if "lora_up.weight" not in parameters or "lora_mid.weight" in parameters or "dora_scale" in parameters:
        return None
    up, down = (parameters[name].to(torch.float32).flatten(1) for name in ("lora_up.weight", "lora_down.weight"))
    return up * _scale(parameters, down.shape[0]), down


def change_without_base(parameters: Parameters) -> torch.Tensor | None:
    """Return ΔW as (rows, columns) where it does not depend on the weight that it changes, else None.

    Raises:
        FileError: the module is of no known kind, or its shapes do not fit each other.
    """
    p = {name: tensor.to(torch.float32) for name, tensor in parameters.items()}
    kind(p)
    function = next(f for _, mark, f in KINDS if mark in p)
    if function not in _WITHOUT_BASE or "dora_scale" in p:
        return None
    try:
        change = function(p, torch.empty(0))
    except (RuntimeError, ValueError, KeyError, IndexError) as error:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in parameters.items())
        raise FileError(f"a module with {shapes} makes no sense") from error
    return change.flatten(1) if change.dim() > 1 else change.reshape(1, -1)


def delta(parameters: Parameters, weight: torch.Tensor) -> Delta:
    """Return what a module with `parameters` adds to `weight`, of any floating dtype, at strength 1.

    Raises:
        FileError: the module is of no known kind, or its shapes do not fit the weight's.
    """
    device = weight.device
    p = {name: tensor.to(device, torch.float32) for name, tensor in parameters.items()}
    w = weight.detach().to(torch.float32)
    function = next((f for _, mark, f in KINDS if mark in p), None)
    try:
        if function is None:
            kind(p)
            raise FileError("a decomposition without a change is no LoRA")
        change = function(p, w).reshape(w.shape)
        if "dora_scale" in p:
            change = _decomposed(p["dora_scale"], w, change)
    except (RuntimeError, ValueError, KeyError, IndexError) as error:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in parameters.items())
        raise FileError(f"a module with {shapes} does not fit a weight of shape {tuple(weight.shape)}") from error
    return Delta(change, p.get("b_norm", p.get("diff_b")))


def _decomposed(magnitude: torch.Tensor, weight: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """Return DoRA's change: the direction of W + ΔW with the trained magnitude, less W (arXiv 2402.09353)."""
    from lycoris.functional.general import weight_decompose

    if magnitude.dim() == 1:
        magnitude = magnitude.reshape(-1, *[1] * (weight.dim() - 1))
    by_output = magnitude.shape[0] == weight.shape[0]
    merged: torch.Tensor = weight_decompose(weight + change, magnitude, 1, by_output)
    return merged - weight
