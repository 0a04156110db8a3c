"""Anima: a Cosmos-Predict2 denoiser with an adapter between it and its text encoder.

Names of the original from Neo's `backend/nn/anima.py`; of diffusers from
`_convert_non_diffusers_anima_lora_to_diffusers` and `convert_cosmos_transformer_checkpoint_to_diffusers`.
"""

from __future__ import annotations

from ..family import Family, Renamed, Size, Stack
from ..trainers import AiToolkit, LyCORIS, SdScripts

_PROJECTIONS = ["q_proj", "k_proj", "v_proj", "output_proj", "q_norm", "k_norm"]
_MODULATION = [f"adaln_modulation_{name}.{n}" for name in ("self_attn", "cross_attn", "mlp") for n in (1, 2)]
_BLOCK = [f"{attention}.{name}" for attention in ("self_attn", "cross_attn") for name in _PROJECTIONS]
_ATTENTION = {
    f"{theirs}.{a}": f"{ours}.{b}"
    for theirs, ours in (("attn1", "self_attn"), ("attn2", "cross_attn"))
    for a, b in zip(("to_q", "to_k", "to_v", "to_out.0", "norm_q", "norm_k"), _PROJECTIONS)
}

ANIMA = Family(
    name="anima",
    title="Anima",
    released="2026-01",
    order=("TE", "ADP", "IN", "B*", "OUT"),
    stacks=(Stack("B", "blocks", " ".join([*_BLOCK, "mlp.layer1", "mlp.layer2", *_MODULATION])),),
    outside={"IN": "x_embedder t_embedder t_embedding_norm pos_embedder", "OUT": "final_layer"},
    sizes=(
        Size("anima", "Anima 2B", {"B": 28}, 2048),
        Size("anima-40", "Anima with 40 blocks", {"B": 40}, 2048),
    ),
    encoders={"llm": "TE", "adapter": "ADP"},
    renamed=(
        Renamed(
            "transformer_blocks",
            "blocks",
            _ATTENTION
            | {
                f"norm{n}.linear_{m}": f"adaln_modulation_{name}.{m}"
                for n, name in enumerate(("self_attn", "cross_attn", "mlp"), 1)
                for m in (1, 2)
            }
            | {"ff.net.0.proj": "mlp.layer1", "ff.net.2": "mlp.layer2"},
        ),
        Renamed(
            "",
            "",
            {
                "patch_embed.proj": "x_embedder.proj.1",
                "time_embed.t_embedder": "t_embedder.1",
                "time_embed.norm": "t_embedding_norm",
                "norm_out.linear_1": "final_layer.adaln_modulation.1",
                "norm_out.linear_2": "final_layer.adaln_modulation.2",
                "proj_out": "final_layer.linear",
                "text_conditioner": "llm_adapter",
            },
        ),
    ),
    adapter="llm_adapter",
    host_encoders=("qwen3_06b",),
    width_at=(
        "self_attn.q_proj self_attn.k_proj self_attn.v_proj cross_attn.q_proj mlp.layer1 "
        "attn1.to_q attn1.to_k attn1.to_v attn2.to_q ff.net.0.proj"
    ),
    # The output of its text encoder is half as wide; other models with the same names expect a wider one.
    ratios=dict.fromkeys(("cross_attn.k_proj", "cross_attn.v_proj", "attn2.to_k", "attn2.to_v"), 2.0),
    metadata=r"anima",
    trainers=(
        # The default exclusion of `networks/lora_anima.py` leaves out embedders, the last layer and modulation.
        SdScripts(
            module="networks.lora_anima",
            shares="fullmatch",
            included={
                "IN": ("x_embedder[.].*", "t_embedder[.].*"),
                "OUT": ("final_layer[.].*",),
            },
            enabled={"ADP": "train_llm_adapter=True"},
            encoders=("TE",),
        ),
        AiToolkit(stacks={"blocks": "transformer_blocks"}, is_renamed=True),
        LyCORIS(encoders={"TE": ("Qwen3Attention", "Qwen3MLP")}),
    ),
    pipeline=("AnimaModularPipeline",),
)
