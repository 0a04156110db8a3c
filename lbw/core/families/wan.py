"""Wan 2.1 and 2.2.

Names of the original from Neo's `backend/nn/wan.py`; of diffusers from `convert_wan_transformer_to_diffusers`.
"""

from __future__ import annotations

from ..family import Family, Renamed, Size, Stack
from ..trainers import AiToolkit, LyCORIS, Musubi

_SELF = "self_attn.q self_attn.k self_attn.v self_attn.o self_attn.norm_q self_attn.norm_k"
_CROSS = _SELF.replace("self_attn", "cross_attn")
_IMAGE = "cross_attn.k_img cross_attn.v_img cross_attn.norm_k_img"
_NAMES = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o", "norm_q": "norm_q", "norm_k": "norm_k"}

WAN = Family(
    name="wan",
    title="Wan",
    released="2025-02",
    order=("TE", "IN", "B*", "OUT"),
    stacks=(Stack("B", "blocks", f"{_SELF} {_CROSS} {_IMAGE} ffn.0 ffn.2 norm3 modulation"),),
    outside={
        "IN": "patch_embedding text_embedding time_embedding time_projection img_emb ref_conv",
        "OUT": "head",
    },
    sizes=(
        Size("wan-1.3b", "Wan 2.1 1.3B", {"B": 30}, 1536, r"1[._]3b"),
        Size("wan-5b", "Wan 2.2 5B", {"B": 30}, 3072, r"5b"),
        Size("wan-14b", "Wan 14B", {"B": 40}, 5120, r"14b"),
    ),
    encoders={"t5": "TE"},
    renamed=(
        Renamed(
            "blocks",
            "blocks",
            {f"attn1.{theirs}": f"self_attn.{ours}" for theirs, ours in _NAMES.items()}
            | {f"attn2.{theirs}": f"cross_attn.{ours}" for theirs, ours in _NAMES.items()}
            | {
                "attn2.add_k_proj": "cross_attn.k_img",
                "attn2.add_v_proj": "cross_attn.v_img",
                "attn2.norm_added_k": "cross_attn.norm_k_img",
                "ffn.net.0.proj": "ffn.0",
                "ffn.net.2": "ffn.2",
                "norm2": "norm3",
                "scale_shift_table": "modulation",
            },
        ),
        Renamed(
            "",
            "",
            {
                "condition_embedder.time_embedder.linear_1": "time_embedding.0",
                "condition_embedder.time_embedder.linear_2": "time_embedding.2",
                "condition_embedder.text_embedder.linear_1": "text_embedding.0",
                "condition_embedder.text_embedder.linear_2": "text_embedding.2",
                "condition_embedder.time_proj": "time_projection.1",
                "condition_embedder.image_embedder.norm1": "img_emb.proj.0",
                "condition_embedder.image_embedder.ff.net.0.proj": "img_emb.proj.1",
                "condition_embedder.image_embedder.ff.net.2": "img_emb.proj.3",
                "condition_embedder.image_embedder.norm2": "img_emb.proj.4",
                "scale_shift_table": "head.modulation",
                "proj_out": "head.head",
            },
        ),
    ),
    host_encoders=("umt5xxl",),
    width_at=(
        "self_attn.q self_attn.k self_attn.v self_attn.o cross_attn.q cross_attn.k cross_attn.v cross_attn.o ffn.0 "
        "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 ffn.net.0.proj"
    ),
    metadata=r"^wan",
    trainers=(
        Musubi(module="networks.lora_wan"),
        # ai-toolkit trains both transformers of Wan 2.2 14B in one model.
        AiToolkit(roots=("transformer.", "transformer_1.", "transformer_2."), is_renamed=True),
        LyCORIS(),
    ),
    pipeline=("WanPipeline", "WanImageToVideoPipeline"),
    picture_size=512,
)
