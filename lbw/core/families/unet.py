"""The U-Nets: SD 1.x, SD 2.x, SDXL and its refiner.

Their blocks are named after the paths of the original (LDM) checkpoints; names of the diffusers library are translated
to those, following its own `convert_original_stable_diffusion_to_diffusers.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..family import Family, Renamed, Size, Stack, numbered
from ..trainers import CLIP_LAYERS, AiToolkit, LyCORIS, Trainer, UNetArguments, UNetPaths

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def _layout(ins: Iterable[int], outs: Iterable[int]) -> tuple[str, ...]:
    return ("BASE", *numbered("IN", ins), "M00", *numbered("OUT", outs))


LAYOUTS = {
    12: _layout([4, 5, 7, 8], range(6)),
    17: _layout([1, 2, 4, 5, 7, 8], range(3, 12)),
    20: _layout(range(9), range(9)),
    26: _layout(range(12), range(12)),
}


def _renamed(stages: int, stages_with_attention_up: tuple[int, ...]) -> Renamed:
    """Return diffusers' names of a U-Net of `stages` resolutions."""
    names = {
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
    }
    for embedding in ("add_embedding", "class_embedding"):
        names |= {f"{embedding}.linear_1": "label_emb.0.0", f"{embedding}.linear_2": "label_emb.0.2"}

    def put(theirs: str, resnet: str, attention: str) -> None:
        names[theirs.format("attentions")] = attention
        names[theirs.format("resnets")] = resnet
        for a, b in _RESNET.items():
            names[f"{theirs.format('resnets')}.{a}"] = f"{resnet}.{b}"

    for i in range(stages):
        for j in range(2):
            block = f"input_blocks.{3 * i + 1 + j}"
            put(f"down_blocks.{i}.{{}}.{j}", f"{block}.0", f"{block}.1")
        names[f"down_blocks.{i}.downsamplers.0.conv"] = f"input_blocks.{3 * i + 3}.0.op"
        for j in range(3):
            block = f"output_blocks.{3 * i + j}"
            put(f"up_blocks.{i}.{{}}.{j}", f"{block}.0", f"{block}.1")
        place = 2 if i in stages_with_attention_up else 1
        names[f"up_blocks.{i}.upsamplers.0.conv"] = f"output_blocks.{3 * i + 2}.{place}.conv"
    for j in range(2):
        put(f"mid_block.{{}}.{j}", f"middle_block.{2 * j}", "middle_block.1")
    return Renamed("", "", names)


def _diffusers_paths(stages: int, with_attention: tuple[str, ...]) -> UNetPaths:
    """Return where the blocks of a U-Net of `stages` resolutions are in diffusers' model."""
    attention = {"M00": "mid_block.attentions.0."}
    convolutions: dict[str, tuple[str, ...]] = {"IN00": ("conv_in",), "M00": ("mid_block.resnets.",)}
    for stage in range(stages):
        is_last = stage == stages - 1
        for n in range(2):
            block = f"IN{3 * stage + 1 + n:02}"
            convolutions[block] = (f"down_blocks.{stage}.resnets.{n}.",)
            attention[block] = f"down_blocks.{stage}.attentions.{n}."
        if not is_last:
            convolutions[f"IN{3 * stage + 3:02}"] = (f"down_blocks.{stage}.downsamplers.",)
        for n in range(3):
            block = f"OUT{3 * stage + n:02}"
            convolutions[block] = (f"up_blocks.{stage}.resnets.{n}.",)
            attention[block] = f"up_blocks.{stage}.attentions.{n}."
        convolutions[block] += ("conv_out",) if is_last else (f"up_blocks.{stage}.upsamplers.",)
    return UNetPaths({block: path for block, path in attention.items() if block in with_attention}, convolutions)


def _original_paths(count: int, with_attention: tuple[str, ...]) -> UNetPaths:
    """Return where the blocks of SDXL are in the original model, `count` of them on each side."""
    attention = {"M00": "middle_block.1."}
    convolutions: dict[str, tuple[str, ...]] = {"M00": ("middle_block.0.", "middle_block.2.")}
    for side, path in (("IN", "input_blocks"), ("OUT", "output_blocks")):
        for n in range(count):
            block = f"{side}{n:02}"
            convolutions[block] = (f"{path}.{n}.0.",)
            if block in with_attention:
                attention[block] = f"{path}.{n}.1."
    for n in (2, 5):
        convolutions[f"OUT{n:02}"] += (f"output_blocks.{n}.2.",)
    last = f"OUT{count - 1:02}"
    convolutions |= {"IN00": ("input_blocks.0.0",), last: (*convolutions[last], "out.")}
    return UNetPaths(attention, convolutions)


_FOUR_PATHS = _diffusers_paths(4, LAYOUTS[17])
_FOUR_TRAINERS: tuple[Trainer, ...] = (
    UNetArguments(down=numbered("IN", range(12)), mid=("M00",), up=numbered("OUT", range(12))),
    AiToolkit(roots=("lora_unet.",), unet=_FOUR_PATHS, encoder="BASE"),
    LyCORIS(unet=_FOUR_PATHS, encoders={"BASE": CLIP_LAYERS}),  # sd-scripts names the modules as diffusers does
)
_XL_TRAINERS: tuple[Trainer, ...] = (
    UNetArguments(
        down=numbered("IN", range(9)),
        mid=("M00",) * 3,
        up=numbered("OUT", range(9)),
        before=("BASE",),
        after=("OUT08",),
    ),
    AiToolkit(roots=("lora_unet.",), unet=_diffusers_paths(3, LAYOUTS[12]), encoder="BASE"),
    LyCORIS(unet=_original_paths(9, LAYOUTS[12]), encoders={"BASE": CLIP_LAYERS}),
)


