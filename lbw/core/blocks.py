"""Which block a tensor belongs to, whatever naming scheme its file or host uses."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from .family import Architecture, Family, flat
from .names import ENCODER, denoiser_path, flat_name, is_module, longest, module_name, names_of

__all__ = ["Site", "encoder_sort", "is_module", "locate", "module_name"]

_SECOND = re.compile(
    r"^(?:base_model_model_)?(?:(?:lora|oft|lycoris)_(?:te|text_encoder_?)2_|text_encoder_2_|te2_|"
    r"conditioner_embedders_1_|clip_g_|embedders_1_|1_(?:model|transformer)_|text_encoders_clip_g_)"
)
_T5 = re.compile(r"t5xxl|(?:^|_)encoder_block_\d+_layer_|SelfAttention|DenseReluDense")
_BARE_T5 = re.compile(r"(?:shared|encoder_final_layer_norm)$")
_CLIP_LAYER = re.compile(r"(?:(?<!text_)encoder_layers|transformer_resblocks)_(\d+)(?:_(.*))?$")
_CLIP = re.compile(r"text_model|resblocks|clip_[lgh]_|text_projection|logit_scale")
# transformers 5 has no `text_model` in its CLIPTextModel.
_BARE_CLIP = re.compile(r"encoder_layers_\d|embeddings_(?:token|position)_embedding|final_layer_norm$")
_LANGUAGE_LAYER = re.compile(r"(?:^|_)(layers_\d+(?:_.*)?)$")
_OPEN_CLIP = (
    ("mlp_c_fc", "mlp_fc1"),
    ("mlp_c_proj", "mlp_fc2"),
    ("ln_1", "layer_norm1"),
    ("ln_2", "layer_norm2"),
    ("attn_", "self_attn_"),
)


class Site(NamedTuple):
    """Where a tensor is in its model.

    block: the id of its block. path: its path in the original checkpoint, written with underscores.
    encoder: which text encoder it belongs to, from 1; 0 for the denoiser.
    parts: the parts of a fused module of the original that this one is; empty for the whole module.
    is_known: False for a tensor that belongs to no block of the architecture; it is counted as `Family.rest`.
    """

    block: str
    path: str
    encoder: int
    parts: tuple[str, ...] = ()
    is_known: bool = True


@lru_cache(maxsize=1 << 15)
def locate(name: str, architecture: Architecture) -> Site:
    """Return where the tensor or module `name` is, in any naming scheme that files or hosts use."""
    module = flat_name(module_name(name))
    encoder = ENCODER.match(module)
    if encoder:
        return _in_encoder(module, encoder.end(), architecture)
    guess = architecture.family if architecture.family.is_guess else None
    return _in_denoiser(denoiser_path(module, guess), architecture)


def encoder_sort(flat_name: str) -> str:
    """Return the kind of text encoder that a module with this flat name belongs to: "clip", "t5" or "llm"."""
    prefix = ENCODER.match(flat_name)
    rest = flat_name[prefix.end() if prefix else 0 :]
    if _T5.search(flat_name) or _BARE_T5.match(rest):
        return "t5"
    return "clip" if _CLIP.search(flat_name) or _BARE_CLIP.match(rest) else "llm"


def _in_encoder(flat_name: str, prefix_end: int, architecture: Architecture) -> Site:
    family, rest = architecture.family, flat_name[prefix_end:]
    if family.adapter and family.adapter in flat_name:
        return Site(architecture.encoders["adapter"], flat_name[flat_name.index(family.adapter) :], 1)
    sort = encoder_sort(flat_name)
    block = architecture.encoders.get(sort)
    known = block is not None
    if block is None:
        block = [b for sort, b in architecture.encoders.items() if sort != "adapter"][-1]
    if sort == "t5":
        return Site(block, "t5xxl_" + rest, 2, (), known)
    if sort == "clip":
        return Site(block, _clip_path(flat_name, prefix_end), 2 if _SECOND.match(flat_name) else 1, (), known)
    layer = _LANGUAGE_LAYER.search(rest)
    return Site(block, "llm_" + (layer[1] if layer else rest), 1, (), known)


def _in_denoiser(path: str, architecture: Architecture) -> Site:
    family = architecture.family
    names = names_of(family)
    parts: tuple[str, ...] = ()
    match = names.pattern.match(path)
    if match is None and (beginning := longest(names.renamed, path)):
        original, parts = names.renamed[beginning]
        path = original + path[len(beginning) :]
        match = names.pattern.match(path)
    if match:
        naming = names.stacks[match[1]]
        number, module = int(match[2]), match[3] or ""
        if beginning := longest(naming.modules, module):
            original, parts = naming.modules[beginning]
            module = original + module[len(beginning) :]
        stack = naming.stack
        path = f"{flat(stack.path)}_{number}" + (f"_{module}" if module else "")
        block = f"{stack.letter}{stack.first + number:02}"
        if stack.first + number < architecture.counts.get(stack.letter, 0):
            return Site(block, "diffusion_model_" + path, 0, _order(parts, path, family))
        return Site(family.rest, "diffusion_model_" + path, 0, parts, False)
    prefix = longest(names.outside, path)
    if family.adapter and path.startswith(family.adapter):
        return Site(architecture.encoders["adapter"], path, 0)
    if not prefix:
        return Site(family.rest, "diffusion_model_" + path, 0, (), False)
    return Site(names.outside[prefix], "diffusion_model_" + path, 0, _order(parts, path, family))


def _order(parts: tuple[str, ...], path: str, family: Family) -> tuple[str, ...]:
    """Return `parts`, or () if they are the whole module of the original at `path`, in its own order."""
    if not parts:
        return ()
    whole = next((tuple(p.split()) for module, p in family.fused.items() if path.endswith(flat(module))), ())
    return () if parts == whole else parts


def _clip_path(flat_name: str, prefix_end: int) -> str:
    layer = _CLIP_LAYER.search(flat_name)
    if not layer:
        return "transformer_" + flat_name[prefix_end:]
    rest = layer[2] or ""
    if "resblocks" in layer[0]:
        for theirs, ours in _OPEN_CLIP:
            if rest.startswith(theirs):
                rest = ours + rest[len(theirs) :]
                break
    return f"transformer_text_model_encoder_layers_{layer[1]}_{rest}".rstrip("_")
