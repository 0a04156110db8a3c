"""Flux.1: dev, schnell, Kontext, Krea, Fill.

Names of the original from its release; of diffusers from `convert_flux_to_diffusers.py` and
`loaders/lora_conversion_utils.py`; of XLabs' trainer from `_convert_xlabs_flux_lora_to_diffusers` there.
"""

from __future__ import annotations

from ..family import Family, Renamed, Size, Stack
from ..texts import t
from ..trainers import CLIP_LAYERS, AiToolkit, LyCORIS, Musubi, SdScripts

DOUBLE = (
    "img_attn.qkv img_attn.norm.query_norm img_attn.norm.key_norm img_attn.proj img_mlp.0 img_mlp.2 "
    "txt_attn.qkv txt_attn.norm.query_norm txt_attn.norm.key_norm txt_attn.proj txt_mlp.0 txt_mlp.2"
)
SINGLE = "linear1 linear2 norm.query_norm norm.key_norm"

# diffusers' names for what Flux.1, Chroma and Flux.2 have in common.
DOUBLE_ATTENTION = {
    "attn.to_q": "img_attn.qkv:q",
    "attn.to_k": "img_attn.qkv:k",
    "attn.to_v": "img_attn.qkv:v",
    "attn.to_out.0": "img_attn.proj",
    "attn.norm_q": "img_attn.norm.query_norm",
    "attn.norm_k": "img_attn.norm.key_norm",
    "attn.add_q_proj": "txt_attn.qkv:q",
    "attn.add_k_proj": "txt_attn.qkv:k",
    "attn.add_v_proj": "txt_attn.qkv:v",
    "attn.to_add_out": "txt_attn.proj",
    "attn.norm_added_q": "txt_attn.norm.query_norm",
    "attn.norm_added_k": "txt_attn.norm.key_norm",
}
_DOUBLE = DOUBLE_ATTENTION | {
    "norm1.linear": "img_mod.lin",
    "norm1_context.linear": "txt_mod.lin",
    "ff.net.0.proj": "img_mlp.0",
    "ff.net.2": "img_mlp.2",
    "ff_context.net.0.proj": "txt_mlp.0",
    "ff_context.net.2": "txt_mlp.2",
}
_SINGLE = {
    "norm.linear": "modulation.lin",
    "attn.to_q": "linear1:q",
    "attn.to_k": "linear1:k",
    "attn.to_v": "linear1:v",
    "attn.norm_q": "norm.query_norm",
    "attn.norm_k": "norm.key_norm",
    "proj_mlp": "linear1:mlp",
    "proj_out": "linear2",
}
_XLABS_DOUBLE = {
    "processor.qkv_lora1": "img_attn.qkv",
    "processor.qkv_lora2": "txt_attn.qkv",
    "processor.proj_lora1": "img_attn.proj",
    "processor.proj_lora2": "txt_attn.proj",
}
_XLABS_SINGLE = {
    "linear1_qkv": "linear1:q,k,v",
    "processor.qkv_lora": "linear1:q,k,v",
    "processor.proj_lora": "linear2",
}
# DiffSynth-Studio's own names, in its `diffsynth/utils/lora/flux.py`; a is the image stream, b the text stream.
_STREAMS = (("a", "img"), ("b", "txt"))
_DIFFSYNTH_DOUBLE = {
    theirs.format(a): ours.format(b)
    for a, b in _STREAMS
    for theirs, ours in {
        "attn.{}_to_qkv": "{}_attn.qkv",
        "attn.{}_to_q": "{}_attn.qkv:q",
        "attn.{}_to_k": "{}_attn.qkv:k",
        "attn.{}_to_v": "{}_attn.qkv:v",
        "attn.{}_to_out": "{}_attn.proj",
        "ff_{}.0": "{}_mlp.0",
        "ff_{}.2": "{}_mlp.2",
        "norm1_{}.linear": "{}_mod.lin",
    }.items()
}
_DIFFSYNTH_SINGLE = {
    "to_qkv_mlp": "linear1",
    "a_to_q": "linear1:q",
    "a_to_k": "linear1:k",
    "a_to_v": "linear1:v",
    "proj_in_besides_attn": "linear1:mlp",
    "proj_out": "linear2",
    "norm.linear": "modulation.lin",
}
FUSED = {
    "img_attn.qkv": "q k v",
    "txt_attn.qkv": "q k v",
    "linear1": "q k v mlp",
    "final_layer.adaLN_modulation.1": "shift scale",
}
WIDTH_AT = (
    "img_attn.qkv img_attn.proj img_mlp.0 txt_attn.qkv txt_attn.proj txt_mlp.0 linear1 linear1_qkv "
    "attn.to_q attn.to_k attn.to_v attn.to_out.0 attn.add_q_proj attn.add_k_proj attn.add_v_proj attn.to_add_out "
    "ff.net.0.proj ff_context.net.0.proj proj_mlp processor.qkv_lora1 processor.qkv_lora2"
)
RATIOS = {
    "img_attn.qkv": 3.0,
    "txt_attn.qkv": 3.0,
    "img_mlp.0": 4.0,
    "img_mlp.2": 0.25,
    "txt_mlp.0": 4.0,
    "txt_mlp.2": 0.25,
    "linear1": 7.0,
    "linear2": 0.2,
    "ff.net.0.proj": 4.0,
    "ff.net.2": 0.25,
    "proj_out": 0.2,
}

