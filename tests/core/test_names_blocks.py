"""Every weight of every family falls into its block of MODELS.md, in every spelling of every trainer."""

from __future__ import annotations

from itertools import product
from math import prod

import pytest

from lbw.core.architectures import ARCHITECTURES, by_name
from lbw.core.blocks import is_module, locate, module_name

from .names import Weight, models
from .names.spellings import SUFFIXES, name_in_file, prefixes

NAMINGS = [(model.name, naming) for model in models().values() for naming in model.namings]
SPELLINGS = [(name, naming, prefix) for name, naming in NAMINGS for prefix in prefixes(name, naming)]


def _skip(weight: Weight, prefix: str) -> bool:
    """Anima's text conditioner is a part of the pipeline beside the transformer: no prefix of a denoiser fits it."""
    return weight.name.startswith("text_conditioner.") and prefix != ""


def _misplaced(names: dict[str, str], model: str) -> dict[str, str]:
    """Return those of `names`, each with its expected block, that are found in another block, and which."""
    where = by_name(models()[model].architecture)
    sites = {name: locate(name, where) for name in names}
    return {
        name: f"{sites[name].block}, known: {sites[name].is_known}, not {block}"
        for name, block in names.items()
        if sites[name].block != block or not sites[name].is_known
    }


def test_every_architecture_has_its_names_in_the_catalogue_or_is_a_unet() -> None:
    unets = {"sd1", "sd2", "sdxl", "sdxl-refiner"}
    other_sizes = {"anima-40", "hunyuan-video"}
    assert set(ARCHITECTURES) == {model.architecture for model in models().values()} | unets | other_sizes


@pytest.mark.parametrize("name", models())
def test_the_blocks_of_an_architecture_are_those_of_its_stacks(name: str) -> None:
    numbered = {f"{stack}{n:02}" for stack, count in models()[name].stacks.items() for n in range(count)}
    assert {b for b in by_name(models()[name].architecture).blocks if b[-1].isdigit() and b != "T5"} == numbered


@pytest.mark.parametrize(("name", "naming", "prefix"), SPELLINGS)
def test_every_weight_stands_in_its_block(name: str, naming: str, prefix: str) -> None:
    weights = models()[name].namings[naming]
    names = {name_in_file(w.name, prefix): w.block for w in weights if not _skip(w, prefix)}
    assert _misplaced(names, name) == {}


@pytest.mark.parametrize(("name", "naming"), NAMINGS)
def test_every_parameter_of_a_loaded_model_stands_in_its_block(name: str, naming: str) -> None:
    prefix = "diffusion_model." if naming == "original" else ""
    names = {prefix + w.key: w.block for w in models()[name].namings[naming]}
    names |= {prefix + w.name + ".bias": w.block for w in models()[name].namings[naming] if not w.is_parameter}
    assert _misplaced(names, name) == {}


def _representatives(weights: tuple[Weight, ...]) -> list[Weight]:
    """Return one weight of each kind in each of the first and the last blocks of the stacks, and all outside."""
    stacks: dict[str, list[str]] = {}
    for w in weights:
        if w.block[-1].isdigit() and w.block not in stacks.setdefault(w.block.rstrip("0123456789"), []):
            stacks[w.block.rstrip("0123456789")].append(w.block)
    ends = {block for blocks in stacks.values() for block in (blocks[0], blocks[-1])}
    return [w for w in weights if w.block in ends or not w.block[-1].isdigit()]


@pytest.mark.parametrize(("name", "naming"), NAMINGS)
def test_every_suffix_of_every_kind_of_adapter_leaves_the_block(name: str, naming: str) -> None:
    weights = [w for w in _representatives(models()[name].namings[naming]) if not w.is_parameter]
    for prefix in {prefixes(name, naming)[0], "", "lora_unet_", "lycoris_"} & {*prefixes(name, naming)}:
        names = {
            name_in_file(w.name, prefix) + suffix: w.block
            for w, suffix in product(weights, SUFFIXES)
            if not _skip(w, prefix)
        }
        assert _misplaced(names, name) == {}, prefix


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_suffix_is_no_part_of_the_modules_name(suffix: str) -> None:
    for name in ("lora_unet_double_blocks_0_img_mlp_0", "transformer.transformer_blocks.12.attn.to_out.0"):
        assert module_name(name + suffix) == name


RENAMED = [name for name, model in models().items() if "diffusers" in model.namings]


