"""LoRAs made by LyCORIS and PEFT themselves, with random numbers, and the weights that their layers then apply."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

RANK = 4
Weights = tuple[torch.Tensor, "torch.Tensor | None"]

# Layers of SDXL: the name tells the model, and the shapes are small ones.
ATTENTION = "up_blocks.0.attentions.1.transformer_blocks.1.attn2.to_q"
SQUARE = "up_blocks.0.attentions.1.transformer_blocks.1.attn2.to_out.0"
CONV1 = "up_blocks.0.resnets.0.conv_shortcut"
CONV3 = "up_blocks.0.resnets.0.conv1"
NORM = "up_blocks.0.attentions.1.transformer_blocks.1.norm1"
LAYERS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "linear": (ATTENTION, lambda: nn.Linear(16, 32)),
    "linear, square": (SQUARE, lambda: nn.Linear(16, 16)),
    "conv 1×1": (CONV1, lambda: nn.Conv2d(16, 32, 1)),
    "conv 3×3": (CONV3, lambda: nn.Conv2d(16, 32, 3, padding=1)),
    "norm": (NORM, lambda: nn.LayerNorm(32)),
}
PLAIN = ("linear", "linear, square", "conv 1×1", "conv 3×3")


@dataclass(frozen=True)
class Case:
    """One kind and variant of a LoRA as a library makes it.

    layers: that it is made for. options: of the library's module or configuration. alpha: None where the file is to
    have none.
    """

    library: str
    kind: str
    variant: str
    layers: tuple[str, ...] = PLAIN
    options: dict[str, Any] = field(default_factory=dict)
    alpha: float | None = 2.0

    def __str__(self) -> str:
        return f"{self.library} {self.kind} {self.variant}".strip()


@dataclass(frozen=True)
class Made:
    """A LoRA for one layer: its file, the layer's base, and what the library makes of the base at a strength."""

    path: Path
    base: Weights
    at: Callable[[float], Weights]


def applied(call: Callable[[torch.Tensor], torch.Tensor], shape: torch.Size) -> Weights:
    """Return the weight, of `shape`, and the bias that `call` applies, from what it answers to unit inputs."""
    inputs = shape[1]
    if len(shape) == 2:
        bias = call(torch.zeros(1, inputs))[0]
        return (call(torch.eye(inputs)) - bias).T, bias
    size, middle = shape[2], shape[2] // 2
    units = torch.zeros(inputs, inputs, size, size)
    units[range(inputs), range(inputs), middle, middle] = 1
    bias = call(torch.zeros(1, inputs, size, size))[0, :, middle, middle]
    answers = call(units) - bias.reshape(1, -1, 1, 1)
    return answers.flip(2, 3).transpose(0, 1), bias  # a convolution meets a unit input with its kernel turned round


def fill(module: nn.Module, dtype: torch.dtype, generator: torch.Generator) -> None:
    """Give the trainable parameters of `module` random numbers that `dtype` holds exactly."""
    for name, parameter in module.named_parameters():
        if "base_layer" in name:
            continue
        noise = torch.randn(parameter.shape, generator=generator) * 0.5
        if any(part in name for part in ("dora_scale", "magnitude", "rescale")):
            noise = parameter.detach() * (1 + noise / 4)
        parameter.data.copy_(noise.to(dtype).float())


def layer_of(kind: str, dtype: torch.dtype, generator: torch.Generator) -> nn.Module:
    """Return a layer with random numbers that `dtype` holds exactly."""
    layer = LAYERS[kind][1]().requires_grad_(False)
    for parameter in layer.parameters():
        parameter.copy_((torch.randn(parameter.shape, generator=generator) * 0.2).to(dtype).float())
    return layer


