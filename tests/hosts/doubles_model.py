"""A model of a few small layers whose tensors are named as those of Stable Diffusion 1 are."""

from __future__ import annotations

import torch
from torch import nn

WIDTH = 8
TEXT_WIDTH = 768  # what cross-attention reads tells the hosts' models apart
FC1 = "transformer.text_model.encoder.layers.0.mlp.fc1"
TO_K = "input_blocks.1.1.transformer_blocks.0.attn2.to_k"
NORM = "input_blocks.4.0.in_layers.0"
CONV = "input_blocks.4.0.in_layers.2"
IN04 = "input_blocks.4.1.proj_in"
IN04_Q = "input_blocks.4.1.transformer_blocks.0.attn1.to_q"
MIDDLE = "middle_block.1.proj_in"
OUT03 = "output_blocks.3.1.proj_in"
OUT11 = "output_blocks.11.1.proj_in"
TIME = "time_embed.0"
ATTENTION = "model.transformer.resblocks.0.attn"  # OpenCLIP's, all projections in one layer


def _square() -> nn.Module:
    return nn.Linear(WIDTH, WIDTH)


DENOISER = {
    TO_K: lambda: nn.Linear(TEXT_WIDTH, WIDTH, bias=False),
    NORM: lambda: nn.GroupNorm(2, WIDTH),
    CONV: lambda: nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
    **dict.fromkeys((IN04, IN04_Q, MIDDLE, OUT03, OUT11, TIME), _square),
}
ENCODER = {FC1: _square}
BLOCKS = {
    FC1: "BASE", TIME: "BASE", TO_K: "IN01", NORM: "IN04", CONV: "IN04", IN04: "IN04", IN04_Q: "IN04",
    MIDDLE: "M00", OUT03: "OUT03", OUT11: "OUT11",
}  # fmt: skip


def grow(layers: dict[str, nn.Module]) -> nn.Module:
    """Return a tree of modules with `layers` at their dotted paths."""
    root = nn.Module()
    for path, layer in layers.items():
        *parents, last = path.split(".")
        place = root
        for name in parents:
            if not hasattr(place, name):
                place.add_module(name, nn.Module())
            place = getattr(place, name)
        place.add_module(last, layer)
    return root


def denoiser(seed: int = 0) -> nn.Module:
    """Return a denoiser with random weights, its layers below `diffusion_model`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return grow({f"diffusion_model.{path}": make() for path, make in DENOISER.items()}).requires_grad_(False)


def encoder(seed: int = 0, fused: bool = False) -> nn.Module:
    """Return a text encoder with random weights. fused: with a layer that holds all projections of an attention."""
    with torch.random.fork_rng():
        torch.manual_seed(seed + 1)
        layers = {path: make() for path, make in ENCODER.items()}
        if fused:
            layers[ATTENTION] = nn.MultiheadAttention(WIDTH, 2)
        return grow(layers).requires_grad_(False)


def copies(*models: nn.Module) -> dict[str, torch.Tensor]:
    """Return copies of all tensors of `models` by name; a denoiser's without what stands before their LDM path."""
    return {
        name.removeprefix("diffusion_model."): parameter.detach().clone()
        for model in models
        for name, parameter in model.named_parameters()
    }


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Tell whether two models' tensors are the same bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def differing(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> set[str]:
    """Return the paths of the layers that have a tensor that differs."""
    return {name.rpartition(".")[0] for name in a if not torch.equal(a[name], b[name])}