def _family(
    name: str,
    title: str,
    released: str,
    count: int,
    renamed: Renamed,
    context: int,
    metadata: str,
    tells: str,
    tells_encoder: str,
    usual_groups: tuple[str, ...],
    host_encoders: tuple[str, ...],
    pipeline: tuple[str, ...],
    picture_size: int = 1024,
    trainers: tuple[Trainer, ...] = (),
) -> Family:
    """Return a U-Net of `count` blocks on each side whose cross-attention reads text of the width `context`."""
    ins, outs = numbered("IN", range(count)), numbered("OUT", range(count))
    return Family(
        name=name,
        title=title,
        released=released,
        kind="unet",
        order=("BASE", "IN*", "M00", "OUT*"),
        stacks=(Stack("IN", "input_blocks"), Stack("OUT", "output_blocks")),
        outside={"BASE": "time_embed label_emb", "M00": "middle_block", outs[-1]: "out"},
        sizes=(Size(name, title, {"IN": count, "OUT": count}, context),),
        encoders={"clip": "BASE", "t5": "BASE", "llm": "BASE"},
        renamed=(renamed,),
        host_encoders=host_encoders,
        rest="BASE",
        width_at="attn2.to_k attn2.to_v",
        metadata=metadata,
        tells=tells,
        tells_encoder=tells_encoder,
        layouts=LAYOUTS,
        groups={
            "MID": ("M00",),
            "M": ("M00",),
            "ENCODER": ("BASE",),
            "EARLY": ins,
            "MIDDLE": ("M00",),
            "LATE": outs,
        },
        usual_groups=usual_groups,
        trainers=trainers,
        pipeline=pipeline,
        picture_size=picture_size,
    )


# Names of blocks that exist, or have attention, in only one of them.
_FOUR_STAGES = (
    r"input_blocks_(?:[12]_1_|9_|1[01]_)|output_blocks_(?:[678]_1_(?!conv)|9_|1[01]_)|"
    r"down_blocks_(?:0_attentions|3_)|up_blocks_(?:2_attentions|3_)"
)
_TWO_ENCODERS = r"(?:^|_)(?:te2|text_encoder_2|clip_g|conditioner_embedders_1)_|^1_model_transformer"
_DEEP = r"(?:^|_)(?:down|up|mid|input|output|middle)_block.*transformer_blocks_[1-9]"
_OPEN_CLIP_ALONE = r"^(?:cond_stage_model_)?model_transformer_resblocks|^clip_h_"

# Attention at one resolution: the blocks of a stage that a LoRA without convolutions has.
_FOUR_GROUPS = ("IN01 IN02", "IN04 IN05", "IN07 IN08", "OUT03-OUT05", "OUT06-OUT08", "OUT09-OUT11")
_XL_GROUPS = ("IN04 IN05", "IN07 IN08", "OUT00-OUT02", "OUT03-OUT05")

SD1 = _family(
    "sd1", "SD 1.x", "2022-08", 12, _renamed(4, (1, 2)), 768, r"sd_v1|sd_1|stable-diffusion-v1",
    _FOUR_STAGES, r"(?:lora|oft|lycoris)_te_|(?:^|_)text_encoder_text_model|cond_stage_model_transformer",
    _FOUR_GROUPS, ("clip_l",),
    ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"), 512,
    _FOUR_TRAINERS,
)  # fmt: skip
SD2 = _family(
    "sd2", "SD 2.x", "2022-11", 12, _renamed(4, (1, 2)), 1024, r"sd_v2|sd_2|stable-diffusion-v2",
    f"{_FOUR_STAGES}|{_OPEN_CLIP_ALONE}", _OPEN_CLIP_ALONE, _FOUR_GROUPS, ("clip_h",),
    ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"), 512,
    _FOUR_TRAINERS,
)  # fmt: skip
SDXL = _family(
    "sdxl", "SDXL", "2023-07", 9, _renamed(3, (0, 1)), 2048, r"sdxl|stable-diffusion-xl(?!-v1-refiner)|^ssd$|^vega$",
    f"{_TWO_ENCODERS}|{_DEEP}|label_emb|add_embedding|output_blocks_0_1_|up_blocks_0_attentions",
    f"{_TWO_ENCODERS}|(?:lora|oft|lycoris)_te1_|^te1_|(?:^|_)clip_l_",
    _XL_GROUPS, ("clip_l", "clip_g"),
    ("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"), 1024,
    _XL_TRAINERS,
)  # fmt: skip
SDXL_REFINER = _family(
    "sdxl-refiner", "SDXL refiner", "2023-07", 12, _renamed(4, (1, 2)), 1280, r"stable-diffusion-xl-v1-refiner",
    r"input_blocks_(?:7|8)_1_transformer_blocks_3|down_blocks_2_attentions_\d_transformer_blocks_3", "",
    _FOUR_GROUPS, ("clip_g",), ("StableDiffusionXLImg2ImgPipeline",),
)  # fmt: skip
