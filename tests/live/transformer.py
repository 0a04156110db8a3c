"""A checkpoint of a diffusion transformer: its blocks, and LoRAs for it in the namings that hosts read.

Which block a module belongs to comes from the catalogue of names in `core/names`, not from the program. Sizes and
counts come from the checkpoint, so that a model with few or narrow blocks serves as well as a published one.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from core.names import models
from safetensors.numpy import save_file

from .checkpoint import UNET, Checkpoint
from .loras import RANK, STRENGTH, Tensors


@dataclass(frozen=True)
class Plan:
    """What of a family a test LoRA changes.

    order: of the full layout; a stack's letters stand for all of its blocks. main: the stacks of the short layout.
    modules: the original's path, and diffusers' (of a fused one, each of its parts; "" where hosts do not read them);
    `#` is a block's number.
    encoders: by block, the encoder's name in checkpoints, what its names in LoRA files begin with, and a module of it.
    """

    order: str
    main: str
    modules: dict[str, str]
    encoders: dict[str, tuple[str, str, str]]

    @property
    def has_diffusers(self) -> bool:
        """Whether hosts read diffusers' names for this family."""
        return any(self.modules.values())


def under(path: str, names: str) -> str:
    """The names under one path, each paired with it."""
    return " ".join(path + name for name in names.split())


LLM = "model.layers.0.mlp.down_proj"
T5 = "encoder.block.0.layer.1.DenseReluDense.wo"
FLUX = {
    "img_in": "x_embedder",
    "double_blocks.#.img_attn.qkv": under("transformer_blocks.#.attn.", "to_q to_k to_v"),
    "double_blocks.#.txt_attn.proj": "transformer_blocks.#.attn.to_add_out",
    "final_layer.linear": "proj_out",
}
LUMINA = ("context_refiner", "noise_refiner", "layers")
PLANS = {
    "flux": Plan(
        order="CLIP T5 IN D S OUT",
        main="D S",
        modules=FLUX
        | {
            "single_blocks.#.linear1": under("single_transformer_blocks.#.", "attn.to_q attn.to_k attn.to_v proj_mlp"),
            "single_blocks.#.linear2": "single_transformer_blocks.#.proj_out",
        },
        encoders={
            "CLIP": ("clip_l", "lora_te1_", "text_model.encoder.layers.0.mlp.fc1"),
            "T5": ("t5xxl", "lora_te2_", T5),
        },
    ),
    "flux2": Plan(
        order="TE IN D S OUT",
        main="D S",
        modules=FLUX
        | {
            "single_blocks.#.linear1": "single_transformer_blocks.#.attn.to_qkv_mlp_proj",
            "single_blocks.#.linear2": "single_transformer_blocks.#.attn.to_out",
        },
        encoders={"TE": ("qwen3", "text_encoders.qwen3.", LLM)},
    ),
    # Hosts read diffusers' names of Z-Image for it, which no trainer writes.
    "lumina2": Plan(
        order="TE IN CR NR B OUT",
        main="B",
        modules=dict.fromkeys(
            (
                "x_embedder",
                *(f"{stack}.#.attention.{m}" for stack in LUMINA for m in ("qkv", "out")),
                "final_layer.linear",
            ),
            "",
        ),
        encoders={"TE": ("gemma2", "text_encoders.gemma2.", LLM)},
    ),
    "z-image": Plan(
        order="TE IN CR NR B OUT",
        main="B",
        modules={"x_embedder": "all_x_embedder.2-1", "final_layer.linear": "all_final_layer.2-1.linear"}
        | {f"{stack}.#.attention.qkv": under(f"{stack}.#.attention.", "to_q to_k to_v") for stack in LUMINA}
        | {f"{stack}.#.attention.out": f"{stack}.#.attention.to_out.0" for stack in LUMINA},
        encoders={"TE": ("qwen3", "text_encoders.qwen3.", LLM)},
    ),
    "wan": Plan(
        order="TE IN B OUT",
        main="B",
        modules={
            "text_embedding.0": "",
            "blocks.#.self_attn.v": "",
            "blocks.#.cross_attn.o": "",
            "blocks.#.ffn.2": "",
            "head.head": "",
        },
        encoders={"TE": ("umt5xxl", "text_encoders.umt5xxl.transformer.", T5)},
    ),
    "qwen-image": Plan(
        order="TE IN B OUT",
        main="B",
        modules={
            "img_in": "img_in",
            "transformer_blocks.#.attn.to_v": "transformer_blocks.#.attn.to_v",
            "transformer_blocks.#.attn.to_add_out": "transformer_blocks.#.attn.to_add_out",
            "proj_out": "proj_out",
        },
        encoders={"TE": ("qwen25_7b", "text_encoders.qwen25_7b.", LLM)},
    ),
    "krea2": Plan(
        order="TE IN TF B OUT",
        main="B",
        modules={
            "first": "img_in",
            "txtfusion.layerwise_blocks.#.attn.wv": "text_fusion.layerwise_blocks.#.attn.to_v",
            "txtfusion.refiner_blocks.#.mlp.down": "text_fusion.refiner_blocks.#.ff.down",
            "blocks.#.attn.wq": "transformer_blocks.#.attn.to_q",
            "blocks.#.attn.wo": "transformer_blocks.#.attn.to_out.0",
            "last.linear": "final_layer.linear",
        },
        encoders={"TE": ("qwen3vl_4b", "text_encoders.qwen3vl_4b.", LLM)},
    ),
}
FAMILIES = {"flux2-klein-4b": "flux2", "flux2-klein-9b": "flux2", "wan-14b": "wan"}


