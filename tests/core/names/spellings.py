"""How trainers spell a weight of a model in a LoRA file: MODELS.md, "Trainer → prefix and suffixes"."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..tables import words
from . import Weight

Shapes = dict[str, tuple[int, ...]]

# What stands before the original's names, and who writes it.
ORIGINAL = {
    "diffusion_model.": "ai-toolkit, diffusion-pipe, OneTrainer for ComfyUI; the patchers of Forge and ComfyUI",
    "": "OneTrainer (original), DiffSynth",
    "base_model.model.": "PEFT; ai-toolkit (Krea 2)",
    "base_model.model.diffusion_model.": "PEFT over a host's model",
    "model.diffusion_model.": "checkpoints of a whole model",
    "lora_unet_": "sd-scripts, musubi-tuner, OneTrainer (kohya)",
    "lycoris_": "LyCORIS",
}
# What stands before diffusers' names.
DIFFUSERS = {
    "transformer.": "diffusers, ai-toolkit (Flux.1, SD 3), OneTrainer, diffusion-pipe (Flux.1, SD 3)",
    "diffusion_model.": "ai-toolkit (Chroma, Z-Image, HiDream)",
    "": "DiffSynth",
    "base_model.model.": "PEFT",
    "base_model.model.transformer.": "PEFT over a pipeline",
    "lora_transformer_": "OneTrainer (legacy)",
    "lora_unet_": "musubi-tuner (Z-Image)",
    "lycoris_": "SimpleTuner; ai-toolkit's old LoKr",
}
PREFIXES = {
    "original": ORIGINAL,
    "diffusers": DIFFUSERS,
    "comfy": {"diffusion_model.": "ComfyUI, diffusion-pipe", "lora_unet_": "sd-scripts, converted"},
    "fused": {"transformer.": "diffusers' PEFT", "lycoris_": "LyCORIS"},
}
# Families whose original names are diffusers' too get both tables; others have a prefix of their own.
SAME_IN_DIFFUSERS = ("qwen-image", "ernie-image", "hidream-i1")
OWN = {
    ("ideogram4", "original"): {"conditional_transformer.": "seen; diffusers strips it"},
    ("ideogram4", "diffusers"): {"conditional_transformer.": "seen; diffusers strips it"},
    ("anima", "original"): {"net.": "checkpoints of Cosmos-Predict2 and Anima"},
}

# Of every kind of adapter, what stands after the module's name.
SUFFIXES = words(
    # LoRA: kohya, PEFT, Mochi and BFL, DiffSynth, diffusers before PEFT
    ".lora_down.weight .lora_up.weight .lora_mid.weight .alpha .lora_A.weight .lora_B.weight .lora_A .lora_B "
    ".lora_B.bias .lora_A.default.weight .lora_B.default.weight .lora.down.weight .lora.up.weight "
    ".lora_linear_layer.down.weight .lora_linear_layer.up.weight .reshape_weight "
    # DoRA: LyCORIS, ai-toolkit, PEFT
    ".dora_scale .magnitude .lora_magnitude_vector.weight .lora_magnitude_vector.default.weight "
    # LyCORIS: LoHa, LoKr, OFT, BOFT, GLoRA, full differences, norms
    ".hada_w1_a .hada_w1_b .hada_w2_a .hada_w2_b .hada_t1 .hada_t2 "
    ".lokr_w1 .lokr_w2 .lokr_w1_a .lokr_w1_b .lokr_w2_a .lokr_w2_b .lokr_t2 "
    ".oft_blocks .rescale .a1.weight .a2.weight .b1.weight .b2.weight "
    ".diff .diff_b .set_weight .w_norm .b_norm "
    # OFT of PEFT and OneTrainer
    ".oft_R.weight .oft_R.scaled_oft "
    # a model's own parameters
    ".weight .bias"
)


def name_in_file(name: str, prefix: str) -> str:
    """Return a module's name as a file with `prefix` has it: dotted, or flat after an underscore."""
    return prefix + (name.replace(".", "_") if prefix.endswith("_") else name)


def prefixes(architecture: str, naming: str) -> tuple[str, ...]:
    """Return the prefixes that may stand before the names of `architecture` in `naming`."""
    found = dict(PREFIXES[naming])
    if naming == "original" and architecture in SAME_IN_DIFFUSERS:
        found |= DIFFUSERS
    return tuple(found | OWN.get((architecture, naming), {}))


def modules(weights: Iterable[Weight]) -> list[Weight]:
    """Return the weights that a LoRA may train: matrices and kernels of modules."""
    return [w for w in weights if len(w.shape) > 1 and not w.is_parameter]


def lora(shape: tuple[int, ...], rank: int = 8) -> Shapes:
    """Return kohya's LoRA of a weight of `shape`."""
    out, inner, *kernel = shape
    ones = (1,) * len(kernel)
    return {".lora_down.weight": (rank, inner, *kernel), ".lora_up.weight": (out, rank, *ones), ".alpha": ()}


def peft(shape: tuple[int, ...], rank: int = 8) -> Shapes:
    """Return PEFT's LoRA of a weight of `shape`."""
    out, inner, *kernel = shape
    return {".lora_A.weight": (rank, inner, *kernel), ".lora_B.weight": (out, rank, *(1,) * len(kernel))}


def loha(shape: tuple[int, ...], rank: int = 4) -> Shapes:
    """Return a LoHa of a weight of `shape`, whose kernel is flattened."""
    out, inner = shape[0], _product(shape[1:])
    halves = {f".hada_w{i}_{s}": (out, rank) if s == "a" else (rank, inner) for i in (1, 2) for s in "ab"}
    return halves | {".alpha": ()}


def lokr(shape: tuple[int, ...], factor: int = 4) -> Shapes:
    """Return a LoKr of a weight of `shape`: the Kronecker product of two matrices."""
    out, inner = shape[0], _product(shape[1:])
    a, b = (factor if n % factor == 0 else 1 for n in (out, inner))
    return {".lokr_w1": (a, b), ".lokr_w2": (out // a, inner // b), ".alpha": ()}


def full(shape: tuple[int, ...]) -> Shapes:
    """Return a full difference of a weight of `shape`."""
    return {".diff": shape}


ADAPTERS: dict[str, Callable[[tuple[int, ...]], Shapes]] = {
    "lora": lora,
    "peft": peft,
    "loha": loha,
    "lokr": lokr,
    "full": full,
}


def file_of(weights: Iterable[Weight], prefix: str, adapter: str = "lora") -> Shapes:
    """Return the names and shapes of a LoRA file that trains `weights`."""
    make = ADAPTERS[adapter]
    return {
        name_in_file(weight.name, prefix) + suffix: shape
        for weight in modules(weights)
        for suffix, shape in make(weight.shape).items()
    }


def _product(numbers: Iterable[int]) -> int:
    result = 1
    for n in numbers:
        result *= n
    return result
