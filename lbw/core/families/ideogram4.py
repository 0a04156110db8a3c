"""Ideogram 4: one stack of layers (diffusers' `transformer_ideogram4.py` and its LoRA conversion)."""

from __future__ import annotations

from ..family import Family, Renamed, Size, Stack
from ..trainers import AiToolkit, LyCORIS, Musubi

IDEOGRAM4 = Family(
    name="ideogram4",
    title="Ideogram 4",
    released="2026-05",
    order=("TE", "IN", "B*", "OUT"),
    stacks=(
        Stack(
            "B",
            "layers",
            "attention.qkv attention.o attention.norm_q attention.norm_k feed_forward.w1 feed_forward.w2 "
            "feed_forward.w3 attention_norm1 attention_norm2 ffn_norm1 ffn_norm2 adaln_modulation",
        ),
    ),
    outside={
        "IN": "input_proj llm_cond_norm llm_cond_proj t_embedding adaln_proj embed_image_indicator",
        "OUT": "final_layer",
    },
    sizes=(Size("ideogram4", "Ideogram 4", {"B": 34}, 4608),),
    encoders={"llm": "TE"},
    renamed=(
        Renamed(
            "layers",
            "layers",
            {
                "attention.to_q": "attention.qkv:q",
                "attention.to_k": "attention.qkv:k",
                "attention.to_v": "attention.qkv:v",
                "attention.to_out.0": "attention.o",
            },
        ),
    ),
    fused={"attention.qkv": "q k v"},
    width_at=(
        "attention.qkv attention.o attention.to_q attention.to_k attention.to_v attention.to_out.0 feed_forward.w1"
    ),
    metadata=r"ideogram",
    tells=r"attention_o$|adaln_modulation$|llm_cond_|input_proj",
    trainers=(Musubi(module="networks.lora_ideogram4"), AiToolkit(), LyCORIS()),
    pipeline=("Ideogram4Pipeline",),
)