@dataclass(frozen=True)
class Change:
    """The low-rank change of one weight: `up` times `down`. theirs: diffusers' names of the parts of its output."""

    block: str
    path: str
    theirs: tuple[str, ...]
    up: np.ndarray
    down: np.ndarray
    is_encoder: bool = False

    @property
    def parts(self) -> list[np.ndarray]:
        """`up` by the parts of diffusers: query, key and value are as wide as the input, what follows has the rest."""
        width = self.down.shape[1]
        return np.split(self.up, [width * (n + 1) for n in range(len(self.theirs) - 1)])


def kohya(change: Change) -> Tensors:
    """sd-scripts' form; its alpha halves what the file holds."""
    name = change.path if change.is_encoder else "lora_unet_" + change.path.replace(".", "_")
    return {
        f"{name}.lora_down.weight": change.down,
        f"{name}.lora_up.weight": change.up * np.float16(2),
        f"{name}.alpha": np.array(RANK / 2, np.float16),
    }


def original(change: Change) -> Tensors:
    """ai-toolkit's and diffusion-pipe's form, without alpha."""
    name = f"diffusion_model.{change.path}"
    return {f"{name}.lora_A.weight": change.down, f"{name}.lora_B.weight": change.up}


def diffusers(change: Change) -> Tensors:
    """diffusers' form: its names, and what the original has in one tensor in several."""
    made: Tensors = {}
    for name, up in zip(change.theirs, change.parts, strict=True):
        made[f"transformer.{name}.lora_A.weight"] = change.down
        made[f"transformer.{name}.lora_B.weight"] = up
    return made


def encoder(change: Change) -> Tensors:
    """A text encoder's tensors: kohya's form for CLIP and T5 of Flux.1, the host's own names for others."""
    if change.path.startswith("lora_te"):
        return kohya(change)
    return {f"{change.path}.lora_A.weight": change.down, f"{change.path}.lora_B.weight": change.up}


