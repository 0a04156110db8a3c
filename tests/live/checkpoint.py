"""A checkpoint's modules (original LDM layout): their names in LoRA files, shapes and blocks."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

UNET = "model.diffusion_model."
DTYPES = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
# The layouts of SYNTAX.md, section 3, written out again on purpose: tests have their own source.
LAYOUTS = {
    "sd1": {
        17: "BASE IN01 IN02 IN04 IN05 IN07 IN08 M00 OUT03 OUT04 OUT05 OUT06 OUT07 OUT08 OUT09 OUT10 OUT11",
        26: "BASE IN00 IN01 IN02 IN03 IN04 IN05 IN06 IN07 IN08 IN09 IN10 IN11 M00 "
        "OUT00 OUT01 OUT02 OUT03 OUT04 OUT05 OUT06 OUT07 OUT08 OUT09 OUT10 OUT11",
    },
    "sdxl": {
        12: "BASE IN04 IN05 IN07 IN08 M00 OUT00 OUT01 OUT02 OUT03 OUT04 OUT05",
        20: "BASE IN00 IN01 IN02 IN03 IN04 IN05 IN06 IN07 IN08 M00 "
        "OUT00 OUT01 OUT02 OUT03 OUT04 OUT05 OUT06 OUT07 OUT08",
    },
}
RESNET_DIFFUSERS = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}


@dataclass(frozen=True)
class Module:
    """One layer with a weight. `path` is dotted: the LDM path, or `te.…` for a text encoder."""

    path: str
    tensor: str
    shape: tuple[int, ...]
    ldm_name: str
    diffusers_name: str
    block: str

    @property
    def fan_in(self) -> int:
        return int(np.prod(self.shape[1:]))


class Checkpoint:
    """Reads the header at once and single tensors when asked, without torch."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header: dict[str, Any] = json.loads(file.read(size))
        header.pop("__metadata__", None)
        self._header = header
        self._data_start = 8 + size

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor's shape, by its name."""
        return {name: tuple(entry["shape"]) for name, entry in self._header.items()}

    @property
    def architecture(self) -> str:
        return "sdxl" if UNET + "label_emb.0.0.weight" in self._header else "sd1"

    @property
    def layouts(self) -> dict[int, list[str]]:
        """The layouts that this model's LoRAs accept: count → block ids in order."""
        return {count: ids.split() for count, ids in LAYOUTS[self.architecture].items()}

    @cached_property
    def modules(self) -> dict[str, Module]:
        """Every module that a LoRA file can name, by its path."""
        found = {}
        for tensor, entry in self._header.items():
            module = _module(tensor, tuple(entry["shape"]), self.architecture)
            if module:
                found[module.path] = module
        return found

    def weight(self, module: Module) -> np.ndarray:
        """The module's weight as float32."""
        return self._read(module.tensor).reshape(module.shape)

    def deviation(self, tensor: str) -> float:
        """The standard deviation of a tensor's first numbers, of a million at most."""
        return float(self._read(tensor, 10**6).std())

    def _read(self, tensor: str, at_most: int | None = None) -> np.ndarray:
        entry = self._header[tensor]
        begin, end = entry["data_offsets"]
        dtype = np.uint16 if entry["dtype"] == "BF16" else DTYPES[entry["dtype"]]
        with self.path.open("rb") as file:
            file.seek(self._data_start + begin)
            size = end - begin if at_most is None else min(end - begin, at_most * np.dtype(dtype).itemsize)
            flat = np.frombuffer(file.read(size), dtype)
        if entry["dtype"] == "BF16":
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        return flat.astype(np.float32)


def _module(tensor: str, shape: tuple[int, ...], architecture: str) -> Module | None:
    if not tensor.endswith(".weight"):
        return None
    if tensor.startswith(UNET):
        path = tensor[len(UNET) : -len(".weight")]
        ldm = "lora_unet_" + path.replace(".", "_")
        diffusers = "lora_unet_" + _diffusers_path(path).replace(".", "_")
        return Module(path, tensor, shape, ldm, diffusers, _block(path, architecture))
    encoder = _text_encoder_name(tensor)
    if encoder is None:
        return None
    number, rest = encoder
    name = f"lora_te{number}_{rest.replace('.', '_')}"
    return Module(f"te{number}.{rest}", tensor, shape, name, name, "BASE")


def _text_encoder_name(tensor: str) -> tuple[str, str] | None:
    """("" | "1" | "2", path as diffusers writes it) of a text encoder's layer."""
    name = tensor[: -len(".weight")]
    for prefix, number in (
        ("cond_stage_model.transformer.", ""),
        ("conditioner.embedders.0.transformer.", "1"),
    ):
        if name.startswith(prefix + "text_model.encoder.layers."):
            return number, name[len(prefix) :]
    found = re.match(
        r"(cond_stage_model|conditioner\.embedders\.1)\.model\.transformer\.resblocks\.(\d+)"
        r"\.mlp\.c_(fc|proj)$",
        name,
    )
    if found:
        layer = "fc1" if found.group(3) == "fc" else "fc2"
        number = "" if found.group(1) == "cond_stage_model" else "2"
        return number, f"text_model.encoder.layers.{found.group(2)}.mlp.{layer}"
    return None


def _block(path: str, architecture: str) -> str:
    room, _, rest = path.partition(".")
    number = int(rest.split(".")[0]) if rest.split(".")[0].isdigit() else 0
    if room == "input_blocks":
        return f"IN{number:02}"
    if room == "output_blocks":
        return f"OUT{number:02}"
    if room == "middle_block":
        return "M00"
    if room == "out":
        return "OUT08" if architecture == "sdxl" else "OUT11"
    return "BASE"


def _diffusers_path(path: str) -> str:
    """The diffusers name of a layer of an LDM U-Net with two resnets a level."""
    parts = path.split(".")
    room = parts[0]
    if room == "time_embed":
        return f"time_embedding.linear_{int(parts[1]) // 2 + 1}"
    if room == "label_emb":
        return f"add_embedding.linear_{int(parts[2]) // 2 + 1}"
    if room == "out":
        return {"0": "conv_norm_out", "2": "conv_out"}[parts[1]]
    number = int(parts[1])
    if room == "middle_block":
        kind = "attentions.0" if number == 1 else f"resnets.{number // 2}"
        return f"mid_block.{kind}.{_inner('.'.join(parts[2:]))}"
    slot, inner = parts[2], ".".join(parts[3:])
    if room == "input_blocks":
        if number == 0:
            return "conv_in"
        level, place = divmod(number - 1, 3)
        if inner == "op":
            return f"down_blocks.{level}.downsamplers.0.conv"
        kind = "resnets" if slot == "0" else "attentions"
        return f"down_blocks.{level}.{kind}.{place}.{_inner(inner)}"
    level, place = divmod(number, 3)
    if inner == "conv":
        return f"up_blocks.{level}.upsamplers.0.conv"
    kind = "resnets" if slot == "0" else "attentions"
    return f"up_blocks.{level}.{kind}.{place}.{_inner(inner)}"


def _inner(layer: str) -> str:
    return RESNET_DIFFUSERS.get(layer, layer)
