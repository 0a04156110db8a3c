"""Krea 2: one stack of blocks after four blocks that fuse the layers of the text encoder.

Names of the original from Neo's `backend/nn/krea.py`; of diffusers from
`convert_krea2_transformer_checkpoint_to_diffusers`.
"""

from __future__ import annotations

from ..family import Family, Renamed, Size, Stack
from ..trainers import AiToolkit, LyCORIS, Musubi

_BLOCK = (
    "attn.wq attn.wk attn.wv attn.gate attn.wo attn.qknorm.qnorm attn.qknorm.knorm mlp.gate mlp.up mlp.down "
    "prenorm postnorm"
)
_NAMES = {
    "attn.to_q": "attn.wq",
    "attn.to_k": "attn.wk",
    "attn.to_v": "attn.wv",
    "attn.to_gate": "attn.gate",
    "attn.to_out.0": "attn.wo",
    "attn.norm_q": "attn.qknorm.qnorm",
    "attn.norm_k": "attn.qknorm.knorm",
    "ff.gate": "mlp.gate",
    "ff.up": "mlp.up",
    "ff.down": "mlp.down",
    "norm1": "prenorm",
    "norm2": "postnorm",
    "scale_shift_table": "mod.lin",
}

KREA2 = Family(
    name="krea2",
    title="Krea 2",
    released="2026-03",
    order=("TE", "IN", "TF*", "B*", "OUT"),
    stacks=(
        Stack("TF", "txtfusion.layerwise_blocks", _BLOCK, is_main=False),
        Stack("TF", "txtfusion.refiner_blocks", _BLOCK, first=2, is_main=False),
        Stack("B", "blocks", f"{_BLOCK} mod.lin"),
    ),
    outside={"IN": "first tmlp tproj txtmlp txtfusion.projector", "OUT": "last"},
    sizes=(Size("krea2", "Krea 2", {"TF": 4, "B": 28}, 6144),),
    encoders={"llm": "TE"},
    renamed=(
        Renamed("transformer_blocks", "blocks", _NAMES),
        Renamed("text_fusion.layerwise_blocks", "txtfusion.layerwise_blocks", _NAMES),
        Renamed("text_fusion.refiner_blocks", "txtfusion.refiner_blocks", _NAMES),
        Renamed(
            "",
            "",
            {
                "img_in": "first",
                "time_embed.linear_1": "tmlp.0",
                "time_embed.linear_2": "tmlp.2",
                "time_mod_proj": "tproj.1",
                "txt_in.norm": "txtmlp.0",
                "txt_in.linear_1": "txtmlp.1",
                "txt_in.linear_2": "txtmlp.3",
                "text_fusion.projector": "txtfusion.projector",
                "final_layer.linear": "last.linear",
                "final_layer.norm": "last.norm",
                "final_layer.scale_shift_table": "last.modulation.lin",
            },
        ),
    ),
    host_encoders=("qwen3vl_4b",),
    width_at="attn.wq attn.wk attn.wv attn.gate attn.wo mlp.gate mlp.up attn.to_q attn.to_k attn.to_v ff.gate ff.up",
    metadata=r"krea[-_. ]?2",
    trainers=(Musubi(module="networks.lora_krea2", is_whole=True), AiToolkit(), LyCORIS()),
    pipeline=("Krea2Pipeline",),
)
