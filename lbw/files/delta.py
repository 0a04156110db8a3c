"""The change ΔW that one module of a LoRA makes to a weight W at strength 1, for every kind of LoRA.

LyCORIS (`lycoris.functional`) does the mathematics of LoRA, LoCon, LoHa, LoKr, (Diag-)OFT, BOFT and DoRA; IA3, GLoRA,
OFT of the input, full differences and norms are a few lines each. The strength scales ΔW as a whole, including DoRA's
decomposition and OFT's rotation, as in the WebUIs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from lbw.core.errors import FileError
from lbw.core.texts import t

from .parameters import change_kind, check, kind, rank, shapes_text

Parameters = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Delta:
    """ΔW, in the weight's shape and in float32, and the change of the bias or None."""

    weight: torch.Tensor
    bias: torch.Tensor | None = None


def _shapes(parameters: Parameters) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in parameters.items()}


def _scale(p: Parameters, over: int | None = None) -> float:
    """Return `scale`, or alpha / rank; 1 if the file has neither, or the change is not factored.

    over: the rank, for a kind whose parameter names do not determine it.
    """
    if "scale" in p:
        return float(p["scale"])
    over = over or rank(_shapes(p))
    return float(p["alpha"]) / over if "alpha" in p and over else 1.0


def _lora(p: Parameters, weight: torch.Tensor) -> torch.Tensor:
    from lycoris.functional import locon

    factors = p["lora_down.weight"], p["lora_up.weight"], p.get("lora_mid.weight")
    change: torch.Tensor = locon.diff_weight(*factors, gamma=_scale(p))
    return change


def _loha(p: Parameters, weight: torch.Tensor) -> torch.Tensor:
    from lycoris.functional import loha

    parts = (p["hada_w1_b"], p["hada_w1_a"], p["hada_w2_b"], p["hada_w2_a"], p.get("hada_t1"), p.get("hada_t2"))
    change: torch.Tensor = loha.diff_weight(*parts, gamma=torch.tensor(_scale(p)))
    return change


def _lokr(p: Parameters, weight: torch.Tensor) -> torch.Tensor:
    from lycoris.functional.general import rebuild_tucker
    from lycoris.functional.lokr import make_kron

    # The halves are multiplied out here: `lokr.diff_weight` divides by the length of an axis that is the rank only
    # without a core tensor.
    w1 = p["lokr_w1"] if "lokr_w1" in p else p["lokr_w1_a"] @ p["lokr_w1_b"]
    if "lokr_w2" in p:
        w2 = p["lokr_w2"]
    elif "lokr_t2" in p:
        w2 = rebuild_tucker(p["lokr_t2"], p["lokr_w2_a"], p["lokr_w2_b"])
    else:
        up, down = p["lokr_w2_a"], p["lokr_w2_b"]
        w2 = (up @ down.flatten(1)).reshape(-1, *down.shape[1:])
    change: torch.Tensor = make_kron(w1, w2, _scale(p))
    return change


def _full(p: Parameters, weight: torch.Tensor) -> torch.Tensor:
    if "diff" in p:
        return p["diff"]
    return torch.zeros_like(weight) if weight.numel() else weight.new_zeros(p["diff_b"].numel(), 0)


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
    """Return the change of a rotation of the output; `alpha` is its constraint."""
    from lycoris.functional import boft, diag_oft

    rescale = p["rescale"].reshape(-1, *[1] * (weight.dim() - 1)) if "rescale" in p else None
    if "oft_diag" in p:  # LyCORIS' first form, which holds the rotations themselves
        rotations = p["oft_diag"]
        count, size, _ = rotations.shape
        rotated = torch.einsum("knm,kn...->km...", rotations, weight.reshape(count, size, *weight.shape[1:]))
        rotated = rotated.reshape(weight.shape)
        return (rotated if rescale is None else rescale * rotated) - weight
    constraint = float(p.get("alpha", torch.tensor(0.0))) * weight.shape[0]
    function = boft.diff_weight if p["oft_blocks"].dim() == 4 else diag_oft.diff_weight
    change: torch.Tensor = function(weight, p["oft_blocks"], rescale, constraint=constraint)
    return change


def _oft_of_input(p: Parameters, weight: torch.Tensor) -> torch.Tensor:
    """Return the change of OFTv2, a rotation of the input in blocks (arXiv 2506.19847).

    Files hold the upper triangles of skew-symmetric Q. OneTrainer's, which Forge Neo reads alike, mean a series whose
    last term is halved; PEFT's, which `oft_R.terms` tells, a series of so many terms, or none: then (I − Q)(I + Q)⁻¹.
    """
    entries = p["oft_R.weight"]
    size = round((1 + math.sqrt(1 + 8 * entries.shape[1])) / 2)
    if "oft_R.scaled_oft" in p:
        entries = entries / (2 * math.sqrt(size - 1))
    q = entries.new_zeros(entries.shape[0], size, size)
    rows, columns = torch.triu_indices(size, size, 1)
    q[:, rows, columns] = entries
    q = q - q.mT
    identity = torch.eye(size, device=q.device)
    terms = int(p.get("oft_R.terms", torch.tensor(5)))
    if terms:
        powers = [torch.linalg.matrix_power(q, n) for n in range(1, terms)]
        rotation = identity + 2 * sum(powers)
        if "oft_R.terms" not in p:
            rotation = rotation - powers[-1]
    else:
        rotation = torch.linalg.solve(identity + q, identity - q, left=False)
    if weight.dim() == 2 or "oft_R.terms" in p:  # OneTrainer turns the weight of a convolution, not what goes into it
        rotation = rotation.mT
    blocks = weight.reshape(weight.shape[0], -1, size)
    rotation = rotation.expand(blocks.shape[1], -1, -1)
    change = torch.einsum("ork,rkc->orc", blocks, rotation - identity)
    return change.reshape(weight.shape)


