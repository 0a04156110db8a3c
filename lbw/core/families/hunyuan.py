"""HunyuanImage 2.1 and HunyuanVideo: the design of Flux.1 with 20 and 40 blocks and names of its own.

Names of diffusers from its `transformer_hunyuanimage.py`; of the original from `convert_hunyuan_video_transformer_to_
diffusers`, whose model has the same blocks, and from musubi-tuner.
"""

from __future__ import annotations

from ..family import Family, Renamed, Size, Stack
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
                "context_embedder_2": "byt5_in",
                "context_embedder": "txt_in",
                "time_guidance_embed.timestep_embedder.linear_1": "time_in.in_layer",
                "time_guidance_embed.timestep_embedder.linear_2": "time_in.out_layer",
                "time_guidance_embed.timestep_embedder_r": "time_r_in",
                "time_guidance_embed.guidance_embedder": "guidance_in",
                "norm_out.linear": "final_layer.adaLN_modulation.1:scale,shift",
                "proj_out": "final_layer.linear",
            },
        ),
    ),
    fused=FUSED,
    host_encoders=("qwen25_7b", "byt5_small"),
    width_at=FLUX.width_at,
    metadata=r"hunyuan[-_. ]?(?:image|video)|framepack",
    pipeline=("HunyuanImagePipeline",),
)
