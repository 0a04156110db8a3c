"""The names of tensors in files and hosts: stripping suffixes and prefixes, recognizing text encoders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from .architectures import FAMILIES
from .family import PART, Family, Stack, flat

# What follows a module's name in the keys of a file: parameters of LoRA, LoCon, LoHa, LoKr, IA3, (Diag-)OFT, OFTv2,
# BOFT, GLoRA, full differences, norms, DoRA, and of the spellings of PEFT, diffusers, ai-toolkit, OneTrainer and XLabs.
_PARAMETER = re.compile(
    r"""(?:\.(?:
      (?:lora_(?:up|down|mid)|lora\.(?:up|down|mid)|lora_linear_layer\.(?:up|down)|[ab][12])\.weight
    | lora_[AB](?:\.[^.]+)??(?:\.(?:weight|bias))?
    | (?:lora_)?magnitude(?:_vector(?:\.[^.]+)?)?(?:\.weight)?
    | hada_[wt][12](?:_[ab])? | lokr_(?:w[12](?:_[ab])?|t[12])
    | oft_(?:blocks|diag) | oft_R(?:\.[^.]+)??(?:\.(?:weight|scaled_oft))? | boft_.* | rescale | constraint
    | diff(?:_b)? | set_weight | reshape_weight | w_norm | b_norm
    | dora_scale | alpha | scale | dyn_up | dyn_down | on_input | bias_(?:indices|values|size)
    | weight | bias
    )
    | (?<=_lora[12])\.(?:up|down)\.weight | (?<=_lora)\.(?:up|down)\.weight
    )$""",
    re.VERBOSE,
)
_PROCESSOR = re.compile(r"[._]processor[._]to_(q|k|v|out)_lora(?:\.(?:up|down)\.weight)?$")
_NO_MODULES = ("bundle_emb.", "_aux.")

_PREFIX = re.compile(
    r"^(?:base_model_model|lora_unet_?|oft_unet|lycoris|lora_transformer|model_diffusion_model|diffusion_model|"
    r"unet|conditional_transformer|transformer|lora|oft|model|net)_(?!resblocks|text_model)"
)
_TRANSFORMER_DOT = re.compile(r"(?:^|(?<=\.))transformer\.(?=blocks\.\d)")
_BROKEN = re.compile(r"^sformer_blocks_")  # an export of `transformer_blocks` that lost its beginning

_HOST_ENCODERS = "|".join(
    sorted({flat(name) for family in FAMILIES for name in family.host_encoders} | {"clip_h"}, key=len, reverse=True)
)
ENCODER = re.compile(
    r"^(?:base_model_model_)?(?:(?:lora|oft|lycoris)_(?:te|text_encoder)(\d?)(?:_|$)|"
    rf"text_encoders_(?:(?:{_HOST_ENCODERS})_)?|text_encoder(?:_(\d))?_|"
    rf"te(\d)_|cond_stage_model_|conditioner_embedders_\d_|(?:{_HOST_ENCODERS})_|"
    r"\d_(?:model_|transformer_)|transformer_text_model_|text_model_|model_transformer_resblocks_|"
    r"transformer_resblocks_|embedders_\d_)"
)
"""The beginning of the flat name of a text encoder's module."""
HOST_ENCODER = re.compile(rf"^(?:text_encoders_)?({_HOST_ENCODERS})_")
"""A host's name for a text encoder, at the beginning of a module's flat name."""


def module_name(key: str) -> str:
    """Return `key`, a tensor's name in a LoRA file, without the parameter's suffix."""
    key = _PROCESSOR.sub(r".to_\1", key)
    return _PARAMETER.sub("", key)


def flat_name(module: str) -> str:
    """Return the name of a module in the form that is compared.

    In Wan's `transformer.blocks.0`, in diffusers' files, the first word is a prefix; with underscores it would look
    like the `transformer_blocks.0` of other models.
    """
    return flat(_TRANSFORMER_DOT.sub("", module))


def is_module(key: str) -> bool:
    """Return whether `key` of a LoRA file is a weight, not a bundled embedding or a note of the trainer."""
    return not key.startswith(_NO_MODULES)


