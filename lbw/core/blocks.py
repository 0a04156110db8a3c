"""Which block a tensor belongs to, whatever naming its file or host uses; which blocks a selector means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from .architectures import ARCHITECTURES, FLUX, SD1, SD2, SDXL, Architecture
from .errors import WeightsError, listing, quote

# What follows a module's name in a key of a file: parameters of LoRA, LoCon, LoHa, LoKr, IA3, (Diag-)OFT,
# BOFT, GLoRA, full differences, norms, DoRA, and of the PEFT and diffusers spellings of LoRA.
_PARAMETER = re.compile(
    r"""\.(?:
      (?:lora_(?:up|down|mid)|lora\.(?:up|down|mid)|lora_linear_layer\.(?:up|down)|[ab][12])\.weight
    | lora_[AB](?:\.[^.]+)?\.weight
    | lora_magnitude_vector(?:\.[^.]+)?(?:\.weight)?
    | hada_[wt][12](?:_[ab])? | lokr_(?:w[12](?:_[ab])?|t[12])
    | oft_(?:blocks|diag) | boft_.* | rescale | constraint
    | diff(?:_b)? | set_weight | reshape_weight | w_norm | b_norm
    | dora_scale | alpha | scale | dyn_up | dyn_down | on_input | bias_(?:indices|values|size)
    | weight | bias
    )$""",
    re.VERBOSE,
)
_PROCESSOR = re.compile(r"[._]processor[._]to_(q|k|v|out)_lora(?:\.(?:up|down)\.weight)?$")

_DENOISER_PREFIX = re.compile(
    r"^(?:base_model_model|lora_unet|oft_unet|lycoris|lora_transformer|model_diffusion_model|diffusion_model|"
    r"unet|transformer|lora|oft|model)_(?!resblocks|text_model)"
)
_ENCODER = re.compile(
    r"^(?:base_model_model_)?(?:(?:lora|oft|lycoris)_(?:te|text_encoder)(\d?)(?:_|$)|text_encoder(?:_(\d))?_|"
    r"te(\d)_|cond_stage_model_|conditioner_embedders_\d_|text_encoders_|clip_[lgh]_|t5xxl_|"
    r"\d_(?:model_|transformer_)|transformer_text_model_|text_model_|model_transformer_resblocks_|"
    r"transformer_resblocks_|embedders_\d_)"
)
_SECOND = re.compile(
    r"^(?:base_model_model_)?(?:(?:lora|oft|lycoris)_(?:te|text_encoder_?)2_|text_encoder_2_|te2_|"
    r"conditioner_embedders_1_|clip_g_|embedders_1_|1_(?:model|transformer)_)"
)
_T5 = re.compile(r"t5xxl|(?:^|_)encoder_block_\d+_layer_|SelfAttention|DenseReluDense")
_CLIP_LAYER = re.compile(r"(?:text_model_encoder_layers|transformer_resblocks)_(\d+)(?:_(.*))?$")
_OPEN_CLIP = (
    ("mlp_c_fc", "mlp_fc1"),
    ("mlp_c_proj", "mlp_fc2"),
    ("ln_1", "layer_norm1"),
    ("ln_2", "layer_norm2"),
    ("attn_", "self_attn_"),
)


class Site(NamedTuple):
    """Where a tensor stands in its model.

    block: the id of its block. path: its path in the original checkpoint, written with underscores.
    encoder: which text encoder it belongs to, from 1; 0 for the denoiser.
    """

    block: str
    path: str
    encoder: int


def module_name(key: str) -> str:
    """Return `key`, a tensor's name in a LoRA file, without the parameter's suffix."""
    key = _PROCESSOR.sub(r".to_\1", key)
    return _PARAMETER.sub("", key)


def is_module(key: str) -> bool:
    """Tell whether `key` of a LoRA file is a weight; embeddings bundled with a LoRA are none."""
    return not key.startswith("bundle_emb.")


def _longest(table: Mapping[str, str], path: str) -> tuple[str, str] | None:
    """Return the longest key of `table` that `path` begins with, and its value."""
    while path:
        if path in table:
            return path, table[path]
        path = path.rpartition("_")[0]
    return None


@lru_cache(maxsize=1 << 15)
def locate(name: str, architecture: Architecture) -> Site:
    """Return where the tensor or module `name` stands, in any naming that files or hosts use."""
    flat = module_name(name).replace(".", "_")
    encoder = _ENCODER.match(flat)
    if encoder:
        if _T5.search(flat):
            return Site(architecture.encoders["t5"], "t5xxl_" + flat[encoder.end() :], 2)
        number = 2 if _SECOND.match(flat) else 1
        return Site(architecture.encoders["clip"], _clip_path(flat, encoder.end()), number)
    path = flat
    while match := _DENOISER_PREFIX.match(path):
        if _longest(architecture.places, path) or _longest(architecture.renames, path):
            break
        path = path[match.end() :]
    if renamed := _longest(architecture.renames, path):
        path = renamed[1] + path[len(renamed[0]) :]
    place = _longest(architecture.places, path)
    return Site(place[1] if place else architecture.rest, "diffusion_model_" + path, 0)


def _clip_path(flat: str, prefix_end: int) -> str:
    layer = _CLIP_LAYER.search(flat)
    if not layer:
        return "transformer_" + flat[prefix_end:]
    rest = layer[2] or ""
    if "resblocks" in layer[0]:
        for theirs, ours in _OPEN_CLIP:
            if rest.startswith(theirs):
                rest = ours + rest[len(theirs) :]
                break
    return f"transformer_text_model_encoder_layers_{layer[1]}_{rest}".rstrip("_")


# Selectors ---------------------------------------------------------------------------------------

_ID = re.compile(r"^([A-Z]+?)0*(\d+)$", re.ASCII)


def _spelled(text: str) -> str:
    """Return a block id in one spelling: upper case, no leading zeros, MID as M00."""
    text = text.strip().upper()
    match = _ID.match(text)
    if match:
        letters, number = match.groups()
        return f"{'M' if letters == 'MID' else letters}{number}"
    return text


@lru_cache(maxsize=16)
def _ids(architecture: Architecture) -> dict[str, str]:
    return {_spelled(block): block for block in architecture.blocks}


def _one(text: str, architecture: Architecture, whole: str) -> tuple[str, ...]:
    """Return the blocks of one block id or group."""
    spelled = _spelled(text)
    block = _ids(architecture).get(spelled)
    if block:
        return (block,)
    if spelled in architecture.groups:
        return architecture.groups[spelled]
    where = f" in {quote(whole)}" if whole.strip() != text.strip() else ""
    owners = [a.title for a in ARCHITECTURES.values() if spelled in _ids(a)]
    other = f"; it is a block of {', '.join(owners)}, and this LoRA is for {architecture.title}" if owners else ""
    raise WeightsError(
        f"unknown block {quote(text)}{where}{other}; the blocks of {architecture.title} are "
        f"{listing(architecture.blocks)}, and the groups {', '.join(architecture.groups)}"
    )


@lru_cache(maxsize=4096)
def select(text: str, architecture: Architecture) -> tuple[str, ...]:
    """Return the blocks that `text` selects, in layout order.

    `text` holds block ids, groups and ranges `A-B`, separated by spaces; a leading `NOT` inverts.

    Raises:
        WeightsError: an id does not exist in `architecture`.
    """
    words = text.split()
    inverted = bool(words) and words[0].upper() == "NOT"
    chosen: set[str] = set()
    for word in words[inverted:]:
        first, dash, last = word.partition("-")
        if not dash:
            chosen.update(_one(word, architecture, text))
            continue
        ends = [architecture.blocks.index(b) for end in (first, last) for b in _one(end, architecture, text)]
        chosen.update(architecture.blocks[min(ends) : max(ends) + 1])
    if not words[inverted:]:
        raise WeightsError(f"{quote(text)} names no block; write for example IN04, IN04-IN08 or OUT")
    return tuple(b for b in architecture.blocks if (b in chosen) != inverted)


@lru_cache(maxsize=4096)
def select_in_kind(text: str, architecture: Architecture) -> tuple[str, ...]:
    """Return the blocks that `text` selects, as `select` does, where ids of all models of this kind are understood.

    So `IN00-IN11` serves an SDXL LoRA too, which has blocks up to IN08.

    Raises:
        WeightsError: an id does not exist in any model of the kind of `architecture`.
    """
    kin = [a for a in ARCHITECTURES.values() if a.kind == architecture.kind]
    widest = max(kin, key=lambda a: len(a.blocks))
    try:
        chosen = select(text, widest)
    except WeightsError:
        return select(text, architecture)
    return tuple(b for b in chosen if b in architecture.blocks)


# Detection ---------------------------------------------------------------------------------------

_METADATA = (
    (re.compile(r"flux", re.I), FLUX),
    (re.compile(r"sdxl|stable-diffusion-xl", re.I), SDXL),
    (re.compile(r"sd_v2|stable-diffusion-v2", re.I), SD2),
    (re.compile(r"sd_v1|stable-diffusion-v1", re.I), SD1),
)
_CONTEXT = {768: SD1, 1024: SD2, 2048: SDXL}


def detect(
    names: Iterable[str],
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Architecture | None:
    """Return the architecture that the tensors `names`, of a LoRA or of a model, belong to; None if it is not known.

    shapes: tensors' shapes by name, where they are known; the width of the text that cross-attention reads
        tells SD 1.x, SD 2.x and SDXL apart.
    metadata: of the file; asked where names and shapes do not decide.
    """
    shapes = shapes or {}
    flats = [name.replace(".", "_") for name in names if is_module(name)]
    if any(re.search(r"(?:^|_)(?:double_blocks|single_blocks|single_transformer_blocks)_\d", f) for f in flats):
        return FLUX
    unet = [f for f in flats if re.search(r"(?:input|output|middle|down|up|mid)_blocks?_", f) and not _ENCODER.match(f)]
    widths = {
        shape[-1] if len(shape) == 2 else shape[1]
        for name, shape in shapes.items()
        if len(shape) >= 2
        and re.search(r"attn2[._]to_[kv](?:[._]lora[._](?:down|A)(?:[._][^.]+)?|_lora[._]down)?[._]weight$", name)
    }
    for width, architecture in _CONTEXT.items():
        if width in widths:
            return architecture
    metadata = metadata or {}
    told = " ".join(metadata.get(key, "") for key in ("modelspec.architecture", "ss_base_model_version"))
    told += " sd_v2" if metadata.get("ss_v2") == "True" else ""
    by_metadata = next((a for pattern, a in _METADATA if pattern.search(told)), None)
    if any(_SD_ONLY.search(f) for f in unet):
        return SD2 if by_metadata is SD2 or any(_SD2_ONLY.search(f) for f in flats) else SD1
    if any(_SDXL_ONLY.search(f) for f in flats):
        return SDXL
    if by_metadata:
        return by_metadata
    if any(_T5.search(f) for f in flats):
        return FLUX
    if any(_FIRST_OF_TWO.match(f) for f in flats):
        return SDXL
    if unet or any(_ENCODER.match(f) for f in flats):
        return SD1
    return None


_SD_ONLY = re.compile(
    r"input_blocks_(?:[12]_1_|9_|1[01]_)|output_blocks_(?:[678]_1_(?!conv)|9_|1[01]_)|"
    r"down_blocks_(?:0_attentions|3_)|up_blocks_(?:2_attentions|3_)"
)
_SDXL_ONLY = re.compile(
    r"(?:^|_)(?:te2|text_encoder_2|clip_g|conditioner_embedders_1)_|^1_model_transformer|label_emb|add_embedding|"
    r"(?:^|_)(?:down|up|mid|input|output|middle)_block.*transformer_blocks_[1-9]|output_blocks_0_1_|up_blocks_0_attentions"
)
_SD2_ONLY = re.compile(r"^(?:cond_stage_model_)?model_transformer_resblocks|^clip_h_")
_FIRST_OF_TWO = re.compile(r"(?:lora|oft|lycoris)_te1_|te1_|clip_l_")