@pytest.mark.parametrize("name", RENAMED)
def test_each_name_of_diffusers_leads_to_a_module_of_the_original_and_together_they_fill_it(name: str) -> None:
    """What the original fuses is the parts that diffusers keeps, one under the other; everything else is as it was."""
    model = models()[name]
    where = by_name(model.architecture)
    original = {locate(w.name, where).path: w for w in model.namings["original"]}
    numbers = dict.fromkeys(original, 0)
    lost, misshapen = [], []
    for w in model.namings["diffusers"]:
        site = locate(w.name, where)
        target = original.get(site.path)
        if target is None:
            lost.append((w.name, site.path))
            continue
        numbers[site.path] += prod(w.shape)
        if w.shape[1:] != target.shape[1:] and len(w.shape) == len(target.shape):
            misshapen.append((w.name, site.path))
    assert lost == []
    assert misshapen == []
    assert {path: total for path, total in numbers.items() if total != prod(original[path].shape)} == {}


@pytest.mark.parametrize("name", ["flux", "chroma", "flux2-dev"])
def test_the_scales_of_norms_stand_in_their_block_under_the_checkpoints_name(name: str) -> None:
    """Forge Neo's own models say `weight` where the published checkpoints say `scale`."""
    keys = ("diffusion_model.double_blocks.3.img_attn.norm.key_norm.scale", "single_blocks.7.norm.query_norm.scale")
    assert [locate(key, by_name(name)).block for key in keys] == ["D03", "S07"]


XLABS = {
    "double_blocks.0.processor.qkv_lora1.down.weight": ("D00", "double_blocks_0_img_attn_qkv"),
    "double_blocks.0.processor.qkv_lora1.up.weight": ("D00", "double_blocks_0_img_attn_qkv"),
    "double_blocks.18.processor.qkv_lora2.down.weight": ("D18", "double_blocks_18_txt_attn_qkv"),
    "double_blocks.4.processor.proj_lora1.up.weight": ("D04", "double_blocks_4_img_attn_proj"),
    "double_blocks.4.processor.proj_lora2.up.weight": ("D04", "double_blocks_4_txt_attn_proj"),
    "single_blocks.37.processor.qkv_lora.down.weight": ("S37", "single_blocks_37_linear1"),
    "single_blocks.3.processor.proj_lora.up.weight": ("S03", "single_blocks_3_linear2"),
}


@pytest.mark.parametrize(("key", "place"), XLABS.items())
def test_the_processors_of_xlabs_name_the_module_whose_output_they_change(key: str, place: tuple[str, str]) -> None:
    """Read in x-flux, src/flux/modules/layers.py: 1 is the image's stream, 2 the text's."""
    site = locate(key, by_name("flux"))
    assert (site.block, site.is_known) == (place[0], True)
    assert site.path.endswith(place[1])


@pytest.mark.parametrize(
    ("key", "name", "block"),
    [
        ("diffusion_model.sformer_blocks.3.attn.to_q.lora_A.weight", "flux2-klein-9b", "D03"),
        ("diffusion_model.sformer_blocks.7.ff_context.linear_in.lora_A.weight", "flux2-dev", "D07"),
        ("diffusion_model.single_transformer_blocks.7.attn.to_out.lora_A.weight", "flux2-dev", "S07"),
    ],
)
def test_an_export_that_lost_a_syllable_is_understood(key: str, name: str, block: str) -> None:
    """`sformer_blocks` for `transformer_blocks`, which diffusers' loader takes too."""
    assert locate(key, by_name(name)).block == block


# Spellings that follow from no table above, and where they were read.
SEEN = [
    # DiffSynth-Studio diffsynth/utils/lora/flux.py: names of its own; a is the picture's stream, b the text's
    ("blocks.7.attn.a_to_qkv.lora_A.default.weight", "flux", "D07", "double_blocks_7_img_attn_qkv"),
    ("blocks.7.attn.b_to_out.lora_B.default.weight", "flux", "D07", "double_blocks_7_txt_attn_proj"),
    ("blocks.0.norm1_a.linear.lora_A.default.weight", "flux", "D00", "double_blocks_0_img_mod_lin"),
    ("single_blocks.3.proj_in_besides_attn.lora_A.default.weight", "flux", "S03", "single_blocks_3_linear1"),
    # Forge Neo modules_forge/packages/comfy/lora.py: three quarters of a fused layer; a control LoRA's bias
    ("diffusion_model.single_blocks.3.linear1_qkv.lora_A.weight", "flux", "S03", "single_blocks_3_linear1"),
    ("double_blocks.0.img_attn.proj.lora_B.bias", "flux", "D00", "double_blocks_0_img_attn_proj"),
    # there, too: Flux.1's names for Flux.2, Z-Image's for Lumina 2
    ("transformer.time_text_embed.guidance_embedder.linear_2.alpha", "flux2-dev", "IN", "guidance_in_out_layer"),
    ("lycoris_all_final_layer_2-1_linear.lokr_w1", "lumina2", "OUT", "final_layer_linear"),
    # ai-toolkit toolkit/network_mixins.py, toolkit/models/DoRA.py
    ("lycoris_transformer_blocks_7_attn_to_v.lokr_w1", "flux", "D07", "double_blocks_7_img_attn_qkv"),
    ("transformer.transformer_blocks.7.attn.to_q.magnitude", "flux", "D07", "double_blocks_7_img_attn_qkv"),
    # sd-scripts networks/convert_hunyuan_image_lora_to_comfy.py: before and after
    ("lora_unet_double_blocks_2_img_mlp_fc1.lora_down.weight", "hunyuan-image", "D02", "double_blocks_2_img_mlp_0"),
    ("lora_unet_double_blocks_2_img_mlp_0.lora_down.weight", "hunyuan-image", "D02", "double_blocks_2_img_mlp_0"),
    # diffusers loaders/lora_conversion_utils.py: Wan, where a prefix and a stack make one word of underscores
    ("transformer.blocks.12.attn2.add_k_proj.lora_A.weight", "wan-14b", "B12", "blocks_12_cross_attn_k_img"),
    ("base_model.model.transformer.blocks.0.ffn.net.2.lora_B.weight", "wan-5b", "B00", "blocks_0_ffn_2"),
    ("lora_unet_blocks_39_cross_attn_v_img.lora_up.weight", "wan-14b", "B39", "blocks_39_cross_attn_v_img"),
    # OneTrainer modules/util/convert_lora_util.py
    ("lora_transformer_single_transformer_blocks_37_proj_mlp.oft_R.weight", "flux", "S37", "single_blocks_37_linear1"),
    ("lora_transformer_layers_29_feed_forward_w2.hada_w1_a", "z-image", "B29", "layers_29_feed_forward_w2"),
]


