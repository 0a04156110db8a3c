"""The catalogue of names against diffusers' classes, which are built on the meta device: no memory, no download."""

from __future__ import annotations

from typing import Any

import pytest

from .names import Model, Weight, models

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

_SD3: dict[str, Any] = {
    "pooled_projection_dim": 2048,
    "joint_attention_dim": 4096,
    "attention_head_dim": 64,
    "sample_size": 128,
}


def _width(model: Model, head: int = 128) -> dict[str, int]:
    """Return the width of `model`, as diffusers counts it: in heads."""
    query = next(w for w in model.namings["diffusers"] if w.name.endswith("to_q"))
    return {"num_attention_heads": query.shape[1] // head}


def _flux2(model: Model) -> dict[str, Any]:
    context = next(w for w in model.namings["diffusers"] if w.name == "context_embedder")
    return {
        "num_layers": model.stacks["D"],
        "num_single_layers": model.stacks["S"],
        "joint_attention_dim": context.shape[1],
        "guidance_embeds": model.name == "flux2-dev",
        **_width(model),
    }


def _wan(model: Model) -> dict[str, Any]:
    width = _width(model)
    feed_forward = next(w for w in model.namings["diffusers"] if w.name.endswith("blocks.0.ffn.net.0.proj"))
    return {
        "num_layers": model.stacks["B"],
        "ffn_dim": feed_forward.shape[0],
        "image_dim": 1280,
        "added_kv_proj_dim": width["num_attention_heads"] * 128,
        **width,
    }


def _sd3(model: Model) -> dict[str, Any]:
    depth = model.stacks["J"]
    more: dict[str, Any] = {"qk_norm": "rms_norm"} if model.name != "sd3-medium" else {}
    if model.name == "sd3.5-medium":
        more["dual_attention_layers"] = tuple(range(13))
    return {"num_layers": depth, "num_attention_heads": depth, "caption_projection_dim": 64 * depth, **_SD3, **more}


# The class of each architecture in diffusers, and the settings of the published model that differ from its defaults.
CLASSES: dict[str, tuple[str, Any]] = {
    "flux": ("FluxTransformer2DModel", {"guidance_embeds": True}),
    "chroma": ("ChromaTransformer2DModel", {}),
    "flux2-klein-4b": ("Flux2Transformer2DModel", _flux2),
    "flux2-klein-9b": ("Flux2Transformer2DModel", _flux2),
    "flux2-dev": ("Flux2Transformer2DModel", _flux2),
    "lumina2": ("Lumina2Transformer2DModel", {"cap_feat_dim": 2304}),
    "z-image": ("ZImageTransformer2DModel", {}),
    "anima": (
        "CosmosTransformer3DModel",
        {
            "in_channels": 16,
            "out_channels": 16,
            "num_attention_heads": 16,
            "attention_head_dim": 128,
            "num_layers": 28,
            "text_embed_dim": 1024,
            "extra_pos_embed_type": None,
        },
    ),
    "wan-14b": ("WanTransformer3DModel", _wan),
    "wan-5b": ("WanTransformer3DModel", _wan),
    "wan-1.3b": ("WanTransformer3DModel", _wan),
    "qwen-image": ("QwenImageTransformer2DModel", {}),
    "krea2": ("Krea2Transformer2DModel", {}),
    "ernie-image": (
        "ErnieImageTransformer2DModel",
        {
            "hidden_size": 4096,
            "num_attention_heads": 32,
            "num_layers": 36,
            "ffn_hidden_size": 12288,
            "text_in_dim": 3072,
        },
    ),
    "sd3-medium": ("SD3Transformer2DModel", _sd3),
    "sd3.5-medium": ("SD3Transformer2DModel", _sd3),
    "sd3.5-large": ("SD3Transformer2DModel", _sd3),
    "hidream-i1": (
        "HiDreamImageTransformer2DModel",
        {"patch_size": 2, "in_channels": 16, "caption_channels": [4096, 4096], "llama_layers": list(range(32))},
    ),
    "hunyuan-image": ("HunyuanImageTransformer2DModel", {"text_embed_2_dim": 1472}),
    "ideogram4": ("Ideogram4Transformer2DModel", {}),
}
# Weights of another class of the same pipeline.
ELSEWHERE = {"anima": "text_conditioner."}


def _diffusers_names(model: Model) -> tuple[Weight, ...]:
    return model.namings.get("diffusers") or model.namings["original"]


def test_the_catalogue_holds_every_architecture_that_has_a_class() -> None:
    assert set(models()) == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_the_names_and_shapes_are_those_of_the_class_of_diffusers(name: str) -> None:
    class_name, settings = CLASSES[name]
    built = getattr(diffusers, class_name, None)
    if built is None or "DummyObject" in type(built).__name__:
        pytest.skip(f"diffusers {diffusers.__version__} has no {class_name}")
    model = models()[name]
    with torch.device("meta"):
        transformer = built(**(settings(model) if callable(settings) else settings))
    expected = {key: tuple(p.shape) for key, p in transformer.named_parameters() if not key.endswith(".bias")}
    ours = {w.key: w.shape for w in _diffusers_names(model) if not w.name.startswith(ELSEWHERE.get(name, "-"))}
    assert ours == expected


def test_a_name_stands_for_one_block_alone() -> None:
    for model in models().values():
        for naming, weights in model.namings.items():
            names = [w.key for w in weights]
            assert len(names) == len(set(names)), (model.name, naming)


@pytest.mark.parametrize("name", models())
def test_each_block_holds_as_many_numbers_in_every_naming(name: str) -> None:
    """The original fuses what diffusers keeps apart, so that tensors differ; numbers in linear layers do not."""
    model = models()[name]
    sizes = {}
    for naming in ("original", "diffusers"):
        blocks: dict[str, int] = {}
        for w in model.namings.get(naming, ()):
            if len(w.shape) > 1 and not w.is_parameter:
                blocks[w.block] = blocks.get(w.block, 0) + torch.Size(w.shape).numel()
        if blocks:
            sizes[naming] = blocks
    if "diffusers" in sizes:
        assert sizes["original"] == sizes["diffusers"]
    assert len(sizes["original"]) == sum(model.stacks.values()) + len({"IN", "OUT", "ADP"} & sizes["original"].keys())
