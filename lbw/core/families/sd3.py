"""SD 3 and SD 3.5: joint blocks with an image stream and a text stream.

Names of diffusers from `convert_sd3_transformer_checkpoint_to_diffusers`; only SD 3.5 medium has the second attention.
"""

from __future__ import annotations

from ..family import Family, Renamed, Size, Stack
from ..trainers import CLIP_LAYERS, AiToolkit, LyCORIS, SdScripts

_STREAM = ["attn.qkv", "attn.proj", "attn.ln_q", "attn.ln_k", "mlp.fc1", "mlp.fc2", "adaLN_modulation.1"]
_SECOND = ["attn2.qkv", "attn2.proj", "attn2.ln_q", "attn2.ln_k"]
_MODULES = [f"{stream}.{name}" for stream in ("x_block", "context_block") for name in _STREAM]

SD3 = Family(
    name="sd3",
    title="SD 3",
    released="2024-06",
    order=("CLIP", "T5", "IN", "J*", "OUT"),
    stacks=(Stack("J", "joint_blocks", " ".join([*_MODULES, *(f"x_block.{name}" for name in _SECOND)])),),
    outside={"IN": "x_embedder context_embedder t_embedder y_embedder pos_embed", "OUT": "final_layer"},
    sizes=(
        Size("sd3-medium", "SD 3 and 3.5 medium", {"J": 24}, 1536, r"medium"),
        Size("sd3.5-large", "SD 3.5 large", {"J": 38}, 2432, r"large"),
    ),
    encoders={"clip": "CLIP", "t5": "T5"},
    renamed=(
        Renamed(
            "transformer_blocks",
            "joint_blocks",
            {
                "attn.to_q": "x_block.attn.qkv:q",
                "attn.to_k": "x_block.attn.qkv:k",
                "attn.to_v": "x_block.attn.qkv:v",
                "attn.to_out.0": "x_block.attn.proj",
                "attn.norm_q": "x_block.attn.ln_q",
                "attn.norm_k": "x_block.attn.ln_k",
                "attn.add_q_proj": "context_block.attn.qkv:q",
                "attn.add_k_proj": "context_block.attn.qkv:k",
                "attn.add_v_proj": "context_block.attn.qkv:v",
                "attn.to_add_out": "context_block.attn.proj",
                "attn.norm_added_q": "context_block.attn.ln_q",
                "attn.norm_added_k": "context_block.attn.ln_k",
                "attn2.to_q": "x_block.attn2.qkv:q",
                "attn2.to_k": "x_block.attn2.qkv:k",
                "attn2.to_v": "x_block.attn2.qkv:v",
                "attn2.to_out.0": "x_block.attn2.proj",
                "attn2.norm_q": "x_block.attn2.ln_q",
                "attn2.norm_k": "x_block.attn2.ln_k",
                "norm1.linear": "x_block.adaLN_modulation.1",
                "norm1_context.linear": "context_block.adaLN_modulation.1",
                "ff.net.0.proj": "x_block.mlp.fc1",
                "ff.net.2": "x_block.mlp.fc2",
                "ff_context.net.0.proj": "context_block.mlp.fc1",
                "ff_context.net.2": "context_block.mlp.fc2",
            },
        ),
        Renamed(
            "",
            "",
            {
                "pos_embed.proj": "x_embedder.proj",
                "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
                "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
                "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
                "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
                "norm_out.linear": "final_layer.adaLN_modulation.1:scale,shift",
                "proj_out": "final_layer.linear",
            },
        ),
    ),
    fused={
        "x_block.attn.qkv": "q k v",
        "context_block.attn.qkv": "q k v",
        "x_block.attn2.qkv": "q k v",
        "final_layer.adaLN_modulation.1": "shift scale",
    },
    host_encoders=("clip_l", "clip_g", "t5xxl"),
    width_at=(
        "x_block.attn.qkv x_block.mlp.fc1 context_block.attn.qkv context_block.mlp.fc1 "
        "attn.to_q attn.to_k attn.to_v attn.to_out.0 attn.add_q_proj attn.add_k_proj attn.add_v_proj attn.to_add_out "
        "ff.net.0.proj ff_context.net.0.proj"
    ),
    metadata=r"stable-diffusion-3|sd[-_. ]?3",
    tells=r"joint_blocks",
    trainers=(
        SdScripts(
            module="networks.lora_sd3",
            indices={"J": "train_block_indices"},
            dims="emb_dims",
            in_dims=(
                ("context_embedder", "IN"),
                ("t_embedder", "IN"),
                ("x_embedder", "IN"),
                ("y_embedder", "IN"),
                ("final_layer_adaLN_modulation", "OUT"),
                ("final_layer_linear", "OUT"),
            ),
            enabled={"T5": "train_t5xxl=True"},
            encoders=("CLIP", "CLIP", "T5"),
        ),
        AiToolkit(stacks={"joint_blocks": "transformer_blocks"}, is_renamed=True),
        LyCORIS(encoders={"CLIP": CLIP_LAYERS}),
    ),
    pipeline=("StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline"),
)
