"""Families of models as data: their blocks, their layouts, how their tensors' names map to blocks.

A new model is a new table here; no other file knows one by name.

U-Net blocks are named after the paths of the original (LDM) checkpoints, Flux blocks after the
original release. Names of the diffusers library are translated to those, after diffusers' own
conversion scripts (`convert_original_stable_diffusion_to_diffusers.py`,
`convert_flux_to_diffusers.py`). All names are written with underscores, without a prefix; a key of
a table stands for every name that begins with it and goes on after an underscore.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, eq=False)
class Architecture:
    """One family of models.

    kind: architectures of one kind understand each other's layouts, block by block.
    blocks: every block, in layout order.
    layouts: by the count of numbers, the blocks that such a list fills.
    unlisted: by the count of numbers, what a block gets that the layout leaves out (0 where absent).
    groups: names that stand for several blocks in a selector.
    renames: beginnings of names in other namings, and what the original calls them.
    places: beginnings of the original's names, and the block that they belong to.
    encoders: the block of each sort of text encoder ("clip", "t5").
    rest: the block of a tensor that nothing above places.
    together: selectors of blocks that are usually set alike, as they stand beside each other in the model.
    """

    name: str
    title: str
    kind: str
    blocks: tuple[str, ...]
    layouts: Mapping[int, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]
    renames: Mapping[str, str]
    places: Mapping[str, str]
    encoders: Mapping[str, str]
    rest: str
    unlisted: Mapping[int, float] = field(default_factory=dict)
    together: tuple[str, ...] = ()

    @property
    def full_layout(self) -> int:
        """The count of numbers of the layout that lists every block."""
        return next(count for count, blocks in self.layouts.items() if blocks == self.blocks)


def _numbered(prefix: str, numbers: Iterable[int]) -> tuple[str, ...]:
    return tuple(f"{prefix}{n:02}" for n in numbers)


# U-Nets ------------------------------------------------------------------------------------------


def _unet(ins: Iterable[int], outs: Iterable[int]) -> tuple[str, ...]:
    return ("BASE", *_numbered("IN", ins), "M00", *_numbered("OUT", outs))


UNET_LAYOUTS = {
    12: _unet([4, 5, 7, 8], range(6)),
    17: _unet([1, 2, 4, 5, 7, 8], range(3, 12)),
    20: _unet(range(9), range(9)),
    26: _unet(range(12), range(12)),
}

_RESNET = {
    "norm1": "in_layers_0",
    "conv1": "in_layers_2",
    "time_emb_proj": "emb_layers_1",
    "norm2": "out_layers_0",
    "conv2": "out_layers_3",
    "conv_shortcut": "skip_connection",
}


def _unet_renames(stages: int, stages_with_attention_up: tuple[int, ...]) -> dict[str, str]:
    names = {
        "conv_in": "input_blocks_0_0",
        "conv_norm_out": "out_0",
        "conv_out": "out_2",
        "time_embedding_linear_1": "time_embed_0",
        "time_embedding_linear_2": "time_embed_2",
    }
    for embedding in ("add_embedding", "class_embedding"):
        names |= {f"{embedding}_linear_1": "label_emb_0_0", f"{embedding}_linear_2": "label_emb_0_2"}

    def put(theirs: str, resnet: str, attention: str) -> None:
        names[theirs.format("attentions")] = attention
        names[theirs.format("resnets")] = resnet
        for a, b in _RESNET.items():
            names[f"{theirs.format('resnets')}_{a}"] = f"{resnet}_{b}"

    for i in range(stages):
        for j in range(2):
            block = f"input_blocks_{3 * i + 1 + j}"
            put(f"down_blocks_{i}_{{}}_{j}", f"{block}_0", f"{block}_1")
        names[f"down_blocks_{i}_downsamplers_0_conv"] = f"input_blocks_{3 * i + 3}_0_op"
        for j in range(3):
            block = f"output_blocks_{3 * i + j}"
            put(f"up_blocks_{i}_{{}}_{j}", f"{block}_0", f"{block}_1")
        place = 2 if i in stages_with_attention_up else 1
        names[f"up_blocks_{i}_upsamplers_0_conv"] = f"output_blocks_{3 * i + 2}_{place}_conv"
    for j in range(2):
        put(f"mid_block_{{}}_{j}", f"middle_block_{2 * j}", "middle_block_1")
    return names


def _unet_places(layout: tuple[str, ...]) -> dict[str, str]:
    sides = {"IN": "input_blocks", "OUT": "output_blocks"}
    places = {
        f"{path}_{int(block[len(side) :])}": block
        for side, path in sides.items()
        for block in layout
        if block.startswith(side)
    }
    return places | {"middle_block": "M00", "time_embed": "BASE", "label_emb": "BASE", "out": layout[-1]}


def _unet_architecture(
    name: str, title: str, layout: int, stages: int, attention_up: tuple[int, ...], together: tuple[str, ...]
) -> Architecture:
    blocks = UNET_LAYOUTS[layout]
    return Architecture(
        name=name,
        title=title,
        kind="unet",
        blocks=blocks,
        layouts=UNET_LAYOUTS,
        groups={
            "IN": tuple(b for b in blocks if b.startswith("IN")),
            "OUT": tuple(b for b in blocks if b.startswith("OUT")),
            "MID": ("M00",),
            "M": ("M00",),
            "ENCODER": ("BASE",),
        },
        renames=_unet_renames(stages, attention_up),
        places=_unet_places(blocks),
        encoders={"clip": "BASE", "t5": "BASE"},
        rest="BASE",
        together=together,
    )


# Flux --------------------------------------------------------------------------------------------

_DOUBLE = _numbered("D", range(19))
_SINGLE = _numbered("S", range(38))
_FLUX = ("CLIP", "T5", "IN", *_DOUBLE, *_SINGLE, "OUT")

_FLUX_DOUBLE = {
    "norm1_linear": "img_mod_lin",
    "norm1_context_linear": "txt_mod_lin",
    "attn_to_q": "img_attn_qkv",
    "attn_to_k": "img_attn_qkv",
    "attn_to_v": "img_attn_qkv",
    "attn_to_out": "img_attn_proj",
    "attn_norm_q": "img_attn_norm_query_norm",
    "attn_norm_k": "img_attn_norm_key_norm",
    "attn_add_q_proj": "txt_attn_qkv",
    "attn_add_k_proj": "txt_attn_qkv",
    "attn_add_v_proj": "txt_attn_qkv",
    "attn_to_add_out": "txt_attn_proj",
    "attn_norm_added_q": "txt_attn_norm_query_norm",
    "attn_norm_added_k": "txt_attn_norm_key_norm",
    "ff_net_0_proj": "img_mlp_0",
    "ff_net_2": "img_mlp_2",
    "ff_context_net_0_proj": "txt_mlp_0",
    "ff_context_net_2": "txt_mlp_2",
}
_FLUX_SINGLE = {
    "norm_linear": "modulation_lin",
    "attn_to_q": "linear1",
    "attn_to_k": "linear1",
    "attn_to_v": "linear1",
    "attn_norm_q": "norm_query_norm",
    "attn_norm_k": "norm_key_norm",
    "proj_mlp": "linear1",
    "proj_out": "linear2",
}
_FLUX_RENAMES = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "time_text_embed_timestep_embedder_linear_1": "time_in_in_layer",
    "time_text_embed_timestep_embedder_linear_2": "time_in_out_layer",
    "time_text_embed_text_embedder_linear_1": "vector_in_in_layer",
    "time_text_embed_text_embedder_linear_2": "vector_in_out_layer",
    "time_text_embed_guidance_embedder_linear_1": "guidance_in_in_layer",
    "time_text_embed_guidance_embedder_linear_2": "guidance_in_out_layer",
    "norm_out_linear": "final_layer_adaLN_modulation_1",
    "proj_out": "final_layer_linear",
    **{f"transformer_blocks_{n}": f"double_blocks_{n}" for n in range(19)},
    **{f"single_transformer_blocks_{n}": f"single_blocks_{n}" for n in range(38)},
    **{f"transformer_blocks_{n}_{a}": f"double_blocks_{n}_{b}" for n in range(19) for a, b in _FLUX_DOUBLE.items()},
    **{
        f"single_transformer_blocks_{n}_{a}": f"single_blocks_{n}_{b}"
        for n in range(38)
        for a, b in _FLUX_SINGLE.items()
    },
}

# Attention at one resolution: the blocks of a stage that a LoRA without convolutions has.
_SD_TOGETHER = ("IN01 IN02", "IN04 IN05", "IN07 IN08", "OUT03-OUT05", "OUT06-OUT08", "OUT09-OUT11")
_SDXL_TOGETHER = ("IN04 IN05", "IN07 IN08", "OUT00-OUT02", "OUT03-OUT05")

SD1 = _unet_architecture("sd1", "SD 1.x", 26, 4, (1, 2), _SD_TOGETHER)
SD2 = _unet_architecture("sd2", "SD 2.x", 26, 4, (1, 2), _SD_TOGETHER)
SDXL = _unet_architecture("sdxl", "SDXL", 20, 3, (0, 1), _SDXL_TOGETHER)
FLUX = Architecture(
    name="flux",
    title="Flux.1",
    kind="flux",
    blocks=_FLUX,
    layouts={61: _FLUX, 57: _DOUBLE + _SINGLE},
    unlisted={57: 1.0},
    groups={"D": _DOUBLE, "S": _SINGLE, "BASE": ("CLIP", "T5"), "ENCODER": ("CLIP", "T5")},
    renames=_FLUX_RENAMES,
    places={
        **{f"double_blocks_{n}": block for n, block in enumerate(_DOUBLE)},
        **{f"single_blocks_{n}": block for n, block in enumerate(_SINGLE)},
        **{f"{name}_in": "IN" for name in ("img", "txt", "time", "vector", "guidance")},
        "final_layer": "OUT",
    },
    encoders={"clip": "CLIP", "t5": "T5"},
    rest="IN",
    # Its blocks are all alike: early, middle and late ones of each kind.
    together=("D00-D05", "D06-D12", "D13-D18", "S00-S12", "S13-S25", "S26-S37"),
)

ARCHITECTURES = {a.name: a for a in (SD1, SD2, SDXL, FLUX)}


def layout_owners(count: int) -> list[Architecture]:
    """Return the architectures that have a layout of `count` numbers."""
    return [a for a in ARCHITECTURES.values() if count in a.layouts]
