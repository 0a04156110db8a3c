"""How to tell trainers which blocks of a model to train: the data that a family needs for that.

Each class explains what the settings mean to its trainer and names the trainer's source file that reads them.
`lbw.analysis.trainer` generates the settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

SD_SCRIPTS, MUSUBI, AI_TOOLKIT, LYCORIS = "sd-scripts", "musubi-tuner", "ai-toolkit", "LyCORIS"

Matching = Literal["", "search", "fullmatch"]
"""How a trainer matches a pattern: anywhere in a name, against the whole name, or not at all."""


@dataclass(frozen=True, eq=False)
class UNetPaths:
    """Where the modules of a U-Net's blocks are in the model of a trainer.

    attention, convolutions: by block, paths of modules; a path that ends with a dot means all modules below it.
    """

    attention: Mapping[str, str]
    convolutions: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class Trainer:
    """A trainer that can train single blocks of a family.

    sizes: the names of the sizes that it trains; the whole family if none are given.
    remark: what users of the trainer should know about this family.
    """

    program: ClassVar[str]
    sizes: tuple[str, ...] = ()
    remark: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class UNetArguments(Trainer):
    """Numbers for each block of a U-Net, in the order used by `networks/lora.py` of sd-scripts.

    See its functions `get_block_index`, `get_block_lr_weight` and `get_block_dims_and_alphas`.

    down, mid, up: the blocks of `down_lr_weight`, `mid_lr_weight`, `up_lr_weight`. before, after: the additional
    entries of `block_dims`. encoder: the block of the text encoders.
    """

    program: ClassVar[str] = SD_SCRIPTS
    down: tuple[str, ...]
    mid: tuple[str, ...]
    up: tuple[str, ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    encoder: str = "BASE"

    @property
    def counted(self) -> tuple[str, ...]:
        """The blocks of `block_dims`."""
        return (*self.before, *self.down, *self.mid, *self.up, *self.after)


@dataclass(frozen=True, eq=False, kw_only=True)
class NetworkArguments(Trainer):
    """`--network_args` of sd-scripts and musubi-tuner for blocks: which to train, at what rank and learning rate.

    module: the value of `--network_module`, the file that reads the arguments.
    indices: by the letter of a stack, the argument that lists the numbers of the blocks to train.
    shares: how `network_reg_dims` and `network_reg_lrs` are matched: with "search" in a name like
        `lora_unet_double_blocks_0_img_attn_qkv`, with "fullmatch" in one like `blocks.0.self_attn.q_proj`.
    dims: an argument with a rank for each module outside of the stacks. in_dims: these modules, in the order of the
        argument, and the block of each.
    included: by block or letter of a stack, what the trainer leaves out unless `include_patterns` says otherwise; `#`
        is the number of the block.
    excluded: the trainer's own patterns, which it uses only without `exclude_patterns`.
    is_whole: every linear layer is trained, including those outside of the stacks.
    enabled: by block, the argument without which it is not trained.
    encoders: the blocks of the text encoders in the order of `--text_encoder_lr`; empty if it trains none.

    Without `indices`, blocks are left out with rank 0 if `shares` is "search", because these modules do not support
    `exclude_patterns`; otherwise with `exclude_patterns`, regular expressions for whole names like
    `blocks.0.self_attn.q_proj` (musubi-tuner's `networks/lora.py`, sd-scripts' `networks/lora_anima.py`).
    """

    module: str
    indices: Mapping[str, str] = field(default_factory=dict)
    shares: Matching = ""
    dims: str = ""
    in_dims: tuple[tuple[str, str], ...] = ()
    included: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    excluded: tuple[str, ...] = ()
    is_whole: bool = False
    enabled: Mapping[str, str] = field(default_factory=dict)
    encoders: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class SdScripts(NetworkArguments):
    """`NetworkArguments` of sd-scripts."""

    program: ClassVar[str] = SD_SCRIPTS


@dataclass(frozen=True, eq=False, kw_only=True)
class Musubi(NetworkArguments):
    """`NetworkArguments` of musubi-tuner, which trains all blocks in the same way and no text encoder."""

    program: ClassVar[str] = MUSUBI


@dataclass(frozen=True, eq=False, kw_only=True)
class AiToolkit(Trainer):
    """Words to match module names in ai-toolkit's configuration: `only_if_contains`.

    A module is trained if one of the words occurs in its name, which begins with the name of the model
    (`toolkit/lora_special.py`: `word in clean_name`).

    roots: the beginnings of names. stacks: the path of each stack in the model of ai-toolkit, by its path in the
        original checkpoint, if they differ. is_renamed: modules outside of the stacks have diffusers' names.
    unet: where the modules of a U-Net are. encoder: the block of the text encoders; empty if it trains none.
    """

    program: ClassVar[str] = AI_TOOLKIT
    roots: tuple[str, ...] = ("transformer.",)
    stacks: Mapping[str, str] = field(default_factory=dict)
    is_renamed: bool = False
    unet: UNetPaths | None = None
    encoder: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class LyCORIS(Trainer):
    """Glob patterns for module names in a LyCORIS preset (its `docs/Preset.md`, `lycoris/kohya.py`).

    Module names are those of the models in sd-scripts and musubi-tuner, which match the original checkpoints except
    for SD 1.x and 2.x.

    unet: where the modules of a U-Net are. encoders: by block, the classes of the text encoder's layers.
    """

    program: ClassVar[str] = LYCORIS
    unet: UNetPaths | None = None
    encoders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


CLIP_LAYERS = ("CLIPAttention", "CLIPSdpaAttention", "CLIPMLP")
"""The classes of CLIP layers that are trained, in `lycoris/kohya.py`."""