@pytest.mark.parametrize(("key", "name", "block", "path"), SEEN)
def test_spellings_that_were_seen_lead_to_their_module(key: str, name: str, block: str, path: str) -> None:
    site = locate(key, by_name(name))
    assert (site.block, site.is_known, site.path) == (block, True, "diffusion_model_" + path)


@pytest.mark.parametrize("key", ["_aux.0f3e", "_aux.0f3e.weight", "bundle_emb.cat.clip_l", "bundle_emb.cat.t5_out"])
def test_what_a_trainer_keeps_beside_the_weights_is_no_module(key: str) -> None:
    assert not is_module(key)


# Weights in stacks that the model has not.
FOREIGN = {
    "sd1": "layers.0.self_attention.to_q",
    "sdxl": "double_blocks.0.img_attn.qkv",
    "flux": "joint_blocks.0.x_block.attn.qkv",
    "chroma": "layers.3.attention.qkv",
    "flux2-klein-4b": "joint_blocks.0.x_block.attn.qkv",
    "lumina2": "blocks.0.attn.wq",
    "z-image": "transformer_blocks.0.attn.to_q",
    "anima": "layers.0.attention.qkv",
    "wan-14b": "layers.0.attention.qkv",
    "qwen-image": "single_transformer_blocks.0.attn.to_q",
    "krea2": "double_blocks.0.img_attn.qkv",
    "ernie-image": "blocks.0.self_attn.q",
    "sd3.5-large": "double_blocks.0.img_attn.qkv",
    "hidream-i1": "double_blocks.0.img_attn.qkv",
    "hunyuan-image": "joint_blocks.0.x_block.attn.qkv",
    "ideogram4": "transformer_blocks.0.attn.to_q",
}
# The block after the last.
BEYOND = {
    "flux": "single_blocks.38.linear1",
    "chroma": "double_blocks.19.img_attn.qkv",
    "flux2-klein-9b": "transformer_blocks.8.attn.to_q",
    "z-image": "layers.30.attention.qkv",
    "lumina2": "noise_refiner.2.attention.qkv",
    "anima": "blocks.28.self_attn.q_proj",
    "wan-5b": "blocks.30.self_attn.q",
    "qwen-image": "transformer_blocks.60.attn.to_q",
    "krea2": "txtfusion.refiner_blocks.2.attn.wq",
    "sd3-medium": "joint_blocks.24.x_block.attn.qkv",
    "sdxl": "input_blocks.9.0.in_layers.2",
}


@pytest.mark.parametrize(("name", "stranger"), [*FOREIGN.items(), *BEYOND.items()])
@pytest.mark.parametrize("prefix", ["diffusion_model.", "transformer.", "lora_unet_", ""])
def test_a_weight_of_another_model_belongs_nowhere_and_is_not_put_in_the_rest(
    name: str, stranger: str, prefix: str
) -> None:
    assert not locate(name_in_file(stranger, prefix) + ".lora_down.weight", by_name(name)).is_known


@pytest.mark.parametrize("name", models())
@pytest.mark.parametrize("key", ["diffusion_model.nothing_of_the_kind.lora_A.weight", "emphasis.weight", "foo.bar"])
def test_a_name_that_says_nothing_belongs_nowhere(name: str, key: str) -> None:
    assert not locate(key, by_name(models()[name].architecture)).is_known
