"""What the doubles of the hosts add to a weight for each kind of LoRA, at strength 1.

Written from the formulas, apart from what the tests compare it with (`reference.py`).
"""

from __future__ import annotations

import torch

Parameters = dict[str, torch.Tensor]


def difference(p: Parameters, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return what is to be added to `weight`, and to the bias, for the parameters `p` of one layer."""
    shape = weight.shape
    bias = p.get("diff_b", p.get("b_norm"))
    if "lora_mid.weight" in p:
        out, inner = p["lora_up.weight"].flatten(1), p["lora_down.weight"].flatten(1)
        delta = torch.einsum("op,pqkl,qi->oikl", out, p["lora_mid.weight"], inner) * _scale(p, inner.shape[0])
    elif "lora_up.weight" in p:
        down = p["lora_down.weight"]
        delta = p["lora_up.weight"].flatten(1) @ down.flatten(1) * _scale(p, down.shape[0])
    elif "hada_w1_a" in p:
        first, second = p["hada_w1_a"] @ p["hada_w1_b"], p["hada_w2_a"] @ p["hada_w2_b"]
        delta = first * second * _scale(p, p["hada_w1_b"].shape[0])
    elif "lokr_w1" in p:
        inner = p["lokr_w2_b"]
        delta = torch.kron(p["lokr_w1"], p["lokr_w2_a"] @ inner) * _scale(p, inner.shape[0])
    elif "diff" in p:
        delta = p["diff"]
    elif "w_norm" in p:
        delta = p["w_norm"]
    elif "a1.weight" in p:
        # These hosts take the factors of early GLoRA files: each pair in the order second, first.
        delta = p["b2.weight"] @ p["b1.weight"] + weight @ p["a2.weight"] @ p["a1.weight"]
    elif "on_input" in p:
        delta = weight * (p["weight"] if p["on_input"] else p["weight"].reshape(-1, 1))
    elif "oft_blocks" in p:
        delta = _rotated(p["oft_blocks"], weight) - weight
    else:
        raise KeyError(f"no kind has {', '.join(p)}")
    delta = delta.reshape(shape)
    if "dora_scale" in p:
        merged = weight + delta
        norm = merged.transpose(0, 1).flatten(1).norm(dim=1).reshape(1, -1, *[1] * (weight.dim() - 2))
        delta = merged * (p["dora_scale"] / norm) - weight
    return delta, bias


def _scale(p: Parameters, rank: int) -> float:
    return float(p["alpha"]) / rank if "alpha" in p else 1.0


def _rotated(blocks: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return `weight` with its output rotated block by block, by Cayley's transform of the skew part of `blocks`."""
    count, size, _ = blocks.shape
    skew = blocks - blocks.transpose(1, 2)
    eye = torch.eye(size)
    rotation = (eye + skew) @ torch.linalg.inv(eye - skew)
    return (rotation.transpose(1, 2) @ weight.reshape(count, size, -1)).reshape(weight.shape)


def split(tensors: Parameters) -> dict[str, Parameters]:
    """Return the parameters of a LoRA file by layer; a layer's name ends at the first point."""
    result: dict[str, Parameters] = {}
    for key, tensor in tensors.items():
        layer, _, parameter = key.partition(".")
        result.setdefault(layer, {})[parameter] = tensor
    return result
