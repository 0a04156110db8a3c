"""Qwen-Image and Qwen-Image-Edit, whose original names are diffusers' own (Neo's `backend/nn/qwen.py`)."""

from __future__ import annotations

from ..family import Family, Size, Stack
from ..trainers import AiToolkit, LyCORIS, Musubi

_ATTENTION = (
    "attn.to_q attn.to_k attn.to_v attn.to_out.0 attn.norm_q attn.norm_k "
    "attn.add_q_proj attn.add_k_proj attn.add_v_proj attn.to_add_out attn.norm_added_q attn.norm_added_k"
)

QWEN_IMAGE = Family(
    name="qwen-image",
    title="Qwen-Image",
    released="2025-08",
    order=("TE", "IN", "B*", "OUT"),
    stacks=(
        Stack(
            "B",
            "transformer_blocks",
            f"{_ATTENTION} img_mod.1 txt_mod.1 img_mlp.net.0.proj img_mlp.net.2 txt_mlp.net.0.proj txt_mlp.net.2",
        ),
    ),
    outside={"IN": "img_in txt_in txt_norm time_text_embed", "OUT": "norm_out proj_out"},
    sizes=(Size("qwen-image", "Qwen-Image", {"B": 60}, 3072),),
    encoders={"llm": "TE"},
    host_encoders=("qwen25_7b",),
    width_at=(
        "attn.to_q attn.to_k attn.to_v attn.to_out.0 attn.add_q_proj attn.add_k_proj attn.add_v_proj attn.to_add_out "
        "img_mlp.net.0.proj txt_mlp.net.0.proj img_mod.1 txt_mod.1"
    ),
    metadata=r"qwen[-_. ]?image",
    tells=r"(?:img|txt)_mlp_net_|(?:img|txt)_mod_1$",
    trainers=(Musubi(module="networks.lora_qwen_image"), AiToolkit(), LyCORIS()),
    pipeline=("QwenImagePipeline", "QwenImageEditPipeline", "QwenImageImg2ImgPipeline"),
)
