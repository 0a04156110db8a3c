"""ERNIE-Image, whose original names are diffusers' own except for the last (Neo's `backend/nn/ernie.py`)."""

from __future__ import annotations

from ..family import Family, Size, Stack
from ..trainers import AiToolkit, LyCORIS

ERNIE_IMAGE = Family(
    name="ernie-image",
    title="ERNIE-Image",
    released="2026-04",
    order=("TE", "IN", "B*", "OUT"),
    stacks=(
        Stack(
            "B",
            "layers",
            "self_attention.to_q self_attention.to_k self_attention.to_v self_attention.to_out.0 "
            "self_attention.norm_q self_attention.norm_k mlp.gate_proj mlp.up_proj mlp.linear_fc2 "
            "adaLN_sa_ln adaLN_mlp_ln",
        ),
    ),
    outside={"IN": "x_embedder text_proj time_embedding adaLN_modulation", "OUT": "final_norm final_linear"},
    sizes=(Size("ernie-image", "ERNIE-Image", {"B": 36}, 4096),),
    encoders={"llm": "TE"},
    host_encoders=("ministral3",),
    width_at=(
        "self_attention.to_q self_attention.to_k self_attention.to_v self_attention.to_out.0 mlp.gate_proj mlp.up_proj"
    ),
    metadata=r"ernie[-_. ]?image",
    trainers=(AiToolkit(), LyCORIS()),
    pipeline=("ErnieImagePipeline",),
)
