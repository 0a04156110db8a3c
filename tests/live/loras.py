"""Random LoRA files of every kind, shaped after a checkpoint and small."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from .checkpoint import Checkpoint, Module

Tensors = dict[str, np.ndarray]
RANK = 4
ALPHA = 2.0
STRENGTH = 0.7
"""Size of a LoRA's change, relative to the standard deviation of the weight that it changes."""


class Maker:
    """Makes the tensors of one module, the same ones each time for the same module and kind."""

    def __init__(self, checkpoint: Checkpoint, module: Module, salt: str) -> None:
        self.module = module
        self.shape = module.shape
        self.weight = checkpoint.weight(module)
        self.size = STRENGTH * float(self.weight.std())
        self._random = np.random.default_rng(zlib.crc32(f"{salt}/{module.path}".encode()))

    def normal(self, shape: tuple[int, ...], deviation: float) -> np.ndarray:
        return (self._random.standard_normal(shape) * deviation).astype(np.float16)

    def uniform(self, shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
        return self._random.uniform(low, high, shape).astype(np.float32)


def _alpha(value: float = ALPHA) -> np.ndarray:
    return np.array(value, np.float16)


def lora(make: Maker) -> Tensors:
    """Low rank; a 3x3 convolution gets a 3x3 down and a 1x1 up."""
    out, *rest = make.shape
    ones = (1,) * (len(make.shape) - 2)
    down = 1 / np.sqrt(make.module.fan_in)
    up = make.size / (down * np.sqrt(RANK) * ALPHA / RANK)
    return {
        "lora_down.weight": make.normal((RANK, *rest), down),
        "lora_up.weight": make.normal((out, RANK, *ones), up),
        "alpha": _alpha(),
    }


def locon_mid(make: Maker) -> Tensors:
    """A convolution decomposed into 1x1, 3x3 and 1x1."""
    out, inside, *kernel = make.shape
    down, mid = 1 / np.sqrt(inside), 1 / np.sqrt(RANK)
    up = make.size / (down * mid * RANK * ALPHA / RANK)
    return {
        "lora_down.weight": make.normal((RANK, inside, 1, 1), down),
        "lora_mid.weight": make.normal((RANK, RANK, *kernel), mid),
        "lora_up.weight": make.normal((out, RANK, 1, 1), up),
        "alpha": _alpha(),
    }


def loha(make: Maker) -> Tensors:
    """The elementwise product of two low-rank matrices."""
    out, inside = make.shape
    part = np.sqrt(make.size / (RANK * ALPHA / RANK))
    return {
        "hada_w1_a": make.normal((out, RANK), part),
        "hada_w1_b": make.normal((RANK, inside), 1.0),
        "hada_w2_a": make.normal((out, RANK), part),
        "hada_w2_b": make.normal((RANK, inside), 1.0),
        "alpha": _alpha(),
    }


def lokr(make: Maker) -> Tensors:
    """A Kronecker product, its second factor of low rank."""
    out, inside = make.shape
    part = make.size / (np.sqrt(RANK) * ALPHA / RANK)
    return {
        "lokr_w1": make.normal((4, 4), 1.0),
        "lokr_w2_a": make.normal((out // 4, RANK), part),
        "lokr_w2_b": make.normal((RANK, inside // 4), 1.0),
        "alpha": _alpha(),
    }


def ia3(make: Maker) -> Tensors:
    """A factor for each output, or for each input of a feed-forward's second layer."""
    on_input = make.module.path.endswith("net.2")
    count = make.shape[1] if on_input else make.shape[0]
    return {
        "weight": make.normal((count,), STRENGTH),
        "on_input": np.array(on_input),
    }


def full(make: Maker) -> Tensors:
    return {"diff": make.normal(make.shape, make.size)}


def norm(make: Maker) -> Tensors:
    """Changes of a normalization's scale and shift; their weights are near 1, not around 0."""
    return {
        "w_norm": make.normal(make.shape, STRENGTH),
        "b_norm": make.normal(make.shape, STRENGTH),
    }


def glora(make: Maker) -> Tensors:
    """W·a2·a1 + b2·b1, as LyCORIS first wrote it."""
    out, inside = make.shape
    relative = STRENGTH / np.sqrt(inside * RANK)
    return {
        "a1.weight": make.normal((RANK, inside), relative),
        "a2.weight": make.normal((inside, RANK), 1.0),
        "b1.weight": make.normal((RANK, inside), 1.0),
        "b2.weight": make.normal((out, RANK), make.size / np.sqrt(RANK)),
        "alpha": _alpha(RANK),
    }


def oft(make: Maker) -> Tensors:
    """Rotations of groups of 32 outputs; alpha is a limit too wide to matter."""
    blocks = make.shape[0] // 32
    return {"oft_blocks": make.normal((blocks, 32, 32), 0.06), "alpha": _alpha(1.0)}


def dora(make: Maker) -> Tensors:
    """A LoRA with a new norm for each input column, around the norm that was."""
    norms = np.linalg.norm(make.weight, axis=0, keepdims=True)
    return {
        **lora(make),
        "dora_scale": (norms * make.uniform(norms.shape, 0.6, 1.4)).astype(np.float16),
    }


KINDS: dict[str, Callable[[Maker], Tensors]] = {
    "lora": lora,
    "locon": lora,
    "locon-mid": locon_mid,
    "loha": loha,
    "lokr": lokr,
    "ia3": ia3,
    "full": full,
    "norm": norm,
    "glora": glora,
    "oft": oft,
    "oft-kohya": oft,
    "dora": dora,
}
LINEAR_KINDS = ("lora", "locon", "locon-mid", "loha", "lokr", "full", "norm")
CONVOLUTION_KINDS = ("locon", "locon-mid")


class LoraFolder:
    """Writes LoRA files whose names share a prefix, and removes them."""

    def __init__(self, folder: Path, checkpoint: Checkpoint, prefix: str) -> None:
        self.folder = folder
        self.checkpoint = checkpoint
        self.prefix = prefix

    def write(self, name: str, kind: str, modules: Iterable[Module], naming: str = "ldm", salt: str = "") -> str:
        """Writes one file; returns the name that a tag uses. `naming`: ldm or diffusers."""
        tensors: Tensors = {}
        for module in modules:
            key = module.ldm_name if naming == "ldm" else module.diffusers_name
            if kind == "oft-kohya":
                key = key.replace("lora_unet_", "oft_unet_")
            made = KINDS[kind](Maker(self.checkpoint, module, salt or kind))
            tensors.update({f"{key}.{part}": value for part, value in made.items()})
        return self.write_tensors(name, tensors)

    def write_tensors(self, name: str, tensors: Tensors) -> str:
        if not tensors:
            raise ValueError(f"no module of the checkpoint fits {name}")
        full_name = self.prefix + name
        save_file(tensors, self.folder / f"{full_name}.safetensors")
        return full_name

    def remove_all(self) -> None:
        for path in self.folder.iterdir():
            if path.name.startswith(self.prefix):
                path.unlink()


def attention_blocks(checkpoint: Checkpoint) -> list[str]:
    """Five blocks with attention: two going in, the middle, two going out."""
    if checkpoint.architecture == "sdxl":
        return ["IN04", "IN07", "M00", "OUT00", "OUT05"]
    return ["IN01", "IN04", "M00", "OUT03", "OUT08"]


def choose(checkpoint: Checkpoint, blocks: Iterable[str], *endings: str) -> list[Module]:
    """The modules of these blocks whose path ends so, of the first transformer block only."""
    wanted = set(blocks)
    return [
        module
        for path, module in checkpoint.modules.items()
        if module.block in wanted
        and path.endswith(endings)
        and ("transformer_blocks." not in path or "transformer_blocks.0." in path)
    ]


def text_encoder_modules(checkpoint: Checkpoint) -> list[Module]:
    """A few layers of each text encoder."""
    return [
        module
        for path, module in checkpoint.modules.items()
        if path.startswith("te") and (".layers.0.mlp.fc1" in path or ".layers.4.mlp.fc2" in path)
    ]


def modules_for(kind: str, checkpoint: Checkpoint) -> list[Module]:
    """The modules that a test LoRA of this kind has, all within the short layout's blocks."""
    blocks = attention_blocks(checkpoint)
    if kind in CONVOLUTION_KINDS:
        return choose(checkpoint, blocks, "0.in_layers.2")
    if kind == "norm":
        return choose(checkpoint, blocks, "0.in_layers.0", "transformer_blocks.0.norm1")
    if kind == "full":
        return choose(checkpoint, blocks, "attn1.to_out.0", "attn2.to_q")
    unet = choose(checkpoint, blocks, "attn1.to_v", "attn1.to_out.0", "attn2.to_q")
    if kind in ("glora", "oft", "oft-kohya"):
        return unet
    if kind == "ia3":
        return choose(checkpoint, blocks, "attn1.to_v", "attn1.to_out.0", "ff.net.2")
    return unet + text_encoder_modules(checkpoint)
