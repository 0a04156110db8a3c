"""Which model a LoRA or a checkpoint is for: every family, whatever of it was trained, in every spelling.

What is right follows from the catalogue of names alone: a file may be for each architecture that has all of its
modules with its shapes. Where that is one, it must be found; where it is several, the loaded model decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from lbw.core.architectures import ARCHITECTURES, by_name
from lbw.core.detect import Detection, detect_lora, detect_model

from .names import Weight, models, resized
from .names.spellings import ADAPTERS, Shapes, file_of, modules, name_in_file, prefixes

NAMINGS = [(model.name, naming) for model in models().values() for naming in model.namings]
SPELLINGS = [(name, naming, prefix) for name, naming in NAMINGS for prefix in prefixes(name, naming)]
KNOWN = {(name, naming): {w.name: w.shape for w in modules(models()[name].namings[naming])} for name, naming in NAMINGS}


def _fitting(weights: Iterable[Weight]) -> set[str]:
    """Return the architectures that have all of `weights`."""
    wanted = {w.name: w.shape for w in weights}
    return {
        models()[name].architecture
        for (name, _), known in KNOWN.items()
        if all(known.get(module) == shape for module, shape in wanted.items())
    }


def _name(detection: Detection) -> str | None:
    return detection.architecture.name if detection.architecture else None


def _check(file: Shapes, weights: list[Weight]) -> None:
    fitting = _fitting(weights)
    found = detect_lora(file)
    if len(fitting) == 1:
        assert _name(found) in fitting
        assert not found.remarks
        return
    assert _name(found) in fitting
    assert found.remarks or len(found.candidates) > 1
    for name in fitting:
        assert _name(detect_lora(file, loaded=by_name(name))) == name, f"with {name} loaded"


def _trained(name: str, naming: str) -> list[Weight]:
    """Return what a LoRA may train of the denoiser: all of its linear and convolution layers."""
    kept = models()[name].namings[naming]
    return [w for w in modules(kept) if not re.search(r"(^|\.)(embed|embed_image_indicator)$", w.name)]


@pytest.mark.parametrize(("name", "naming", "prefix"), SPELLINGS)
def test_a_lora_of_everything_is_of_its_model(name: str, naming: str, prefix: str) -> None:
    weights = [w for w in _trained(name, naming) if w.block != "ADP"]
    _check(file_of(weights, prefix), weights)


@pytest.mark.parametrize("adapter", [kind for kind in ADAPTERS if kind != "lora"])
@pytest.mark.parametrize(("name", "naming"), NAMINGS)
def test_an_adapter_of_any_kind_is_of_its_model(name: str, naming: str, adapter: str) -> None:
    weights = [w for w in _trained(name, naming) if w.block != "ADP"]
    _check(file_of(weights, prefixes(name, naming)[0], adapter), weights)


@pytest.mark.parametrize(("name", "naming"), NAMINGS)
def test_an_adapter_whose_shapes_say_nothing_is_of_a_model_with_its_names(name: str, naming: str) -> None:
    """OFT keeps rotations alone: neither width of a layer is in the file."""
    weights = [w for w in _trained(name, naming) if w.block != "ADP"]
    names = {w.name for w in weights}
    named_so = {models()[other].architecture for (other, _), known in KNOWN.items() if names <= known.keys()}
    file = {name_in_file(w.name, prefixes(name, naming)[0]) + ".oft_R.weight": (32, 496) for w in weights}
    found = detect_lora(file)
    assert _name(found) in named_so
    for other in named_so:
        assert _name(detect_lora(file, loaded=by_name(other))) == other, f"with {other} loaded"


SUBSETS = {
    "attention": lambda w: "attn" in w.name or "attention" in w.name,
    "query": lambda w: re.search(r"to_q$|qkv|q_proj$|attn\.wq$|attn\.q$|linear1$", w.name) is not None,
    "feed forward": lambda w: re.search(r"mlp|ff|feed_forward|ffn|linear[12]$", w.name) is not None,
    "blocks alone": lambda w: w.block[-1].isdigit(),
    "early blocks": lambda w: re.fullmatch(r"[A-Z]+0[0-3]", w.block) is not None,
    "a middle block": lambda w: re.fullmatch(r"[DJB]04", w.block) is not None,
    "attention of early blocks": lambda w: (
        re.fullmatch(r"[A-Z]+0[0-3]", w.block) is not None and re.search("attn|attention|linear1", w.name) is not None
    ),
    "double blocks": lambda w: re.match(r"[DJB]\d", w.block) is not None,
    "single blocks": lambda w: re.match(r"[SB]\d", w.block) is not None,
    "late single blocks": lambda w: re.match(r"S(1[5-9]|[2-4]\d)", w.block) is not None,
    "refiners": lambda w: re.match(r"(CR|NR|TF)\d", w.block) is not None,
}
PARTS = [
    (name, naming, subset)
    for name, naming in NAMINGS
    for subset, chosen in SUBSETS.items()
    if any(chosen(w) for w in _trained(name, naming))
]


@pytest.mark.parametrize(("name", "naming", "subset"), PARTS)
def test_a_lora_of_a_part_is_of_its_model(name: str, naming: str, subset: str) -> None:
    weights = [w for w in _trained(name, naming) if SUBSETS[subset](w) and w.block != "ADP"]
    _check(file_of(weights, prefixes(name, naming)[0]), weights)


ENCODER_KEYS = {
    "text_encoders.qwen3.model.layers.3.mlp.up_proj.lora_A.weight": (8, 2560),
    "lora_te_layers_0_self_attn_q_proj.lora_down.weight": (8, 1024),
    "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (8, 768),
    "lora_te3_encoder_block_0_layer_0_SelfAttention_q.lora_down.weight": (8, 4096),
    "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight": (8, 768),
    "t5xxl.transformer.encoder.block.0.layer.1.DenseReluDense.wi_0.lora_A.weight": (8, 4096),
}


@pytest.mark.parametrize("key", ENCODER_KEYS)
@pytest.mark.parametrize("name", models())
def test_a_tensor_of_a_text_encoder_does_not_make_another_model_of_it(name: str, key: str) -> None:
    weights = [w for w in _trained(name, "original") if w.block != "ADP"]
    file = file_of(weights, "lora_unet_") | {key: ENCODER_KEYS[key]}
    assert _name(detect_lora(file)) in _fitting(weights)


@pytest.mark.parametrize("prefix", ["", "diffusion_model.", "model.diffusion_model."])
@pytest.mark.parametrize(("name", "naming"), [n for n in NAMINGS if n[1] in ("original", "diffusers")])
def test_a_model_is_told_by_its_own_weights(name: str, naming: str, prefix: str) -> None:
    if naming == "diffusers" and prefix:
        pytest.skip("a class of diffusers has no prefix")
    weights = [w for w in models()[name].namings[naming] if not w.name.startswith("text_conditioner")]
    shapes = {prefix + w.key: w.shape for w in weights}
    shapes |= {prefix + w.name + ".bias": w.shape[:1] for w in modules(weights)}
    found = detect_model(shapes)
    assert found is not None
    assert found.name == models()[name].architecture


SMALL = {
    "flux": {"h": 128, "D": 2, "S": 3},
    "flux2-klein-4b": {"h": 3072, "D": 2, "S": 4},
    "lumina2": {"h": 2304, "B": 3},
    "z-image": {"h": 3840, "B": 2},
    "wan-14b": {"h": 256, "f": 512, "B": 3},
    "qwen-image": {"h": 3072, "B": 2},
    "krea2": {"h": 256, "B": 3},
}


@pytest.mark.parametrize("name", SMALL)
def test_a_model_of_another_size_has_the_blocks_that_it_has(name: str) -> None:
    """MODELS.md, "Models small enough to run": what a host takes from the checkpoint may be anything."""
    model = resized(name, **SMALL[name])
    found = detect_model({"diffusion_model." + w.key: w.shape for w in model.namings["original"]})
    assert found is not None
    assert found.family == by_name(name).family
    assert [b for b in found.blocks if re.fullmatch(r"[DSB]\d\d", b)] == [
        f"{stack}{n:02}" for stack in "DSB" for n in range(model.stacks.get(stack, 0))
    ]


@pytest.mark.parametrize("name", SMALL)
def test_a_lora_of_a_model_of_another_size_is_of_that_model(name: str) -> None:
    model = resized(name, **SMALL[name])
    loaded = detect_model({"diffusion_model." + w.key: w.shape for w in model.namings["original"]})
    for naming in {"original", "diffusers"} & model.namings.keys():
        weights = modules(model.namings[naming])
        found = detect_lora(file_of(weights, prefixes(name, naming)[0]), loaded=loaded)
        assert found.architecture is not None
        assert loaded is not None
        assert found.architecture.blocks == loaded.blocks


def test_a_lora_may_reach_further_than_any_published_model() -> None:
    """Files of Anima with 40 blocks exist (MODELS.md)."""
    weights = modules(resized("anima", B=40).namings["original"])
    found = detect_lora(file_of(weights, "diffusion_model."))
    assert found.architecture is not None
    assert found.architecture.family == by_name("anima").family
    assert "B39" in found.architecture.blocks


def test_tensors_that_belong_nowhere_are_told_and_leave_the_file_to_its_model() -> None:
    weights = [w for w in _trained("z-image", "original") if w.block.startswith("B")]
    file = file_of(weights, "diffusion_model.") | {"diffusion_model.no_such_layer.lora_A.weight": (8, 3840)}
    found = detect_lora(file)
    assert _name(found) == "z-image"
    assert any("no_such_layer" in remark for remark in found.remarks)


def test_a_file_half_of_which_is_of_no_model_is_of_none() -> None:
    weights = [w for w in _trained("z-image", "original") if w.block.startswith("B")]
    strangers = [Weight("", f"towers.{n}.mix", (64, 64)) for n in range(len(weights))]
    assert _told_as_unknown(detect_lora(file_of([*weights, *strangers], "diffusion_model.")))


TEXT_ENCODER_ALONE = {
    "lora_te_text_model_encoder_layers_{}_mlp_fc1.lora_down.weight": {"sd1", "sd2"},
    "lora_te2_text_model_encoder_layers_{}_mlp_fc1.lora_down.weight": {"sdxl"},
    "lora_te3_encoder_block_{}_layer_1_DenseReluDense_wi_0.lora_down.weight": {"flux"},
    "lora_te_llm_adapter_blocks_{}_self_attn_q_proj.lora_down.weight": {"anima"},
}


@pytest.mark.parametrize(("key", "names"), TEXT_ENCODER_ALONE.items())
def test_a_lora_of_a_text_encoder_alone_is_of_a_model_that_has_it(key: str, names: set[str]) -> None:
    assert _name(detect_lora({key.format(n): (8, 64) for n in range(3)})) in names


# What was taken for something else once: MODELS.md, the end of "Telling a LoRA's model from its file" ---------------


def _everything(name: str, prefix: str = "lora_unet_") -> Shapes:
    return file_of([w for w in _trained(name, "original") if w.block != "ADP"], prefix)


@pytest.mark.parametrize("name", ["chroma", "flux2-klein-4b", "flux2-klein-9b", "flux2-dev"])
def test_the_kin_of_flux_1_is_not_taken_for_it(name: str) -> None:
    found = detect_lora(_everything(name, "diffusion_model."))
    assert (_name(found), found.remarks) == (name, ())


@pytest.mark.parametrize("name", ["sd3-medium", "sd3.5-large"])
def test_a_model_of_sd_3_is_not_taken_for_flux_1(name: str) -> None:
    found = detect_model({"diffusion_model." + w.key: w.shape for w in models()[name].namings["original"]})
    assert found is not None
    assert found.name == name


def _hunyuan_video() -> Shapes:
    """Return a LoRA of HunyuanVideo, whose blocks have the names of HunyuanImage and the width of Flux.1."""
    weights = resized("hunyuan-image", h=3072).namings["original"]
    return file_of((w for w in weights if not w.name.startswith("byt5_in")), "lora_unet_")


def _told_as_unknown(found: Detection) -> bool:
    """Tell whether `found` is no known model: none at all, or numbered blocks with the word that they are a guess."""
    if found.architecture is None:
        return not found.candidates
    return found.architecture.name not in ARCHITECTURES and any("guess" in remark for remark in found.remarks)


def test_hunyuan_video_is_neither_flux_1_nor_hunyuan_image() -> None:
    assert _name(detect_lora(_hunyuan_video())) == "hunyuan-video"


def test_a_lora_of_sd_3_with_its_first_text_encoder_is_not_taken_for_sdxl() -> None:
    te1 = {"lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (8, 768)}
    assert _name(detect_lora(_everything("sd3.5-large") | te1)) == "sd3.5-large"


@pytest.mark.parametrize("name", ["lumina2", "anima"])
def test_a_lora_with_a_language_model_is_not_taken_for_sd_1(name: str) -> None:
    te = {"lora_te_layers_0_self_attn_q_proj.lora_down.weight": (8, 1024)}
    assert _name(detect_lora(_everything(name) | te)) == name


def test_wan_with_a_tensor_of_t5_is_not_taken_for_flux_1() -> None:
    t5 = {"lora_te_encoder_block_0_layer_0_SelfAttention_q.lora_down.weight": (8, 4096)}
    assert _name(detect_lora(_everything("wan-14b") | t5)) == "wan-14b"


def test_a_loaded_wan_is_not_taken_for_flux_1() -> None:
    shapes = {"diffusion_model." + w.key: w.shape for w in models()["wan-14b"].namings["original"]}
    shapes |= {"umt5xxl.transformer.encoder.block.0.layer.0.SelfAttention.q.weight": (4096, 4096)}
    found = detect_model(shapes)
    assert found is not None
    assert found.name == "wan-14b"


# Models that MODELS.md does not list ----------------------------------------------------------------------------------

# Their names, and the shapes of those weights.
STRANGERS: dict[str, dict[str, tuple[int, int]]] = {
    # musubi-tuner networks/lora_hidream_o1.py: a Qwen3-VL, no relative of HiDream-I1
    "HiDream-O1-Image": {
        "model.language_model.layers.{}.self_attn.q_proj": (4096, 4096),
        "model.language_model.layers.{}.mlp.up_proj": (12288, 4096),
    },
    # diffusers' LTXVideoTransformer3DModel: Anima's names and width, but another text encoder's
    "LTX-Video": {
        "transformer_blocks.{}.attn1.to_q": (2048, 2048),
        "transformer_blocks.{}.attn2.to_k": (2048, 2048),
        "transformer_blocks.{}.ff.net.0.proj": (8192, 2048),
    },
    # diffusers' AuraFlowTransformer2DModel
    "AuraFlow": {
        "joint_transformer_blocks.{}.attn.to_q": (3072, 3072),
        "joint_transformer_blocks.{}.ff.linear_1": (8192, 3072),
    },
    # diffusers' Kandinsky5Transformer3DModel
    "Kandinsky 5": {"visual_transformer_blocks.{}.self_attention.to_query": (1792, 1792)},
    # nothing that exists
    "none": {"towers.{}.conv": (64, 64), "towers.{}.mix": (64, 64)},
}


@pytest.mark.parametrize("prefix", ["diffusion_model.", "transformer.", "lora_unet_"])
@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_model_that_is_not_known_is_not_taken_for_the_nearest(stranger: str, prefix: str) -> None:
    weights = [Weight("", name.format(n), shape) for name, shape in STRANGERS[stranger].items() for n in range(20)]
    assert _told_as_unknown(detect_lora(file_of(weights, prefix)))


def test_a_file_without_any_weight_of_a_model_is_of_none() -> None:
    found = detect_lora({"emphasis.weight": (4, 4), "_aux.17": (3,), "bundle_emb.cat.clip_l": (2, 768)})
    assert found.architecture is None


# Metadata -------------------------------------------------------------------------------------------------------------

ARCHITECTURE = "modelspec.architecture"
VERSION = "ss_base_model_version"
METADATA = {
    # sd-scripts library/sai_model_spec.py, flux_utils.py, lumina_util.py, hunyuan_image_utils.py
    (ARCHITECTURE, "flux-1-dev/lora"): "flux",
    (ARCHITECTURE, "flux-1-schnell/lora"): "flux",
    (ARCHITECTURE, "chroma/lora"): "chroma",
    (ARCHITECTURE, "lumina-2/lora"): "lumina2",
    (ARCHITECTURE, "hunyuan-image-2.1/lora"): "hunyuan-image",
    (ARCHITECTURE, "anima-preview/lora"): "anima",
    (ARCHITECTURE, "stable-diffusion-3-medium/lora"): "sd3-medium",
    (ARCHITECTURE, "stable-diffusion-3-5-large/lora"): "sd3.5-large",
    (VERSION, "flux1"): "flux",
    (VERSION, "chroma"): "chroma",
    (VERSION, "lumina2"): "lumina2",
    (VERSION, "anima"): "anima",
    (VERSION, "hunyuan-image-2.1"): "hunyuan-image",
    # musubi-tuner utils/sai_model_spec.py, dataset/architectures.py
    (ARCHITECTURE, "Flux.1-dev/lora"): "flux",
    (ARCHITECTURE, "Flux.2-dev/lora"): "flux2-dev",
    (ARCHITECTURE, "Flux.2-klein-4b/lora"): "flux2-klein-4b",
    (ARCHITECTURE, "Flux.2-klein-9b/lora"): "flux2-klein-9b",
    (ARCHITECTURE, "Qwen-Image/lora"): "qwen-image",
    (ARCHITECTURE, "Qwen-Image-Edit-2511/lora"): "qwen-image",
    (ARCHITECTURE, "Qwen-Image-Layered/lora"): "qwen-image",
    (ARCHITECTURE, "wan2.1/lora"): "wan-14b",
    (ARCHITECTURE, "Z-Image/lora"): "z-image",
    (ARCHITECTURE, "Krea-2/lora"): "krea2",
    (ARCHITECTURE, "Ideogram-4/lora"): "ideogram4",
    (VERSION, "flux_kontext"): "flux",
    (VERSION, "flux_2_dev"): "flux2-dev",
    (VERSION, "flux_2_klein_4b"): "flux2-klein-4b",
    (VERSION, "flux_2_klein_9b"): "flux2-klein-9b",
    (VERSION, "qwen_image"): "qwen-image",
    (VERSION, "qwen_image_edit"): "qwen-image",
    (VERSION, "wan"): "wan-14b",
    (VERSION, "z_image"): "z-image",
    (VERSION, "krea2"): "krea2",
    (VERSION, "ideogram4"): "ideogram4",
    # ai-toolkit: get_base_model_version of its models
    (VERSION, "flux.1"): "flux",
    (VERSION, "flux.1_kontext"): "flux",
    (VERSION, "flux2"): "flux2-dev",
    (VERSION, "flux2_klein_4b"): "flux2-klein-4b",
    (VERSION, "flux2_klein_9b"): "flux2-klein-9b",
    (VERSION, "zimage"): "z-image",
    (VERSION, "wan_2.1"): "wan-14b",
    (VERSION, "wan_2.2_14b"): "wan-14b",
    (VERSION, "wan_2.2_5b"): "wan-5b",
    (VERSION, "hidream_i1"): "hidream-i1",
    (VERSION, "sd_3"): "sd3-medium",
}
# Of other families, or of no known one.
ELSEWHERE = ["stable-diffusion-xl-v1-base/lora", "stable-diffusion-v1/lora"]


@pytest.mark.parametrize(("entry", "name"), METADATA.items())
def test_metadata_that_agrees_with_the_names_needs_no_word(entry: tuple[str, str], name: str) -> None:
    found = detect_lora(_everything(name), dict([entry]))
    assert (_name(found), found.remarks) == (name, ())


@pytest.mark.parametrize(("entry", "name"), METADATA.items())
def test_metadata_that_contradicts_the_names_loses_and_is_told(entry: tuple[str, str], name: str) -> None:
    other = "krea2" if name != "krea2" else "z-image"
    found = detect_lora(_everything(other), dict([entry]))
    assert _name(found) == other
    assert any(entry[1] in remark for remark in found.remarks)


@pytest.mark.parametrize("value", ELSEWHERE)
def test_metadata_of_a_unet_on_a_transformers_lora_loses_and_is_told(value: str) -> None:
    found = detect_lora(_everything("qwen-image"), {ARCHITECTURE: value})
    assert _name(found) == "qwen-image"
    assert found.remarks


AMBIGUOUS = ["flux", "chroma", "flux2-klein-4b"]


@pytest.mark.parametrize(
    ("entry", "name"), [(entry, name) for entry, name in METADATA.items() if name in AMBIGUOUS], ids=str
)
def test_metadata_decides_where_the_names_leave_it_open(entry: tuple[str, str], name: str) -> None:
    """The attention of the first double blocks is alike in Flux.1, Chroma and Klein 4B."""
    weights = [
        w for w in _trained("flux", "original") if re.fullmatch(r"D0[0-3]", w.block) and re.search("attn", w.name)
    ]
    assert _fitting(weights) == set(AMBIGUOUS)
    found = detect_lora(file_of(weights, "lora_unet_"), dict([entry]))
    assert (_name(found), found.remarks) == (name, ())


@pytest.mark.parametrize("value", ["HiDream-O1-Image/lora", "Kandinsky-5/lora"])
def test_metadata_of_a_model_that_is_not_known_is_not_taken_for_a_neighbour(value: str) -> None:
    file = {"lora_unet_towers_0_conv.lora_down.weight": (8, 64), "lora_unet_towers_1_conv.lora_down.weight": (8, 64)}
    assert _told_as_unknown(detect_lora(file, {ARCHITECTURE: value}))