SD_SCRIPTS = SdScripts(
    module="networks.lora_flux",
    indices={"D": "train_double_block_indices", "S": "train_single_block_indices"},
    shares="search",
    dims="in_dims",
    in_dims=tuple((name, "IN") for name in ("img_in", "time_in", "vector_in", "guidance_in", "txt_in")),
    enabled={"T5": "train_t5xxl=True"},
    encoders=("CLIP", "T5"),
)

FLUX = Family(
    name="flux",
    title="Flux.1",
    released="2024-08",
    order=("CLIP", "T5", "IN", "D*", "S*", "OUT"),
    stacks=(
        Stack("D", "double_blocks", f"{DOUBLE} img_mod.lin txt_mod.lin"),
        Stack("S", "single_blocks", f"{SINGLE} modulation.lin"),
    ),
    outside={
        "IN": "img_in txt_in time_in vector_in guidance_in",
        "OUT": "final_layer",
    },
    sizes=(Size("flux", "Flux.1", {"D": 19, "S": 38}, 3072),),
    encoders={"clip": "CLIP", "t5": "T5"},
    renamed=(
        Renamed("transformer_blocks", "double_blocks", _DOUBLE),
        Renamed("single_transformer_blocks", "single_blocks", _SINGLE),
        Renamed("double_blocks", "double_blocks", _XLABS_DOUBLE),
        Renamed("single_blocks", "single_blocks", _XLABS_SINGLE | _DIFFSYNTH_SINGLE),
        Renamed("blocks", "double_blocks", _DIFFSYNTH_DOUBLE),
        Renamed(
            "",
            "",
            {
                "x_embedder": "img_in",
                "context_embedder": "txt_in",
                "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
                "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
                "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
                "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
                "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
                "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
                "norm_out.linear": "final_layer.adaLN_modulation.1:scale,shift",
                "proj_out": "final_layer.linear",
            },
        ),
    ),
    fused=FUSED,
    host_encoders=("clip_l", "t5xxl"),
    width_at=WIDTH_AT,
    ratios=RATIOS,
    metadata=r"flux[-_. ]?1|flux[-_](?:dev|schnell|kontext)|^flux$",
    tells_encoder=r"(?:^|_)(?:te[123]|text_encoder_[23])_encoder_block_",
    trainers=(
        SD_SCRIPTS,
        Musubi(
            module="networks.lora_flux",
            excluded=(".*(img_mod|txt_mod|modulation)[.]lin.*",),
            remark=t("musubi-tuner trains Kontext alone of the models of Flux.1"),
        ),
        AiToolkit(
            stacks={"double_blocks": "transformer_blocks", "single_blocks": "single_transformer_blocks"},
            is_renamed=True,
        ),
        LyCORIS(encoders={"CLIP": CLIP_LAYERS}),
    ),
    pipeline=("FluxPipeline", "FluxKontextPipeline", "FluxImg2ImgPipeline", "FluxInpaintPipeline", "FluxFillPipeline"),
)
