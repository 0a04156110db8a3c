"""The text encoders' weights fall into their block, in the spelling of hosts, trainers and checkpoints.

The names are those of transformers' classes, built on the meta device with two layers.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from lbw.core.architectures import by_name
from lbw.core.blocks import locate

from .names.spellings import name_in_file

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

_LLM: dict[str, Any] = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
}
_CLIP: dict[str, Any] = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "projection_dim": 16,
}
_T5: dict[str, Any] = {
    "vocab_size": 32,
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 2,
    "num_heads": 2,
    "feed_forward_proj": "gated-gelu",
}
# Model class, configuration class, settings of the configuration.
CLASSES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "clip": ("CLIPTextModel", "CLIPTextConfig", _CLIP),
    "clip with projection": ("CLIPTextModelWithProjection", "CLIPTextConfig", _CLIP),
    "t5": ("T5EncoderModel", "T5Config", _T5),
    "umt5": ("UMT5EncoderModel", "UMT5Config", _T5),
    "gemma2": ("Gemma2Model", "Gemma2Config", _LLM),
    "qwen3": ("Qwen3Model", "Qwen3Config", _LLM),
    "qwen3 with head": ("Qwen3ForCausalLM", "Qwen3Config", _LLM),
    "llama": ("LlamaForCausalLM", "LlamaConfig", _LLM),
    "qwen2.5-vl": ("Qwen2_5_VLForConditionalGeneration", "Qwen2_5_VLConfig", {}),
    "qwen3-vl": (
        "Qwen3VLModel",
        "Qwen3VLConfig",
        {"text_config": {"rope_scaling": {"rope_type": "default", "mrope_section": [24, 20, 20]}}},
    ),
    "mistral3": ("Mistral3Model", "Mistral3Config", {}),
}


def _small(config: Any) -> Any:
    """Return `config` of a model that also sees, with two layers of each part."""
    for part in (config.text_config, config.vision_config):
        for count in ("num_hidden_layers", "depth"):
            if hasattr(part, count):
                setattr(part, count, 2)
    if hasattr(config.text_config, "layer_types"):
        config.text_config.layer_types = ["full_attention"] * 2
    return config


@cache
def _modules(encoder: str) -> tuple[str, ...]:
    """Return the names of the modules with weights of `encoder`."""
    class_name, config_name, settings = CLASSES[encoder]
    built, config_class = getattr(transformers, class_name, None), getattr(transformers, config_name, None)
    if built is None or config_class is None:
        pytest.skip(f"transformers {transformers.__version__} has no {class_name}")
    config = config_class(**settings)
    with torch.device("meta"):
        model = built(_small(config) if hasattr(config, "vision_config") else config)
    return tuple(key.removesuffix(".weight") for key, _ in model.named_parameters() if key.endswith(".weight"))


SD3 = [
    ("clip with projection", "CLIP", ["lora_te1_", "text_encoder.", "text_encoders.clip_l.transformer."]),
    ("clip with projection", "CLIP", ["lora_te2_", "text_encoder_2.", "text_encoders.clip_g.transformer."]),
    ("t5", "T5", ["lora_te3_", "text_encoder_3.", "text_encoders.t5xxl.transformer.", "t5xxl.transformer."]),
]
KLEIN = [
    ("qwen3 with head", "TE", ["qwen3.", "text_encoders.qwen3.", "text_encoder.", "lora_te_", "lora_te1_"]),
    ("qwen3 with head", "TE", ["text_encoders.qwen3_4b.transformer.", "text_encoders.qwen3_8b.transformer."]),
]
WAN = [("umt5", "TE", ["umt5xxl.transformer.", "text_encoders.umt5xxl.transformer.", "text_encoder.", "lora_te_"])]
SDXL = [
    ("clip", "BASE", ["lora_te1_", "text_encoder.", "clip_l.transformer.", "text_encoders.clip_l.transformer."]),
    (
        "clip with projection",
        "BASE",
        ["lora_te2_", "text_encoder_2.", "clip_g.transformer.", "text_encoders.clip_g.transformer."],
    ),
]
# By architecture: the encoder, its block, and what stands before its names: in the patchers of Forge Neo
# (backend/diffusion_engine), in ComfyUI's generic names, in diffusers, in sd-scripts and OneTrainer (modules/model).
ENCODERS: dict[str, list[tuple[str, str, list[str]]]] = {
    "sd1": [
        ("clip", "BASE", ["lora_te_", "text_encoder.", "clip_l.transformer.", "text_encoders.clip_l.transformer."])
    ],
    "sdxl": SDXL,
    "flux": [
        ("clip", "CLIP", ["clip_l.transformer.", "text_encoders.clip_l.transformer.", "lora_te1_", "text_encoder."]),
        # sd-scripts leaves te2 out, OneTrainer does not
        ("t5", "T5", ["t5xxl.transformer.", "text_encoders.t5xxl.transformer.", "lora_te3_", "lora_te2_"]),
        ("t5", "T5", ["text_encoder_2.", "base_model.model.text_encoder_2."]),
    ],
    # OneTrainer: the only text encoder is the first
    "chroma": [
        (
            "t5",
            "T5",
            ["t5xxl.transformer.", "lora_te1_", "lora_te_", "text_encoder.", "text_encoders.t5xxl.transformer."],
        )
    ],
    "flux2-klein-4b": KLEIN,
    "flux2-klein-9b": KLEIN,
    "flux2-dev": [
        ("mistral3", "TE", ["text_encoder.", "text_encoder.model.", "text_encoders.mistral3_24b.transformer."])
    ],
    "lumina2": [("gemma2", "TE", ["gemma2.model.", "text_encoders.gemma2.model.", "lora_te_", "text_encoder."])],
    "z-image": [("qwen3", "TE", ["qwen3.model.", "text_encoders.qwen3.model.", "lora_te_", "text_encoder."])],
    "anima": [
        ("qwen3", "TE", ["qwen3_06b.model.", "text_encoders.qwen3_06b.model.", "lora_te_", "text_encoder."]),
    ],
    "wan-14b": WAN,
    "wan-5b": WAN,
    "wan-1.3b": WAN,
    "qwen-image": [
        ("qwen2.5-vl", "TE", ["qwen25_7b.", "text_encoders.qwen25_7b.", "lora_te_", "text_encoder."]),
        ("qwen2.5-vl", "TE", ["text_encoders.qwen25_7b.transformer."]),
    ],
    "krea2": [("qwen3-vl", "TE", ["qwen3vl_4b.", "qwen3vl_4b.model.", "text_encoder.", "lora_te_"])],
    "ernie-image": [("mistral3", "TE", ["ministral3.", "ministral3.model.", "text_encoder.", "lora_te_"])],
    "sd3-medium": SD3,
    "sd3.5-large": SD3,
    "hidream-i1": [
        ("clip with projection", "TE", ["lora_te1_", "lora_te2_", "text_encoder.", "text_encoder_2."]),
        ("t5", "TE", ["lora_te3_", "text_encoder_3.", "text_encoders.t5xxl.transformer."]),
        ("llama", "TE", ["text_encoder_4.", "lora_te4_", "text_encoders.llama.transformer."]),
    ],
    "hunyuan-image": [
        ("qwen2.5-vl", "TE", ["text_encoder.", "lora_te1_", "text_encoders.qwen25_7b.transformer."]),
        ("t5", "TE", ["text_encoder_2.", "lora_te2_", "text_encoders.byt5_small.transformer."]),
    ],
    "ideogram4": [("qwen3-vl", "TE", ["text_encoder.", "lora_te_"])],
}
CASES = [
    (name, encoder, block, prefix)
    for name, rows in ENCODERS.items()
    for encoder, block, all_ in rows
    for prefix in all_
]


@pytest.mark.parametrize(("name", "encoder", "block", "prefix"), CASES)
@pytest.mark.parametrize("suffix", ["", ".lora_A.weight", ".weight"])
def test_every_weight_of_a_text_encoder_stands_in_its_block(
    name: str, encoder: str, block: str, prefix: str, suffix: str
) -> None:
    where = by_name(name)
    wrong = {}
    for module in _modules(encoder):
        site = locate(name_in_file(module, prefix) + suffix, where)
        if (site.block, site.is_known, site.encoder > 0) != (block, True, True):
            wrong[module] = site
    assert wrong == {}


@pytest.mark.parametrize("name", ["sd1", "sdxl", "flux", "sd3.5-large"])
@pytest.mark.parametrize("module", ["encoder.layers.3.mlp.fc1", "embeddings.token_embedding", "final_layer_norm"])
def test_clip_is_known_by_the_names_that_transformers_5_gives_it(name: str, module: str) -> None:
    """Its CLIPTextModel lost the `text_model` before them."""
    block = by_name(name).encoders["clip"]
    for prefix in ("text_encoder.", "lora_te1_", "base_model.model.text_encoder."):
        site = locate(name_in_file(module, prefix) + ".lora_A.weight", by_name(name))
        assert (site.block, site.is_known) == (block, True)
    if "layers" in module:
        known = locate("lora_te1_text_model_encoder_layers_3_mlp_fc1", by_name(name))
        assert locate("text_encoder.encoder.layers.3.mlp.fc1", by_name(name)) == known


# Forge Neo moves Anima's adapter to the text encoder (nn/llm/llama.py, comfy/lora.py); elsewhere it is the denoiser's.
ADAPTER = [
    "qwen3_06b.llm_adapter.blocks.3.self_attn.q_proj.weight",
    "text_encoders.qwen3_06b.llm_adapter.blocks.0.mlp.0",
    "lora_te_llm_adapter_blocks_5_cross_attn_o_proj.lora_down.weight",
    "lora_te_llm_adapter_out_proj.lora_down.weight",
    "lora_unet_llm_adapter_blocks_0_self_attn_q_proj.lora_down.weight",
    "diffusion_model.llm_adapter.blocks.0.mlp.2.lora_A.weight",
    "diffusion_model.llm_adapter.embed.weight",
    "text_conditioner.blocks.2.cross_attn.v_proj.lora_A.weight",
    "net.llm_adapter.norm.weight",
]


@pytest.mark.parametrize("key", ADAPTER)
def test_the_adapter_of_anima_is_a_block_of_its_own_wherever_it_stands(key: str) -> None:
    site = locate(key, by_name("anima"))
    assert (site.block, site.is_known) == ("ADP", True)


def test_the_blocks_of_a_text_encoders_eye_are_none_of_the_denoiser() -> None:
    keys = ["qwen25_7b.visual.blocks.3.attn.qkv.weight", "text_encoder.model.visual.blocks.0.mlp.up_proj.lora_A.weight"]
    assert {locate(key, by_name("qwen-image")).block for key in keys} == {"TE"}
    assert locate("qwen3vl_4b.visual.blocks.3.attn.qkv.weight", by_name("krea2")).block == "TE"
