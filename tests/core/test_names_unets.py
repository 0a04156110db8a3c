"""The weights of the U-Nets: diffusers' own, and the names of the original that follow from them.

Where a block stands follows from two numbers: `down_blocks.I.….J` is the (3·I + J + 1)th input block, and
`up_blocks.I.….J` the (3·I + J)th output block. The original's names that this gives for SD 1.x, SDXL and its refiner
are those of Forge Neo's class (backend/nn/unet.py), with the same shapes.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest

from lbw.core.architectures import by_name
from lbw.core.blocks import locate
from lbw.core.detect import detect_lora, detect_model

from .names.spellings import Shapes, lora, name_in_file

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

_CROSS = ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D")
SETTINGS: dict[str, dict[str, Any]] = {
    "sd1": {
        "block_out_channels": (320, 640, 1280, 1280),
        "down_block_types": (_CROSS[0],) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + (_CROSS[1],) * 3,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
    },
    "sd2": {
        "block_out_channels": (320, 640, 1280, 1280),
        "down_block_types": (_CROSS[0],) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + (_CROSS[1],) * 3,
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
    },
    "sdxl": {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", _CROSS[0], _CROSS[0]),
        "up_block_types": (_CROSS[1], _CROSS[1], "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "cross_attention_dim": 2048,
        "attention_head_dim": (5, 10, 20),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
    "sdxl-refiner": {
        "block_out_channels": (384, 768, 1536, 1536),
        "down_block_types": ("DownBlock2D", _CROSS[0], _CROSS[0], "DownBlock2D"),
        "up_block_types": ("UpBlock2D", _CROSS[1], _CROSS[1], "UpBlock2D"),
        "transformer_layers_per_block": 4,
        "cross_attention_dim": 1280,
        "attention_head_dim": (6, 12, 24, 24),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2560,
    },
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE = {
    "conv_in": ("input_blocks.0.0", "IN00"),
    "time_embedding.linear_1": ("time_embed.0", "BASE"),
    "time_embedding.linear_2": ("time_embed.2", "BASE"),
    "add_embedding.linear_1": ("label_emb.0.0", "BASE"),
    "add_embedding.linear_2": ("label_emb.0.2", "BASE"),
    "conv_norm_out": ("out.0", ""),
    "conv_out": ("out.2", ""),
}


@cache
def _weights(name: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights of diffusers' U-Net of `name`, by module."""
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(sample_size=64, **SETTINGS[name])
    return {k.removesuffix(".weight"): tuple(p.shape) for k, p in unet.named_parameters() if k.endswith(".weight")}


def _place(module: str, name: str) -> tuple[str, str]:
    """Return the original's name of a `module` of diffusers, and its block."""
    stages = len(SETTINGS[name]["block_out_channels"])
    if module in _OUTSIDE:
        original, block = _OUTSIDE[module]
        return original, block or f"OUT{3 * stages - 1:02}"
    parts = module.split(".")
    if parts[0] == "mid_block":
        kind, j, rest = parts[1], int(parts[2]), parts[3:]
        inner = f"{2 * j}.{_RESNET[rest[0]]}" if kind == "resnets" else "1." + ".".join(rest)
        return f"middle_block.{inner}", "M00"
    side, i, kind, j, rest = parts[0], int(parts[1]), parts[2], int(parts[3]), parts[4:]
    if kind == "downsamplers":
        return f"input_blocks.{3 * i + 3}.0.op", f"IN{3 * i + 3:02}"
    if kind == "upsamplers":
        attention = SETTINGS[name]["up_block_types"][i] == _CROSS[1]
        return f"output_blocks.{3 * i + 2}.{2 if attention else 1}.conv", f"OUT{3 * i + 2:02}"
    number = 3 * i + j + (side == "down_blocks")
    inner = f"0.{_RESNET[rest[0]]}" if kind == "resnets" else "1." + ".".join(rest)
    if side == "down_blocks":
        return f"input_blocks.{number}.{inner}", f"IN{number:02}"
    return f"output_blocks.{number}.{inner}", f"OUT{number:02}"


ORIGINAL_PREFIXES = ["lora_unet_", "diffusion_model.", "model.diffusion_model.", "lycoris_", "base_model.model."]
DIFFUSERS_PREFIXES = ["lora_unet_", "unet.", "", "lycoris_", "base_model.model.unet.", "base_model.model."]


@pytest.mark.parametrize("prefix", DIFFUSERS_PREFIXES)
@pytest.mark.parametrize("name", SETTINGS)
def test_every_weight_stands_in_its_block_in_diffusers_naming(name: str, prefix: str) -> None:
    where = by_name(name)
    wrong = {}
    for module in _weights(name):
        original, block = _place(module, name)
        site = locate(name_in_file(module, prefix), where)
        if (site.block, site.is_known) != (block, True) or not site.path.endswith(original.replace(".", "_")):
            wrong[module] = (site, original, block)
    assert wrong == {}


@pytest.mark.parametrize("prefix", ORIGINAL_PREFIXES)
@pytest.mark.parametrize("name", SETTINGS)
def test_every_weight_stands_in_its_block_in_the_original_naming(name: str, prefix: str) -> None:
    where = by_name(name)
    wrong = {}
    for module in _weights(name):
        original, block = _place(module, name)
        site = locate(name_in_file(original, prefix), where)
        if (site.block, site.is_known) != (block, True):
            wrong[original] = (site, block)
    assert wrong == {}


def _file(name: str, original: bool, chosen: str = "") -> Shapes:
    shapes = {}
    for module, shape in _weights(name).items():
        if len(shape) > 1 and re.search(chosen, module):
            path = _place(module, name)[0] if original else module
            shapes |= {name_in_file(path, "lora_unet_") + suffix: s for suffix, s in lora(shape).items()}
    return shapes


@pytest.mark.parametrize("original", [True, False], ids=["original", "diffusers"])
@pytest.mark.parametrize("chosen", ["", "attn", "attn2"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_lora_of_a_unet_is_of_its_model(name: str, chosen: str, original: bool) -> None:
    found = detect_lora(_file(name, original, chosen))
    assert found.architecture is not None
    assert found.architecture.name == name
    assert not found.remarks


@pytest.mark.parametrize("name", SETTINGS)
def test_a_model_is_told_by_its_own_weights(name: str) -> None:
    original = {"diffusion_model." + _place(m, name)[0] + ".weight": shape for m, shape in _weights(name).items()}
    theirs = {m + ".weight": shape for m, shape in _weights(name).items()}
    for shapes in (original, theirs):
        found = detect_model(shapes)
        assert found is not None
        assert found.name == name


def test_mugen_is_an_sdxl_with_more_channels() -> None:
    """Forge Neo's huggingface_guess/model_list.py: SDXL's blocks, 32 channels out."""
    shapes = {"diffusion_model." + _place(m, "sdxl")[0] + ".weight": shape for m, shape in _weights("sdxl").items()}
    shapes["diffusion_model.input_blocks.0.0.weight"] = (320, 32, 3, 3)
    shapes["diffusion_model.out.2.weight"] = (32, 320, 3, 3)
    found = detect_model(shapes)
    assert found is not None
    assert found.name == "sdxl"