@dataclass(frozen=True, eq=False)
class Naming:
    """How a path of a stack, in one naming scheme of a family, maps to the original.

    stack: the stack of the original. modules: from the flat names within a block to the original's and the parts of it,
    () for the whole. is_open: whether other names are allowed too.
    """

    stack: Stack
    modules: Mapping[str, tuple[str, tuple[str, ...]]]
    is_open: bool


class FamilyNames:
    """The names of a family, prepared for looking up tensors."""

    def __init__(self, family: Family) -> None:
        self.stacks: dict[str, Naming] = {}
        for stack in family.stacks:
            own = {flat(name): (flat(name), ()) for name in stack.modules.split()}
            self.stacks[flat(stack.path)] = Naming(stack, own, is_open=not own)
        self.renamed: dict[str, tuple[str, tuple[str, ...]]] = {}
        for renamed in family.renamed:
            table = dict(_targets(renamed.modules))
            if not renamed.path:
                self.renamed |= table
                continue
            known = self.stacks.get(flat(renamed.path))
            original = known or self.stacks[flat(renamed.original)]
            self.stacks[flat(renamed.path)] = Naming(
                original.stack, {**table, **(known.modules if known else {})}, False
            )
        self.outside = {flat(name): block for block, names in family.outside.items() for name in names.split()}
        paths = "|".join(sorted(self.stacks, key=len, reverse=True))
        self.pattern = re.compile(rf"^({paths})_(\d+)(?:_(.*))?$", re.ASCII)

    def knows(self, path: str) -> bool:
        """Return whether a tensor at `path` may be in a stack, or outside of all, in any of the naming schemes."""
        return bool(self.pattern.match(path) or longest(self.renamed, path) or longest(self.outside, path))


def _targets(modules: Mapping[str, str]) -> list[tuple[str, tuple[str, tuple[str, ...]]]]:
    """Return a map from flat names to the original's module and its parts."""
    found = []
    for theirs, ours in modules.items():
        module, _, parts = ours.partition(PART)
        target = flat(module), tuple(parts.split(",")) if parts else ()
        found.append((flat(theirs), target))
        if theirs.endswith("to_out.0"):
            found.append((flat(theirs.removesuffix(".0")), target))
    return found


@lru_cache(maxsize=64)
def names_of(family: Family) -> FamilyNames:
    """Return the names of `family`."""
    return FamilyNames(family)


def longest(table: Mapping[str, object], path: str) -> str:
    """Return the longest key of `table` that is `path`, or is followed by an underscore in it; or ""."""
    while path:
        if path in table:
            return path
        path = path.rpartition("_")[0]
    return ""


@lru_cache(maxsize=1)
def _all_names() -> tuple[re.Pattern[str], dict[str, object]]:
    """Return a pattern for the paths of every family's stacks, and all names outside of them."""
    every = [names_of(family) for family in FAMILIES]
    paths = "|".join(sorted({path for names in every for path in names.stacks}, key=len, reverse=True))
    outside: dict[str, object] = {}
    for names in every:
        outside.update(names.renamed)
        outside.update(names.outside)
    return re.compile(rf"^({paths})_(\d+)(?:_(.*))?$", re.ASCII), outside


@lru_cache(maxsize=1 << 15)
def denoiser_path(flat_name: str, family: Family | None = None) -> str:
    """Return the flat name of a denoiser's module without the prefixes that trainers and hosts add.

    family: a guessed family whose names are recognized too.
    """
    stacks, outside = _all_names()
    path = flat_name
    while match := _PREFIX.match(path):
        if stacks.match(path) or longest(outside, path) or (family and names_of(family).knows(path)):
            break
        path = path[match.end() :]
    return _BROKEN.sub("transformer_blocks_", path)


def stack_of(path: str) -> tuple[str, int, str] | None:
    """Return the path of a stack of some family that `path` leads into, the block's number, and the name within."""
    match = _all_names()[0].match(path)
    return (match[1], int(match[2]), match[3] or "") if match else None
