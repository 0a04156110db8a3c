"""HunyuanImage 2.1 and HunyuanVideo: the design of Flux.1 with 20 and 40 blocks and names of its own.

Names of diffusers from its `transformer_hunyuanimage.py`; of the original from `convert_hunyuan_video_transformer_to_
diffusers`, whose model has the same blocks, and from musubi-tuner.
"""

from __future__ import annotations

from ..family import Family, Renamed, Size, Stack
from ..trainers import LyCORIS, Musubi, SdScripts
from .flux import FLUX, FUSED

_SIDES = ("img", "txt")
_DOUBLE = " ".join(
    f"{side}_attn.qkv {side}_attn.proj {side}_attn.norm.query_norm {side}_attn.norm.key_norm "
    f"{side}_mod.lin {side}_mlp.0 {side}_mlp.2"
    for side in _SIDES
)
_OTHER_DOUBLE = {
    f"{side}_{theirs}": f"{side}_{ours}"
    for side in _SIDES
    for theirs, ours in {
        "attn_qkv": "attn.qkv",
        "attn_q_norm": "attn.norm.query_norm",
        "attn_k_norm": "attn.norm.key_norm",
        "attn_proj": "attn.proj",
        "mod.linear": "mod.lin",
        "mlp.fc1": "mlp.0",
        "mlp.fc2": "mlp.2",
    }.items()
}
_OTHER_SINGLE = {"modulation.linear": "modulation.lin", "q_norm": "norm.query_norm", "k_norm": "norm.key_norm"}

_TEXT = {
    "context_embedder": "txt_in",
    "context_embedder.proj_in": "txt_in.input_embedder",
    "context_embedder.time_text_embed.timestep_embedder.linear_1": "txt_in.t_embedder.mlp.0",
    "context_embedder.time_text_embed.timestep_embedder.linear_2": "txt_in.t_embedder.mlp.2",
    "context_embedder.time_text_embed.text_embedder": "txt_in.c_embedder",
    "context_embedder_2.norm": "byt5_in.layernorm",
    "context_embedder_2.linear_1": "byt5_in.fc1",
    "context_embedder_2.linear_2": "byt5_in.fc2",
    "context_embedder_2.linear_3": "byt5_in.fc3",
}
# The text refiner inside `txt_in`: two blocks that belong to IN.
_REFINER = {
    f"context_embedder.token_refiner.refiner_blocks.{n}.{theirs}": f"txt_in.individual_token_refiner.blocks.{n}.{ours}"
    for n in range(2)
    for theirs, ours in {
        "norm1": "norm1",
        "norm2": "norm2",
        "attn.to_q": "self_attn_qkv:q",
        "attn.to_k": "self_attn_qkv:k",
        "attn.to_v": "self_attn_qkv:v",
        "attn.to_out.0": "self_attn_proj",
        "ff.net.0.proj": "mlp.fc1",
        "ff.net.2": "mlp.fc2",
        "norm_out.linear": "adaLN_modulation.1",
    }.items()
}

HUNYUAN = Family(
    name="hunyuan",
    title="Hunyuan",
    released="2025-09",
    order=("TE", "IN", "D*", "S*", "OUT"),
    stacks=(
        Stack("D", "double_blocks", _DOUBLE),
        Stack("S", "single_blocks", "linear1 linear2 modulation.lin norm.query_norm norm.key_norm"),
    ),
    outside={
        "IN": "img_in txt_in byt5_in time_in time_r_in vector_in guidance_in cond_type_embedding",
        "OUT": "final_layer",
    },
    sizes=(
        Size("hunyuan-image", "HunyuanImage 2.1", {"D": 20, "S": 40}, 3584, r"image"),
        Size("hunyuan-video", "HunyuanVideo", {"D": 20, "S": 40}, 3072, r"video|framepack"),
    ),
    encoders={"llm": "TE", "t5": "TE", "clip": "TE"},
    renamed=(
        *(renamed for renamed in FLUX.renamed if renamed.path.endswith("transformer_blocks")),
        Renamed("double_blocks", "double_blocks", _OTHER_DOUBLE),
        Renamed("single_blocks", "single_blocks", _OTHER_SINGLE),
        Renamed(
            "",
            "",
            {
                "x_embedder": "img_in",
                **_TEXT,
                **_REFINER,
                "time_guidance_embed.timestep_embedder.linear_1": "time_in.mlp.0",
                "time_guidance_embed.timestep_embedder.linear_2": "time_in.mlp.2",
                "time_guidance_embed.timestep_embedder_r.linear_1": "time_r_in.mlp.0",
                "time_guidance_embed.timestep_embedder_r.linear_2": "time_r_in.mlp.2",
                "time_guidance_embed.guidance_embedder.linear_1": "guidance_in.mlp.0",
                "time_guidance_embed.guidance_embedder.linear_2": "guidance_in.mlp.2",
                "norm_out.linear": "final_layer.adaLN_modulation.1:scale,shift",
                "proj_out": "final_layer.linear",
            },
        ),
    ),
    fused=FUSED | {"self_attn_qkv": "q k v"},
    host_encoders=("qwen25_7b", "byt5_small"),
    width_at=FLUX.width_at,
    metadata=r"hunyuan[-_. ]?(?:image|video)|framepack",
    trainers=(
        SdScripts(sizes=("hunyuan-image",), module="networks.lora_hunyuan_image", shares="search"),
        Musubi(sizes=("hunyuan-video",), module="networks.lora"),
        LyCORIS(),
    ),
    pipeline=("HunyuanImagePipeline",),
)