_FUNCTIONS: dict[str, Callable[[Parameters, torch.Tensor], torch.Tensor]] = {
    "lora": _lora,
    "loha": _loha,
    "lokr": _lokr,
    "ia3": _ia3,
    "glora": _glora,
    "oft": _oft,
    "oftv2": _oft_of_input,
    "norm": _norm,
    "full": _full,
}
_WITHOUT_BASE = ("lora", "loha", "lokr", "norm", "full")


def _prepared(parameters: Parameters, device: torch.device | None = None) -> dict[str, torch.Tensor]:
    """Return the parameters in float32.

    Raises:
        FileError: they cannot belong to one module.
    """
    check(_shapes(parameters))
    return {name: tensor.to(device, torch.float32) for name, tensor in parameters.items()}


def factors(parameters: Parameters) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return up, (rows, rank), and down, (rank, columns), whose product is ΔW; None if it is not such a product.

    Raises:
        FileError: the module is of no known kind, or its shapes do not fit each other.
    """
    if kind(parameters) != "lora" or "lora_mid.weight" in parameters:
        return None
    p = _prepared(parameters)
    return p["lora_up.weight"].flatten(1) * _scale(p), p["lora_down.weight"].flatten(1)


def output_rows(parameters: Parameters) -> int | None:
    """Return the output width of a module with `parameters`; None if they do not determine it.

    Raises:
        FileError: the module is of no known kind, or its shapes do not fit each other.
    """
    if change_kind(parameters) == "lora":
        check(_shapes(parameters))
        return parameters["lora_up.weight"].shape[0]
    change = change_without_base({n: p for n, p in parameters.items() if n not in ("dora_scale", "magnitude")})
    return None if change is None else change.shape[0]


def change_without_base(parameters: Parameters) -> torch.Tensor | None:
    """Return ΔW as (rows, columns) if it does not depend on the weight that it changes, otherwise None.

    Raises:
        FileError: the module is of no known kind, or its shapes do not fit each other.
    """
    p = _prepared(parameters)
    form = kind(p)
    if form not in _WITHOUT_BASE:
        return None
    try:
        change = _FUNCTIONS[form](p, torch.empty(0))
    except (RuntimeError, ValueError, IndexError) as error:
        shapes = shapes_text(_shapes(parameters))
        raise FileError(t("the shapes of a module do not fit together: {shapes}", shapes=shapes)) from error
    _check_finite(change, parameters)
    return change.flatten(1) if change.dim() > 1 else change.reshape(1, -1)


def delta(parameters: Parameters, weight: torch.Tensor) -> Delta:
    """Return what a module with `parameters` adds to `weight`, of any floating dtype, at strength 1.

    Raises:
        FileError: the module is of no known kind, its shapes do not fit the weight's, or ΔW would not be finite.
    """
    p = _prepared(parameters, weight.device)
    w = weight.detach().to(torch.float32)
    try:
        change = _FUNCTIONS[change_kind(p)](p, w).reshape(w.shape)
        if kind(p) == "dora":
            change = _decomposed(p, w, change)
    except (RuntimeError, ValueError, IndexError) as error:
        shapes = shapes_text(_shapes(parameters))
        misfit = t("a module with {shapes} does not fit a weight of shape {shape}", shapes=shapes, shape=tuple(w.shape))
        raise FileError(misfit) from error
    bias = _bias(p)
    if bias is not None and bias.numel() != w.shape[0]:
        counts = {"count": bias.numel(), "outputs": w.shape[0]}
        raise FileError(t("a module changes a bias of {count} values, but the layer has {outputs} outputs", **counts))
    if bool(w.isfinite().all()):
        _check_finite(change, parameters)
    return Delta(change, bias)


def _bias(p: Parameters) -> torch.Tensor | None:
    """Return the change of the bias, (rows,); PEFT's bias of the second factor is scaled like the factors."""
    bias = p.get("b_norm", p.get("diff_b"))
    if "lora_up.bias" in p:
        of_factor = p["lora_up.bias"] * _scale(p)
        bias = of_factor if bias is None else bias + of_factor
    return None if bias is None else bias.flatten()


def _check_finite(change: torch.Tensor, parameters: Parameters) -> None:
    if not bool(change.isfinite().all()):
        shapes = shapes_text(_shapes(parameters))
        raise FileError(
            t(
                "the change of a module with {shapes} is not finite: it contains NaN, infinity or huge numbers",
                shapes=shapes,
            )
        )


def _decomposed(p: Parameters, weight: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """Return DoRA's change: the direction of W + ΔW with the trained magnitude, minus W (arXiv 2402.09353).

    `magnitude`, as PEFT writes it, is always per output; `dora_scale` is per output or per input, depending on its
    shape.
    """
    from lycoris.functional.general import weight_decompose

    if weight.dim() < 2:
        raise ValueError("DoRA cannot decompose a vector")
    magnitude = p["magnitude"] if "magnitude" in p else p["dora_scale"]
    by_output = "magnitude" in p or magnitude.dim() == 1 or magnitude.shape[0] == weight.shape[0]
    axes = [1] * (weight.dim() - 2)
    magnitude = (
        magnitude.reshape(weight.shape[0], 1, *axes) if by_output else magnitude.reshape(1, weight.shape[1], *axes)
    )
    merged: torch.Tensor = weight_decompose(weight + change, magnitude, 1, by_output)
    return merged - weight