class Transformer:
    """A diffusion transformer in one file, perhaps with its text encoders."""

    def __init__(self, path: Path) -> None:
        self.checkpoint = Checkpoint(path)
        names = [name for name in self.checkpoint.shapes if name.endswith(".weight")]
        self.prefix = UNET if any(name.startswith(UNET) for name in names) else ""
        own = {name[len(self.prefix) : -len(".weight")] for name in names if name.startswith(self.prefix)}
        known = {
            model.name: {weight.name: weight.block for weight in model.namings["original"]}
            for model in models().values()
            if FAMILIES.get(model.name, model.name) in PLANS
        }
        self.family = max(known, key=lambda name: len(own & known[name].keys()))
        self.blocks_of = {path: block for path, block in known[self.family].items() if path in own}
        self.plan = PLANS[FAMILIES.get(self.family, self.family)]

    @staticmethod
    def fits(path: Path) -> bool:
        """Whether `path` holds a transformer rather than a U-Net."""
        return not any("input_blocks.0.0." in name for name in Checkpoint(path).shapes)

    @property
    def namings(self) -> tuple[str, ...]:
        return ("kohya", "original", "diffusers") if self.plan.has_diffusers else ("kohya", "original")

    def stack(self, letters: str) -> list[str]:
        """The blocks of a stack in order."""
        return sorted({b for b in self.blocks_of.values() if re.fullmatch(rf"{letters}\d+", b)})

    def _expand(self, order: str) -> list[str]:
        return [block for word in order.split() for block in self.stack(word) or [word]]

    @property
    def full_layout(self) -> list[str]:
        return self._expand(self.plan.order)

    @property
    def short_layout(self) -> list[str]:
        return self._expand(self.plan.main)

    @property
    def ends(self) -> list[str]:
        """The first, the middle and the last block of each stack, and what stands outside."""
        chosen = ["IN"]
        for word in self.plan.order.split():
            blocks = self.stack(word)
            if blocks:
                chosen += list(dict.fromkeys((blocks[0], blocks[len(blocks) // 2], blocks[-1])))
        return [*chosen, "OUT"]

    @cached_property
    def changes(self) -> list[Change]:
        """The denoiser's changes, block by block."""
        made = []
        for ours, theirs in self.plan.modules.items():
            pattern = re.compile(re.escape(ours).replace(r"\#", r"(\d+)"))
            for path, block in self.blocks_of.items():
                match = pattern.fullmatch(path)
                if match:
                    number = match[1] if "#" in ours else ""
                    names = tuple(theirs.replace("#", number).split())
                    made.append(self._change(block, self.prefix + path, path, names))
        return sorted(made, key=lambda change: self.full_layout.index(change.block))

    @cached_property
    def encoder_changes(self) -> list[Change]:
        """Those of the text encoders that are in the file."""
        made = []
        for block, (encoder_name, prefix, module) in self.plan.encoders.items():
            path = prefix + (module.replace(".", "_") if prefix.endswith("_") else module)
            tensors = [n for n in self.checkpoint.shapes if encoder_name in n and n.endswith(f".{module}.weight")]
            made += [self._change(block, tensor[: -len(".weight")], path, (), True) for tensor in tensors]
        return made

    def _change(self, block: str, tensor: str, path: str, theirs: tuple[str, ...], is_encoder: bool = False) -> Change:
        tensor = f"{tensor}.weight"
        out, inside = self.checkpoint.shapes[tensor][0], int(np.prod(self.checkpoint.shapes[tensor][1:]))
        random = np.random.default_rng(zlib.crc32(path.encode()))
        size = STRENGTH * self.checkpoint.deviation(tensor)
        down = random.standard_normal((RANK, inside)) / np.sqrt(inside)
        up = random.standard_normal((out, RANK)) * size * np.sqrt(inside / RANK)
        return Change(block, path, theirs, up.astype(np.float16), down.astype(np.float16), is_encoder)


WRITERS = {"kohya": kohya, "original": original, "diffusers": diffusers}


def write(path: Path, changes: list[Change], naming: str) -> None:
    """Writes a LoRA file that holds `changes`; those of text encoders in the naming that the host knows for them."""
    tensors: Tensors = {}
    for change in changes:
        tensors |= (encoder if change.is_encoder else WRITERS[naming])(change)
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)
