"""Flux.2: Klein 4B, Klein 9B and dev. All blocks of a stack share their modulation, and the MLPs are gated.

Names of diffusers from `convert_flux2_transformer_checkpoint_to_diffusers` and `_convert_*_flux2_*` of its loaders.
"""

from __future__ import annotations

from ..family import Family, Renamed, Size, Stack
from ..trainers import AiToolkit, LyCORIS, Musubi
from .flux import DOUBLE, DOUBLE_ATTENTION, FUSED, SINGLE

_DOUBLE = DOUBLE_ATTENTION | {
    "attn.to_qkv": "img_attn.qkv",
    "attn.to_added_qkv": "txt_attn.qkv",
    "ff.linear_in": "img_mlp.0",
    "ff.linear_out": "img_mlp.2",
    "ff_context.linear_in": "txt_mlp.0",
    "ff_context.linear_out": "txt_mlp.2",
}
_SINGLE = {
    "attn.to_qkv_mlp_proj": "linear1",
    "attn.to_out": "linear2",
    "attn.norm_q": "norm.query_norm",
    "attn.norm_k": "norm.key_norm",
}
_MODULATION = ("double_stream_modulation_img", "double_stream_modulation_txt", "single_stream_modulation")

FLUX2 = Family(
    name="flux2",
    title="Flux.2",
    released="2025-11",
    order=("TE", "IN", "D*", "S*", "OUT"),
    stacks=(Stack("D", "double_blocks", DOUBLE), Stack("S", "single_blocks", SINGLE)),
    outside={
        "IN": "img_in txt_in time_in guidance_in " + " ".join(_MODULATION),
        "OUT": "final_layer",
    },
    sizes=(
        Size("flux2-klein-4b", "Flux.2 Klein 4B", {"D": 5, "S": 20}, 3072, r"klein[-_. ]?(?:base[-_. ]?)?4b"),
        Size("flux2-klein-9b", "Flux.2 Klein 9B", {"D": 8, "S": 24}, 4096, r"klein[-_. ]?(?:base[-_. ]?)?9b"),
        Size("flux2-dev", "Flux.2 dev", {"D": 8, "S": 48}, 6144, r"flux[-_. ]?2[-_. ]?dev|^flux2$"),
    ),
    encoders={"llm": "TE"},
    renamed=(
        Renamed("transformer_blocks", "double_blocks", _DOUBLE),
        Renamed("single_transformer_blocks", "single_blocks", _SINGLE),
        Renamed(
            "",
            "",
            {
                "x_embedder": "img_in",
                "context_embedder": "txt_in",
                "time_guidance_embed.timestep_embedder.linear_1": "time_in.in_layer",
                "time_guidance_embed.timestep_embedder.linear_2": "time_in.out_layer",
                "time_guidance_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
                "time_guidance_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
                # Neo, which maps Flux.1's names, accepts these too
                "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
                "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
                "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
                "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
                **{f"{name}.linear": f"{name}.lin" for name in _MODULATION},
                "norm_out.linear": "final_layer.adaLN_modulation.1:scale,shift",
                "proj_out": "final_layer.linear",
            },
        ),
    ),
    fused=FUSED,
    host_encoders=("qwen3", "mistral3"),
    width_at=(
        "img_attn.qkv img_attn.proj img_mlp.0 txt_attn.qkv txt_attn.proj txt_mlp.0 linear1 "
        "attn.to_q attn.to_k attn.to_v attn.to_out.0 attn.add_q_proj attn.add_k_proj attn.add_v_proj attn.to_add_out "
        "ff.linear_in ff_context.linear_in attn.to_qkv_mlp_proj"
    ),
    ratios={
        "img_attn.qkv": 3.0,
        "txt_attn.qkv": 3.0,
        "img_mlp.0": 6.0,
        "img_mlp.2": 1 / 3,
        "txt_mlp.0": 6.0,
        "txt_mlp.2": 1 / 3,
        "linear1": 9.0,
        "linear2": 0.25,
    },
    metadata=r"flux[-_. ]?2",
    tells=r"(?:double|single)_stream_modulation|to_qkv_mlp_proj|ff(?:_context)?_linear_(?:in|out)|to_(?:added_)?qkv(?:_|$)",
    trainers=(Musubi(module="networks.lora_flux_2"), AiToolkit(), LyCORIS()),
    pipeline=("Flux2KleinPipeline", "Flux2Pipeline"),
)
