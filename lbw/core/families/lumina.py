"""Lumina Image 2.0 (NetaYume Lumina) and Z-Image, two families of the same design: refiners, then one stack of layers.

Names of the originals from Neo's `backend/nn/lumina.py`; of diffusers from `convert_lumina2_to_diffusers` and
`convert_z_image_transformer_checkpoint_to_diffusers` of its `loaders/single_file_utils.py`.
"""

from __future__ import annotations

from ..family import Family, Renamed, Size, Stack
from ..trainers import AiToolkit, LyCORIS, Musubi

_ATTENTION = "attention.qkv attention.out attention.q_norm attention.k_norm"
_LAYER = (
    f"{_ATTENTION} feed_forward.w1 feed_forward.w2 feed_forward.w3 attention_norm1 attention_norm2 ffn_norm1 ffn_norm2"
)
_PATHS = ("context_refiner", "noise_refiner", "layers")
_ORDER = ("TE", "IN", "CR*", "NR*", "B*", "OUT")


def _stacks(modulation: str) -> tuple[Stack, ...]:
    return (
        Stack("CR", "context_refiner", _LAYER, is_main=False),
        Stack("NR", "noise_refiner", f"{_LAYER} {modulation}", is_main=False),
        Stack("B", "layers", f"{_LAYER} {modulation}"),
    )


_LUMINA = {
    "attn.to_q": "attention.qkv:q",
    "attn.to_k": "attention.qkv:k",
    "attn.to_v": "attention.qkv:v",
    "attn.to_out.0": "attention.out",
    "attn.norm_q": "attention.q_norm",
    "attn.norm_k": "attention.k_norm",
    "feed_forward.linear_1": "feed_forward.w1",
    "feed_forward.linear_2": "feed_forward.w2",
    "feed_forward.linear_3": "feed_forward.w3",
    "norm1.linear": "adaLN_modulation.1",
    "norm1.norm": "attention_norm1",
    "norm1": "attention_norm1",
    "norm2": "attention_norm2",
}
_Z_IMAGE = {
    "attention.to_q": "attention.qkv:q",
    "attention.to_k": "attention.qkv:k",
    "attention.to_v": "attention.qkv:v",
    "attention.to_out.0": "attention.out",
    "attention.norm_q": "attention.q_norm",
    "attention.norm_k": "attention.k_norm",
}
# Of Z-Image; Neo accepts them for Lumina 2 too.
_BY_PATCH = {"all_x_embedder.2-1": "x_embedder", "all_final_layer.2-1": "final_layer"}
_WIDTH_AT = (
    "attention.qkv attention.out attention.to_q attention.to_k attention.to_v attention.to_out.0 feed_forward.w1"
)

LUMINA2 = Family(
    name="lumina2",
    title="Lumina 2",
    released="2025-01",
    order=_ORDER,
    stacks=_stacks("adaLN_modulation.1"),
    outside={
        "IN": "x_embedder t_embedder cap_embedder clip_text_pooled_proj time_text_embed pad_token",
        "OUT": "final_layer norm_final",
    },
    sizes=(Size("lumina2", "Lumina 2", {"CR": 2, "NR": 2, "B": 26}, 2304),),
    encoders={"llm": "TE"},
    renamed=(
        *(Renamed(path, path, _LUMINA) for path in _PATHS),
        Renamed(
            "",
            "",
            _BY_PATCH
            | {
                "time_caption_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
                "time_caption_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
                "time_caption_embed.caption_embedder": "cap_embedder",
                "norm_out.linear_1": "final_layer.adaLN_modulation.1",
                "norm_out.linear_2": "final_layer.linear",
            },
        ),
    ),
    fused={"attention.qkv": "q k v"},
    host_encoders=("gemma2", "gemma2_2b"),
    width_at=f"{_WIDTH_AT} attn.to_q attn.to_k attn.to_v attn.to_out.0 feed_forward.linear_1",
    metadata=r"lumina",
    tells=r"adaLN_modulation_1$|attn_to_|feed_forward_linear_|time_caption_embed",
    trainers=(
        AiToolkit(is_renamed=True),
        LyCORIS(encoders={"TE": ("Gemma2Attention", "Gemma2FlashAttention2", "Gemma2SdpaAttention", "Gemma2MLP")}),
    ),
    pipeline=("Lumina2Pipeline",),
)

Z_IMAGE = Family(
    name="z-image",
    title="Z-Image",
    released="2025-11",
    order=_ORDER,
    stacks=_stacks("adaLN_modulation.0"),
    outside={
        "IN": "x_embedder t_embedder cap_embedder x_pad_token cap_pad_token",
        "OUT": "final_layer norm_final",
    },
    sizes=(Size("z-image", "Z-Image", {"CR": 2, "NR": 2, "B": 30}, 3840),),
    encoders={"llm": "TE"},
    renamed=(
        *(Renamed(path, path, _Z_IMAGE) for path in _PATHS),
        Renamed("", "", _BY_PATCH),
    ),
    fused={"attention.qkv": "q k v"},
    host_encoders=("qwen3", "qwen3_4b"),
    width_at=_WIDTH_AT,
    metadata=r"z[-_. ]?image",
    tells=r"adaLN_modulation_0$|all_x_embedder|all_final_layer",
    trainers=(
        # `networks/lora_zimage.py` leaves out the refiners, and the modulation everywhere.
        Musubi(
            module="networks.lora_zimage",
            included={
                letter: (f"{path}[.]#[.](attention|feed_forward)[.].*",)
                for letter, path in (("CR", "context_refiner"), ("NR", "noise_refiner"))
            },
        ),
        AiToolkit(is_renamed=True),
        LyCORIS(),
    ),
    pipeline=("ZImagePipeline", "ZImageImg2ImgPipeline"),
)
