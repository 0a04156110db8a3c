"""HiDream-I1 (diffusers' `transformer_hidream_image.py`; the original wraps each block in a `block`)."""

from __future__ import annotations

from ..family import Family, Renamed, Size, Stack
from ..trainers import AiToolkit, LyCORIS

_ATTENTION = [f"attn1.to_{name}{side}" for side in ("", "_t") for name in ("q", "k", "v", "out")]
_NORMS = [f"attn1.{name}_rms_norm{side}" for side in ("", "_t") for name in ("q", "k")]
_DENSE = [f"{net}.{w}" for net in ("ff_i", "ff_t", "ff_i.shared_experts") for w in ("w1", "w2", "w3")]
_EXPERTS = ["ff_i.gate", *(f"ff_i.experts.{n}.{w}" for n in range(4) for w in ("w1", "w2", "w3"))]
_MODULES = [*_ATTENTION, *_NORMS, *_DENSE, *_EXPERTS, "adaLN_modulation.1"]
_WRAPPED = {f"block.{name}": name for name in _MODULES}

HIDREAM_I1 = Family(
    name="hidream-i1",
    title="HiDream-I1",
    released="2025-04",
    order=("TE", "IN", "D*", "S*", "OUT"),
    stacks=(
        Stack("D", "double_stream_blocks", " ".join(_MODULES)),
        Stack("S", "single_stream_blocks", " ".join(_MODULES)),
    ),
    outside={"IN": "t_embedder p_embedder x_embedder caption_projection", "OUT": "final_layer"},
    sizes=(Size("hidream-i1", "HiDream-I1", {"D": 16, "S": 32}, 2560),),
    encoders={"clip": "TE", "t5": "TE", "llm": "TE"},
    renamed=tuple(Renamed(path, path, _WRAPPED) for path in ("double_stream_blocks", "single_stream_blocks")),
    host_encoders=("clip_l", "clip_g", "t5xxl", "llama"),
    width_at=(
        "attn1.to_q attn1.to_k attn1.to_v attn1.to_out attn1.to_q_t attn1.to_k_t attn1.to_v_t attn1.to_out_t "
        "ff_i.shared_experts.w1 ff_t.w1"
    ),
    metadata=r"hidream[-_. ]?i1",
    trainers=(AiToolkit(), LyCORIS()),
    pipeline=("HiDreamImagePipeline",),
)
