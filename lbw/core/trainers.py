"""How trainers are told which blocks of a model to train: the part of a family that its training needs, as data.

What the settings mean to a trainer stands with each class, with the file of the trainer that reads them. What is made
of them is the work of `lbw.analysis.trainer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

SD_SCRIPTS, MUSUBI, AI_TOOLKIT, LYCORIS = "sd-scripts", "musubi-tuner", "ai-toolkit", "LyCORIS"

Matching = Literal["", "search", "fullmatch"]
"""How a trainer looks for a pattern: anywhere in a name, as a whole name, or not at all."""


@dataclass(frozen=True, eq=False)
class UNetPaths:
    """Where the modules of a U-Net's blocks stand in the model of a trainer.

    attention, convolutions: by block, paths of modules; one that ends with a dot stands for all modules below it.
    """

    attention: Mapping[str, str]
    convolutions: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class Trainer:
    """A trainer that can train single blocks of a family.

    sizes: the names of the sizes that it trains; all of the family where none are given.
    remark: what people have to know who use it for this family.
    """

    program: ClassVar[str]
    sizes: tuple[str, ...] = ()
    remark: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class UNetArguments(Trainer):
    """Numbers for each block of a U-Net, which `networks/lora.py` of sd-scripts counts in an order of its own.

    The order is that of its `get_block_index`, `get_block_lr_weight` and `get_block_dims_and_alphas`.

    down, mid, up: the blocks of `down_lr_weight`, `mid_lr_weight`, `up_lr_weight`. before, after: what `block_dims`
    counts besides. encoder: the block of the text encoders.
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
    """What `--network_args` of sd-scripts and musubi-tuner say of blocks: which, at what rank, at what learning rate.

    module: what `--network_module` names; the file that reads the arguments.
    indices: by the letter of a stack, the argument that lists the numbers of the blocks to train.
    shares: how `network_reg_dims` and `network_reg_lrs` are looked for: with "search" in a name like
        `lora_unet_double_blocks_0_img_attn_qkv`, with "fullmatch" in one like `blocks.0.self_attn.q_proj`.
    dims: an argument with a rank for each module outside of the stacks. in_dims: those modules, in its order, and the
        block of each.
    included: by block or letter of a stack, what the trainer leaves out but for `include_patterns`; `#` is the number
        of the block.
    excluded: patterns that the trainer has for itself only where it is given no `exclude_patterns`.
    is_whole: every linear layer is trained, those outside of the stacks too.
    enabled: by block, the argument without which it is not trained.
    encoders: the blocks of the text encoders in the order of `--text_encoder_lr`; none where it trains none.

    Where there are no `indices`, blocks are left out with rank 0 if `shares` is "search", because such modules take no
    `exclude_patterns`; else with `exclude_patterns`, regular expressions for whole names like
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
    """`NetworkArguments` of musubi-tuner, which trains all blocks alike, and no text encoder."""

    program: ClassVar[str] = MUSUBI


@dataclass(frozen=True, eq=False, kw_only=True)
class AiToolkit(Trainer):
    """Words of which the name of a module holds one, in ai-toolkit's configuration: `only_if_contains`.

    A module is trained where a word is a part of its name, which begins with the name of the model
    (`toolkit/lora_special.py`: `word in clean_name`).

    roots: what names begin with. stacks: the path of each stack in the model of ai-toolkit, by that of the original
        checkpoint, where it is another. is_renamed: what stands outside of the stacks has diffusers' names.
    unet: where the modules of a U-Net stand. encoder: the block of the text encoders; none where it trains none.
    """

    program: ClassVar[str] = AI_TOOLKIT
    roots: tuple[str, ...] = ("transformer.",)
    stacks: Mapping[str, str] = field(default_factory=dict)
    is_renamed: bool = False
    unet: UNetPaths | None = None
    encoder: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class LyCORIS(Trainer):
    """Patterns of file names for names of modules, in a preset of LyCORIS (its `docs/Preset.md`, `lycoris/kohya.py`).

    Modules are named as in the models of sd-scripts and musubi-tuner, which name them as the original checkpoints do,
    but for SD 1.x and 2.x.

    unet: where the modules of a U-Net stand. encoders: by block, the classes of the text encoder's layers.
    """

    program: ClassVar[str] = LYCORIS
    unet: UNetPaths | None = None
    encoders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


CLIP_LAYERS = ("CLIPAttention", "CLIPSdpaAttention", "CLIPMLP")
"""The classes of the layers of CLIP that are trained, in `lycoris/kohya.py`."""