@torch.no_grad()
def make(case: Case, layer_kind: str, dtype: torch.dtype, folder: Path) -> Made:
    """Return what `case` is for a layer of a kind, its tensors stored as `dtype`."""
    generator = torch.Generator().manual_seed(7)
    layer = layer_of(layer_kind, dtype, generator)
    base = layer.weight.clone(), layer.bias.clone()
    maker = _lycoris if case.library == "LyCORIS" else _peft
    tensors, at = maker(case, layer_kind, layer, dtype, generator, folder)
    tensors = {
        name: tensor.detach().to(dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        for name, tensor in tensors.items()
    }
    save_file(tensors, str(folder / "adapter_model.safetensors"))
    return Made(folder / "adapter_model.safetensors", base, at)


def _lycoris(
    case: Case, layer_kind: str, layer: nn.Module, dtype: torch.dtype, generator: torch.Generator, folder: Path
) -> tuple[dict[str, torch.Tensor], Callable[[float], Weights]]:
    from lycoris import modules

    makers = {
        "lora": modules.LoConModule, "loha": modules.LohaModule, "lokr": modules.LokrModule,
        "dora": modules.LoConModule, "doha": modules.LohaModule, "dokr": modules.LokrModule,
        "full": modules.FullModule, "norm": modules.NormModule,
        "oft": modules.DiagOFTModule, "boft": modules.ButterflyOFTModule, "glora": modules.GLoRAModule,
        "ia3": modules.IA3Module,
    }  # fmt: skip
    options = {"lora_dim": RANK, **case.options}
    options["alpha"] = options["lora_dim"] if case.alpha is None else case.alpha
    module = makers[case.kind]("l", layer, 1.0, **options).eval().requires_grad_(False)
    shape = layer.weight.shape
    fill(module, dtype, generator)
    if case.kind == "norm":
        return _named(module, layer_kind), lambda strength: module.get_merged_weight(strength)
    if case.kind == "full":
        tensors = {"diff": module.weight.clone(), "diff_b": module.bias.clone()}
        prefix = "lora_unet_" + LAYERS[layer_kind][0].replace(".", "_")
        tensors = {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}
    else:
        tensors = _named(module, layer_kind)
    if case.alpha is None:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith(".alpha")}
    module.apply_to()

    def at(strength: float) -> Weights:
        module.multiplier = strength
        return applied(layer, shape)

    return tensors, at


def _named(module: nn.Module, layer_kind: str) -> dict[str, torch.Tensor]:
    prefix = "lora_unet_" + LAYERS[layer_kind][0].replace(".", "_")
    return {f"{prefix}.{name}": tensor.clone() for name, tensor in module.state_dict().items()}


def _peft(
    case: Case, layer_kind: str, layer: nn.Module, dtype: torch.dtype, generator: torch.Generator, folder: Path
) -> tuple[dict[str, torch.Tensor], Callable[[float], Weights]]:
    import peft

    makers = {
        "lora": peft.LoraConfig, "dora": peft.LoraConfig, "loha": peft.LoHaConfig, "lokr": peft.LoKrConfig,
        "oftv2": peft.OFTConfig,
    }  # fmt: skip
    path = LAYERS[layer_kind][0]
    config = makers[case.kind](target_modules=[path], **case.options)
    with _quiet():
        model = peft.get_peft_model(tree(path, layer), config).eval()
        adapted = model.base_model.model.get_submodule(path)
        fill(adapted, dtype, generator)
        tensors = peft.get_peft_model_state_dict(model)
        model.peft_config["default"].save_pretrained(str(folder))

    if case.variant == "merged":
        bias = layer.bias.clone()
        adapted.merge()
        merged = layer.weight.clone()
        return tensors, lambda strength: (merged, bias)

    def at(strength: float) -> Weights:
        with _quiet():
            adapted.scale_layer(strength)
            try:
                return applied(adapted, layer.weight.shape)
            finally:
                adapted.scale_layer(1 / strength)

    return tensors, at


def tree(path: str, layer: nn.Module) -> nn.Module:
    """Return a module that has `layer` at `path`."""
    root = nn.Module()
    here = root
    *way, last = path.split(".")
    for name in way:
        here.add_module(name, nn.Module())
        here = here.get_submodule(name)
    here.add_module(last, layer)
    return root


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
