"""LoRA in kohya's manner: the names of sd-scripts, the layers, the files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from store import write_tensors

Layer = torch.nn.Linear | torch.nn.Conv2d
RESNET_NAMES = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def ldm_path(name: str) -> str:
    """The path that SDXL's original code has for a module of diffusers' U-Net.

    Raises ValueError for modules outside of the down, middle and up blocks.
    """
    if match := re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.+)", name):
        side, i, kind, j, rest = match.groups()
        number = 3 * int(i) + int(j) + (side == "down")
        block = "input_blocks" if side == "down" else "output_blocks"
        place = f"{block}.{number}.{int(kind == 'attentions')}"
    elif match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)", name):
        kind, j, rest = match.groups()
        place = f"middle_block.{1 if kind == 'attentions' else 2 * int(j)}"
    elif match := re.fullmatch(r"down_blocks\.(\d+)\.downsamplers\.0\.conv", name):
        return f"input_blocks.{3 * int(match[1]) + 3}.0.op"
    elif match := re.fullmatch(r"up_blocks\.(\d+)\.upsamplers\.0\.conv", name):
        return f"output_blocks.{3 * int(match[1]) + 2}.2.conv"
    else:
        raise ValueError(f"no block of the U-Net: {name}")
    return f"{place}.{RESNET_NAMES.get(rest, rest) if kind == 'resnets' else rest}"


def unet_targets(unet: UNet2DConditionModel, convolutions: bool) -> Iterator[tuple[str, Layer]]:
    """(kohya's name, layer): the linear layers of the transformers, or those of the rest too."""
    for name, module in unet.named_modules():
        wanted = ".attentions." in name or (convolutions and re.search(r"\.(resnets|downsamplers|upsamplers)\.", name))
        if wanted and isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            yield "lora_unet_" + ldm_path(name).replace(".", "_"), module


def text_targets(encoder: torch.nn.Module, which: int) -> Iterator[tuple[str, Layer]]:
    """(kohya's name, layer): the linear layers of a text encoder's transformer."""
    for name, module in encoder.named_modules():
        if ".layers." in f".{name}" and isinstance(module, torch.nn.Linear):
            inner = name.removeprefix("text_model.")
            yield f"lora_te{which}_text_model_" + inner.replace(".", "_"), module


def block_of(name: str) -> str:
    """The block id of a tensor by kohya's name: BASE, IN04, M00, OUT01."""
    if name.startswith("lora_te"):
        return "BASE"
    if match := re.match(r"lora_unet_(input|output)_blocks_(\d+)_", name):
        return f"{'IN' if match[1] == 'input' else 'OUT'}{int(match[2]):02d}"
    return "M00"


class LoraLayer(torch.nn.Module):
    """What is added to a layer's output: up(down(x)) * alpha / rank."""

    def __init__(self, layer: Layer, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.alpha = torch.tensor(alpha)
        self.lora_down: Layer
        self.lora_up: Layer
        if isinstance(layer, torch.nn.Conv2d):
            self.lora_down = torch.nn.Conv2d(
                layer.in_channels, rank, layer.kernel_size, layer.stride, layer.padding, bias=False
            )
            self.lora_up = torch.nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        else:
            self.lora_down = torch.nn.Linear(layer.in_features, rank, bias=False)
            self.lora_up = torch.nn.Linear(rank, layer.out_features, bias=False)
        torch.nn.init.zeros_(self.lora_up.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The contribution for the layer's input."""
        result: torch.Tensor = self.lora_up(self.lora_down(x)) * self.scale
        return result


def attach(
    targets: dict[str, Layer], rank: int, alpha: float, dropped: Callable[[str], bool] | None = None
) -> dict[str, LoraLayer]:
    """Puts a new LoRA layer beside every target; the targets' own weights stay as they are."""
    layers = {}
    for name, target in targets.items():
        lora = LoraLayer(target, rank, alpha)
        target.register_forward_hook(lambda _m, args, out, lora=lora: out + lora(args[0]))
        layers[name] = lora
    return layers


def delta(tensors: dict[str, torch.Tensor], name: str, shape: torch.Size) -> torch.Tensor:
    """The weight that a LoRA file adds to the layer of this name at strength one."""
    down = tensors[f"{name}.lora_down.weight"].float()
    up = tensors[f"{name}.lora_up.weight"].float()
    scale = float(tensors[f"{name}.alpha"]) / down.shape[0]
    return (up.flatten(1) @ down.flatten(1)).reshape(shape) * scale


def metadata(name: str, rank: int, alpha: float, words: str, conv: bool = False) -> dict[str, str]:
    """What sd-scripts writes into a LoRA file's header, as far as readers use it."""
    found = {
        "format": "pt",
        "ss_base_model_version": "sdxl_base_v1-0",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(alpha),
        "ss_output_name": name,
        "ss_sd_model_name": "lbw-demo",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        "modelspec.title": name,
        "modelspec.trigger_phrase": words,
    }
    if conv:
        found["ss_network_args"] = f'{{"conv_dim": "{rank}", "conv_alpha": "{alpha}"}}'
    return found


def write_lora(path: Path, layers: dict[str, LoraLayer], about: dict[str, str]) -> None:
    """Writes LoRA layers as a file of kohya's kind, in half precision."""
    tensors = {}
    for name, layer in layers.items():
        tensors[f"{name}.lora_down.weight"] = layer.lora_down.weight
        tensors[f"{name}.lora_up.weight"] = layer.lora_up.weight
        tensors[f"{name}.alpha"] = layer.alpha
    write_tensors(path, tensors, about)
