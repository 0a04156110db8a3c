"""Random LoRAs of every kind, and what they do to a weight according to LyCORIS' own modules."""

from __future__ import annotations

import torch
from torch import nn

from .doubles_model import CONV, DENOISER, ENCODER, FC1, NORM, WIDTH

RANK = 2
LINEAR_KINDS = ("lora", "locon", "loha", "lokr", "full", "norm")
ALL_KINDS = (*LINEAR_KINDS, "locon mid", "glora", "ia3", "oft", "dora")
FORGE_KINDS = (*LINEAR_KINDS, "locon mid", "glora", "dora")


def key(path: str) -> str:
    """Return the name of the layer at `path` in a file of kohya's naming."""
    if path in ENCODER:
        return "lora_te_" + path.removeprefix("transformer.").replace(".", "_")
    return "lora_unet_" + path.replace(".", "_")


def layer_of(path: str) -> nn.Module:
    """Return a layer of the model's shape."""
    return (DENOISER | ENCODER)[path]()


def parameters(kind: str, path: str, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Return random parameters of `kind` for the layer at `path`, small numbers."""
    shape = layer_of(path).weight.shape

    def random(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=generator) * 0.3

    alpha = {"alpha": torch.tensor(1.0)}
    if kind in ("lora", "dora", "locon"):
        up = random(shape[0], RANK, *[1] * (len(shape) - 2))
        found = {"lora_up.weight": up, "lora_down.weight": random(RANK, *shape[1:]), **alpha}
        if kind == "dora":
            found["dora_scale"] = random(1, shape[1], *[1] * (len(shape) - 2)).abs() + 0.5
        return found
    if kind == "locon mid":
        return {
            "lora_up.weight": random(shape[0], RANK, 1, 1),
            "lora_mid.weight": random(RANK, RANK, *shape[2:]),
            "lora_down.weight": random(RANK, shape[1], 1, 1),
            **alpha,
        }
    if kind == "loha":
        halves = [{f"hada_w{i}_a": random(shape[0], RANK), f"hada_w{i}_b": random(RANK, shape[1])} for i in (1, 2)]
        return {**halves[0], **halves[1], **alpha}
    if kind == "lokr":
        rest = (shape[0] // 4, shape[1] // 4)
        w2 = {"lokr_w2_a": random(rest[0], 1), "lokr_w2_b": random(1, rest[1])}
        return {"lokr_w1": random(4, 4), **w2, **alpha}
    if kind == "full":
        found = {"diff": random(*shape)}
        return found if layer_of(path).bias is None else {**found, "diff_b": random(shape[0])}
    if kind == "norm":
        return {"w_norm": random(*shape), "b_norm": random(*shape)}
    if kind == "glora":
        names = ("a1.weight", "a2.weight", "b1.weight", "b2.weight")
        sizes = ((RANK, shape[1]), (shape[1], RANK), (RANK, shape[1]), (shape[0], RANK))
        return {name: random(*size) for name, size in zip(names, sizes)} | {"alpha": torch.tensor(float(RANK))}
    if kind == "ia3":
        return {"weight": random(shape[0], 1), "on_input": torch.tensor(False)}
    assert kind == "oft"
    return {"oft_blocks": random(2, shape[0] // 2, shape[0] // 2), "alpha": torch.tensor(0.0)}


def target(kind: str, path: str) -> bool:
    """Tell whether a LoRA of `kind` can change the layer at `path`."""
    if path == NORM:
        return kind == "norm"
    if path == CONV:
        return kind in ("locon", "locon mid", "full", "dora")
    return kind not in ("norm", "locon mid")


def lora(kind: str, paths: tuple[str, ...], seed: int) -> dict[str, torch.Tensor]:
    """Return the tensors of a LoRA file of `kind` for those of the layers `paths` that it can change."""
    generator = torch.Generator().manual_seed(seed)
    return {
        f"{key(path)}.{name}": tensor
        for path in paths
        if target(kind, path)
        for name, tensor in parameters(kind, path, generator).items()
    }


def expected(
    tensors: dict[str, torch.Tensor], base: dict[str, torch.Tensor], multipliers: dict[str, float]
) -> dict[str, torch.Tensor]:
    """Return the tensors `base` of a model with a LoRA, by LyCORIS: base + multiplier × (its merged weight − base)."""
    result = dict(base)
    for path, multiplier in multipliers.items():
        own = {name.partition(".")[2]: t for name, t in tensors.items() if name.startswith(key(path) + ".")}
        if not own:
            continue
        weight, bias = base[f"{path}.weight"], base.get(f"{path}.bias")
        merged, merged_bias = _merged(own, path, weight, bias)
        result[f"{path}.weight"] = weight + multiplier * (merged - weight)
        if merged_bias is not None:
            result[f"{path}.bias"] = bias + multiplier * (merged_bias - bias)
    return result


@torch.no_grad()
def _merged(
    own: dict[str, torch.Tensor], path: str, weight: torch.Tensor, bias: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    from lycoris.functional import diag_oft, loha, lokr
    from lycoris.modules import IA3Module, LoConModule, get_module, make_module

    layer = layer_of(path).requires_grad_(False)
    layer.weight.copy_(weight)
    if bias is not None:
        layer.bias.copy_(bias)
    if "on_input" in own:
        module = IA3Module("l", layer, 1)
        module.weight.copy_(own["weight"].reshape(module.weight.shape))
        return module.get_merged_weight(1)
    if "hada_w1_a" in own:
        factors = [own[f"hada_w{i}_{side}"] for i in (1, 2) for side in "ba"]
        return weight + loha.diff_weight(*factors, None, None, gamma=1 / RANK), bias
    if "lokr_w1" in own:
        second = (None, own["lokr_w2_a"], own["lokr_w2_b"], None)
        return weight + lokr.diff_weight(own["lokr_w1"], None, None, *second, gamma=1.0), bias
    if "oft_blocks" in own:
        return weight + diag_oft.diff_weight(weight, own["oft_blocks"], None, constraint=0), bias
    if "dora_scale" in own:
        # Of both axes that LyCORIS can normalize along, this is the one of files for these hosts.
        module = LoConModule("l", layer, 1, RANK, float(own["alpha"]), weight_decompose=True, wd_on_out=False)
        for name in ("lora_up.weight", "lora_down.weight", "dora_scale"):
            module.get_parameter(name).copy_(own[name])
        return module.get_merged_weight(1)[0], bias
    if "a1.weight" in own:
        # Today's LyCORIS exchanged the factors' names; the hosts read files of before.
        own = {name[0] + {"1": "2", "2": "1"}.get(name[1], name[1]) + name[2:]: t for name, t in own.items()}
    if "w_norm" in own or "diff" in own:
        names = ("w_norm", "b_norm") if "w_norm" in own else ("diff", "diff_b")
        return weight + own[names[0]], None if bias is None else bias + own[names[1]]
    kind, found = get_module({f"l.{name}": tensor for name, tensor in own.items()}, "l")
    return make_module(kind, found, "l", layer).get_merged_weight(1)


EVERYWHERE = (FC1, *DENOISER)
assert WIDTH % 4 == 0
