"""Which block a tensor belongs to, which blocks a selector means, and which model a file is for.

The pairs of names follow the hosts' own converters (AUTOMATIC1111's `convert_diffusers_name_to_compvis`,
diffusers' conversion scripts) and the published models' state dicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from lbw.core.architectures import ARCHITECTURES
from lbw.core.blocks import is_module, locate, module_name
from lbw.core.detect import detect_lora
from lbw.core.errors import WeightsError
from lbw.core.family import Architecture
from lbw.core.selectors import select, select_in_kind

from .tables import LAYOUT_20, LAYOUT_26, LAYOUT_61, words


def detect(
    names: Iterable[str],
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Architecture | None:
    return detect_lora({name: (shapes or {}).get(name, ()) for name in names}, metadata).architecture


FLUX = ARCHITECTURES["flux"]
SD1 = ARCHITECTURES["sd1"]
SD2 = ARCHITECTURES["sd2"]
SDXL = ARCHITECTURES["sdxl"]

# diffusers' name: original name, block in SD 1.x
UNET_NAMES = {
    "conv_in": ("input_blocks_0_0", "IN00"),
    "down_blocks_0_attentions_0_proj_in": ("input_blocks_1_1_proj_in", "IN01"),
    "down_blocks_0_resnets_1_conv1": ("input_blocks_2_0_in_layers_2", "IN02"),
    "down_blocks_0_downsamplers_0_conv": ("input_blocks_3_0_op", "IN03"),
    "down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q": (
        "input_blocks_4_1_transformer_blocks_0_attn1_to_q",
        "IN04",
    ),
    "down_blocks_1_resnets_0_conv_shortcut": ("input_blocks_4_0_skip_connection", "IN04"),
    "down_blocks_1_resnets_1_time_emb_proj": ("input_blocks_5_0_emb_layers_1", "IN05"),
    "down_blocks_1_downsamplers_0_conv": ("input_blocks_6_0_op", "IN06"),
    "down_blocks_2_attentions_0_proj_out": ("input_blocks_7_1_proj_out", "IN07"),
    "down_blocks_2_attentions_1_transformer_blocks_0_ff_net_0_proj": (
        "input_blocks_8_1_transformer_blocks_0_ff_net_0_proj",
        "IN08",
    ),
    "mid_block_resnets_0_conv2": ("middle_block_0_out_layers_3", "M00"),
    "mid_block_attentions_0_transformer_blocks_0_attn2_to_out_0": (
        "middle_block_1_transformer_blocks_0_attn2_to_out_0",
        "M00",
    ),
    "mid_block_resnets_1_norm1": ("middle_block_2_in_layers_0", "M00"),
    "up_blocks_0_resnets_2_norm2": ("output_blocks_2_0_out_layers_0", "OUT02"),
    "up_blocks_1_attentions_2_transformer_blocks_0_attn2_to_k": (
        "output_blocks_5_1_transformer_blocks_0_attn2_to_k",
        "OUT05",
    ),
    "up_blocks_1_upsamplers_0_conv": ("output_blocks_5_2_conv", "OUT05"),
    "time_embedding_linear_1": ("time_embed_0", "BASE"),
    "time_embedding_linear_2": ("time_embed_2", "BASE"),
}
SD1_ONLY_NAMES = {
    "down_blocks_2_downsamplers_0_conv": ("input_blocks_9_0_op", "IN09"),
    "down_blocks_3_resnets_1_conv1": ("input_blocks_11_0_in_layers_2", "IN11"),
    "up_blocks_0_upsamplers_0_conv": ("output_blocks_2_1_conv", "OUT02"),
    "up_blocks_2_attentions_0_proj_in": ("output_blocks_6_1_proj_in", "OUT06"),
    "up_blocks_3_attentions_2_transformer_blocks_0_attn1_to_v": (
        "output_blocks_11_1_transformer_blocks_0_attn1_to_v",
        "OUT11",
    ),
    "conv_norm_out": ("out_0", "OUT11"),
    "conv_out": ("out_2", "OUT11"),
}
SDXL_ONLY_NAMES = {
    "up_blocks_0_attentions_1_transformer_blocks_9_attn2_to_q": (
        "output_blocks_1_1_transformer_blocks_9_attn2_to_q",
        "OUT01",
    ),
    "up_blocks_0_upsamplers_0_conv": ("output_blocks_2_2_conv", "OUT02"),
    "up_blocks_2_resnets_2_conv_shortcut": ("output_blocks_8_0_skip_connection", "OUT08"),
    "conv_out": ("out_2", "OUT08"),
    "add_embedding_linear_1": ("label_emb_0_0", "BASE"),
    "add_embedding_linear_2": ("label_emb_0_2", "BASE"),
}
FLUX_NAMES = {
    "transformer_blocks_0_attn_to_q": ("double_blocks_0_img_attn_qkv", "D00"),
    "transformer_blocks_18_attn_add_k_proj": ("double_blocks_18_txt_attn_qkv", "D18"),
    "transformer_blocks_3_attn_to_out_0": ("double_blocks_3_img_attn_proj", "D03"),
    "transformer_blocks_1_ff_context_net_2": ("double_blocks_1_txt_mlp_2", "D01"),
    "transformer_blocks_10_norm1_linear": ("double_blocks_10_img_mod_lin", "D10"),
    "single_transformer_blocks_7_attn_to_q": ("single_blocks_7_linear1", "S07"),
    "single_transformer_blocks_37_proj_out": ("single_blocks_37_linear2", "S37"),
    "single_transformer_blocks_1_norm_linear": ("single_blocks_1_modulation_lin", "S01"),
    "x_embedder": ("img_in", "IN"),
    "context_embedder": ("txt_in", "IN"),
    "time_text_embed_guidance_embedder_linear_1": ("guidance_in_in_layer", "IN"),
    "norm_out_linear": ("final_layer_adaLN_modulation_1", "OUT"),
    "proj_out": ("final_layer_linear", "OUT"),
}
PAIRS = [
    (architecture, theirs, original, block)
    for architecture, names in (
        (SD1, UNET_NAMES | SD1_ONLY_NAMES),
        (SD2, UNET_NAMES | SD1_ONLY_NAMES),
        (SDXL, UNET_NAMES | SDXL_ONLY_NAMES),
        (FLUX, FLUX_NAMES),
    )
    for theirs, (original, block) in names.items()
]
PAIR = pytest.mark.parametrize(
    ("architecture", "theirs", "original", "block"), PAIRS, ids=[f"{a.name}-{theirs}" for a, theirs, _, _ in PAIRS]
)


@PAIR
@pytest.mark.parametrize(
    "spelling", ["lora_unet_{}", "oft_unet_{}", "lycoris_{}", "unet.{}", "transformer.{}", "base_model.model.{}", "{}"]
)
def test_a_diffusers_name_means_what_the_original_calls_by_another(
    spelling: str, architecture: Architecture, theirs: str, original: str, block: str
) -> None:
    site = locate(spelling.format(theirs), architecture)
    assert (site.block, site.path, site.encoder) == (block, f"diffusion_model_{original}", False)


@PAIR
@pytest.mark.parametrize(
    "spelling",
    ["lora_unet_{}.lora_down.weight", "lycoris_{}.hada_w1_a", "model.diffusion_model.{}.weight", "diffusion_model_{}"],
)
def test_an_original_name_is_found_in_every_spelling(
    spelling: str, architecture: Architecture, theirs: str, original: str, block: str
) -> None:
    site = locate(spelling.format(original), architecture)
    assert (site.block, site.path, site.encoder) == (block, f"diffusion_model_{original}", False)


def test_a_name_with_dots_is_the_same_as_with_underscores() -> None:
    dots = locate("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight", SDXL)
    assert dots[:3] == ("IN04", "diffusion_model_input_blocks_4_1_transformer_blocks_0_attn2_to_k", False)


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("transformer.single_transformer_blocks.7.attn.to_q.lora_A.weight", "S07"),
        ("lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight", "D00"),
        ("lora_unet_single_blocks_12_linear1.alpha", "S12"),
        ("diffusion_model.single_blocks.30.linear1.weight", "S30"),
        ("lora_transformer_single_transformer_blocks_2_attn_to_k.lora_down.weight", "S02"),
        ("lora_unet_time_in_in_layer.lora_down.weight", "IN"),
        ("lora_unet_vector_in_in_layer.lora_down.weight", "IN"),
        ("lora_unet_guidance_in_in_layer.lora_down.weight", "IN"),
        ("lora_unet_txt_in.lora_down.weight", "IN"),
        ("lora_unet_final_layer_linear.lora_down.weight", "OUT"),
    ],
)
def test_a_tensor_of_flux_belongs_to_its_block(name: str, block: str) -> None:
    site = locate(name, FLUX)
    assert (site.block, site.encoder) == (block, False)


ENCODERS = [
    "lora_te_text_model_encoder_layers_11_self_attn_q_proj.lora_down.weight",
    "lora_te1_text_model_encoder_layers_11_self_attn_q_proj.lora_down.weight",
    "lora_te2_text_model_encoder_layers_11_self_attn_q_proj.lora_down.weight",
    "text_encoder.text_model.encoder.layers.11.self_attn.q_proj.lora_A.weight",
    "text_encoder_2.text_model.encoder.layers.11.self_attn.q_proj.lora_A.weight",
    "lycoris_text_encoder_text_model_encoder_layers_11_self_attn_q_proj.lokr_w1",
    "oft_te_text_model_encoder_layers_11_self_attn_q_proj.oft_blocks",
    "base_model.model.text_model.encoder.layers.11.self_attn.q_proj.lora_A.weight",
    "transformer_text_model_encoder_layers_11_self_attn_q_proj",
    "0_transformer_text_model_encoder_layers_11_self_attn_q_proj",
    "clip_l.transformer.text_model.encoder.layers.11.self_attn.q_proj.weight",
    "cond_stage_model.transformer.text_model.encoder.layers.11.self_attn.q_proj.weight",
    "conditioner.embedders.0.transformer.text_model.encoder.layers.11.self_attn.q_proj.weight",
]


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize(
    ("architecture", "block"),
    [(SD1, "BASE"), (SD2, "BASE"), (SDXL, "BASE"), (FLUX, "CLIP")],
    ids=["sd1", "sd2", "sdxl", "flux"],
)
def test_a_text_encoder_is_found_in_every_spelling(architecture: Architecture, block: str, name: str) -> None:
    site = locate(name, architecture)
    number = 2 if "te2" in name or "encoder_2" in name else 1
    assert site[:3] == (block, "transformer_text_model_encoder_layers_11_self_attn_q_proj", number)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("model_transformer_resblocks_3_mlp_c_fc", "layers_3_mlp_fc1"),
        ("1_model_transformer_resblocks_3_mlp_c_proj", "layers_3_mlp_fc2"),
        ("1_model_transformer_resblocks_3_attn_out_proj", "layers_3_self_attn_out_proj"),
        ("1_model_transformer_resblocks_3_ln_2", "layers_3_layer_norm2"),
    ],
)
def test_an_open_clip_name_means_what_transformers_calls_by_another(name: str, path: str) -> None:
    number = 2 if name.startswith("1_") else 1
    assert locate(name, SDXL)[:3] == ("BASE", f"transformer_text_model_encoder_{path}", number)


@pytest.mark.parametrize(
    "name",
    [
        "lora_te2_encoder_block_0_layer_0_SelfAttention_q.lora_down.weight",
        "lora_te3_encoder_block_23_layer_1_DenseReluDense_wi_0.lora_down.weight",
        "text_encoder_2.encoder.block.3.layer.0.SelfAttention.o.lora_A.weight",
        "t5xxl.transformer.encoder.block.3.layer.0.SelfAttention.o.weight",
    ],
)
def test_the_other_encoder_of_flux_is_t5(name: str) -> None:
    site = locate(name, FLUX)
    assert (site.block, site.encoder) == ("T5", 2)
    assert "SelfAttention" in site.path or "DenseReluDense" in site.path


MODULE = "lora_unet_mid_block_attentions_0_proj_in"
SUFFIXES = words(
    "lora_down.weight lora_up.weight lora_mid.weight alpha dora_scale lora_A.weight lora_B.weight "
    "lora_A.default.weight lora.up.weight lora.down.weight hada_w1_a hada_w1_b hada_w2_a hada_w2_b "
    "hada_t1 hada_t2 lokr_w1 lokr_w1_a lokr_w2_b lokr_t2 oft_blocks oft_diag a1.weight b2.weight diff "
    "diff_b w_norm b_norm weight bias lora_magnitude_vector on_input"
)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_modules_name_is_the_key_without_the_parameters_suffix(suffix: str) -> None:
    assert module_name(f"{MODULE}.{suffix}") == MODULE


def test_a_suffix_within_a_name_stays() -> None:
    assert module_name("unet.alpha.weight.proj_in.alpha") == "unet.alpha.weight.proj_in"
    assert module_name("unet.conv_in") == "unet.conv_in"


def test_an_old_diffusers_processor_is_the_module_that_it_changes() -> None:
    name = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight"
    assert module_name(name) == "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"


def test_a_bundled_embedding_is_no_module() -> None:
    assert not is_module("bundle_emb.word.string_to_param.*")
    assert is_module("lora_te_text_model_encoder_layers_0_mlp_fc1.alpha")


# Selectors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "architecture", "blocks"),
    [
        ("IN04", SD1, "IN04"),
        ("OUT0", SD1, "OUT00"),
        ("OUT00", SD1, "OUT00"),
        ("out00", SD1, "OUT00"),
        ("MID", SD1, "M00"),
        ("M00", SD1, "M00"),
        ("MID00", SD1, "M00"),
        ("IN04-IN08", SD1, "IN04 IN05 IN06 IN07 IN08"),
        ("IN08-IN04", SD1, "IN04 IN05 IN06 IN07 IN08"),
        ("IN10-OUT01", SD1, "IN10 IN11 M00 OUT00 OUT01"),
        ("IN08-OUT00", SDXL, "IN08 M00 OUT00"),
        ("OUT", SDXL, "OUT00 OUT01 OUT02 OUT03 OUT04 OUT05 OUT06 OUT07 OUT08"),
        ("BASE", SDXL, "BASE"),
        ("D17-S01", FLUX, "D17 D18 S00 S01"),
        ("OUT", FLUX, "OUT"),
        ("IN", FLUX, "IN"),
        ("t5", FLUX, "T5"),
        ("BASE", FLUX, "CLIP T5"),
        ("IN05 BASE IN04", SD1, "BASE IN04 IN05"),
        ("NOT IN00-OUT10", SD1, "BASE OUT11"),
    ],
)
def test_a_selector_means_these_blocks(text: str, architecture: Architecture, blocks: str) -> None:
    assert select(text, architecture) == tuple(blocks.split())


def test_a_group_means_every_block_of_its_side() -> None:
    assert select("IN", SD1) == tuple(b for b in LAYOUT_26 if b.startswith("IN"))
    assert select("D", FLUX) == tuple(b for b in LAYOUT_61 if b.startswith("D"))
    assert select("S", FLUX) == tuple(b for b in LAYOUT_61 if b.startswith("S"))


@pytest.mark.parametrize(
    ("text", "architecture", "named"),
    [
        ("IN12", SD1, ["IN12", "BASE", "IN00", "M00", "OUT11", "SD 1.x"]),
        ("IN09", SDXL, ["IN09", "IN08", "OUT08", "SDXL"]),
        ("D00", SD1, ["D00", "Flux.1", "SD 1.x", "IN00"]),
        ("IN01-D05", SD1, ["D05", "IN01-D05", "M00"]),
        ("IN04", FLUX, ["IN04", "CLIP", "T5", "D00", "OUT"]),
        ("IN" + "9" * 5000, SD1, ["IN9999", "OUT11"]),
        ("", SD1, ["does not name a block"]),
        ("-", SD1, ["unknown block"]),
    ],
)
def test_a_block_that_does_not_exist_is_named_with_those_that_do(
    text: str, architecture: Architecture, named: list[str]
) -> None:
    with pytest.raises(WeightsError) as failure:
        select(text, architecture)
    assert [word for word in named if word not in str(failure.value)] == []


def test_within_a_kind_a_block_of_another_model_selects_what_there_is() -> None:
    assert select_in_kind("IN07-IN11", SDXL) == ("IN07", "IN08")
    assert select_in_kind("NOT IN00-IN11", SDXL) == tuple(b for b in LAYOUT_20 if not b.startswith("IN"))
    with pytest.raises(WeightsError, match=r"IN12.*SDXL"):
        select_in_kind("IN12", SDXL)


# Detection ---------------------------------------------------------------------------------------

Q = "transformer_blocks_0_attn2_to_k.lora_down.weight"


@pytest.mark.parametrize(
    ("name", "width", "architecture"),
    [
        (f"lora_unet_down_blocks_1_attentions_0_{Q}", 768, SD1),
        (f"lora_unet_down_blocks_1_attentions_0_{Q}", 1024, SD2),
        (f"lora_unet_down_blocks_1_attentions_0_{Q}", 2048, SDXL),
        (f"lora_unet_input_blocks_4_1_{Q}", 2048, SDXL),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v.lora_A.weight", 2048, SDXL),
    ],
)
def test_the_width_of_cross_attention_tells_unets_apart(name: str, width: int, architecture: Architecture) -> None:
    assert detect([name], {name: (8, width)}) is architecture


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("lora_unet_down_blocks_0_attentions_0_proj_in.alpha", SD1),
        ("lora_unet_output_blocks_11_1_proj_in.alpha", SD1),
        ("lora_unet_down_blocks_1_attentions_0_transformer_blocks_1_attn1_to_q.alpha", SDXL),
        ("lora_unet_input_blocks_8_1_transformer_blocks_9_attn1_to_q.alpha", SDXL),
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1.alpha", SDXL),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1.alpha", SD1),
        ("lora_unet_double_blocks_0_img_attn_qkv.alpha", FLUX),
        ("transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight", FLUX),
    ],
)
def test_names_alone_tell_where_only_one_model_has_them(name: str, architecture: Architecture) -> None:
    assert detect([name]) is architecture


@pytest.mark.parametrize(
    ("encoder", "architecture"),
    [
        ("gemma2", "lumina2"),
        ("qwen3_06b", "anima"),
        ("umt5xxl.transformer", "wan-1.3b"),
        ("qwen3vl_4b", "krea2"),
        ("ministral3", "ernie-image"),
    ],
)
def test_the_host_s_name_of_a_text_encoder_tells_the_model_that_it_is_of(encoder: str, architecture: str) -> None:
    for name in (f"text_encoders.{encoder}.x.lora_A.weight", f"{encoder}.x.lora_A.weight"):
        found = detect([name])
        assert found is not None
        assert found.name == architecture


@pytest.mark.parametrize(
    ("metadata", "architecture"),
    [
        ({"ss_base_model_version": "sdxl_base_v1-0"}, SDXL),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, SDXL),
        ({"ss_base_model_version": "sd_v1"}, SD1),
        ({"ss_v2": "True"}, SD2),
        ({"modelspec.architecture": "flux-1-dev/lora"}, SD1),
    ],
)
def test_metadata_tells_where_names_do_not(metadata: dict[str, str], architecture: Architecture) -> None:
    assert detect(["lora_unet_mid_block_resnets_0_conv1.alpha"], metadata=metadata) is architecture


def test_what_has_no_known_name_is_of_no_known_model() -> None:
    assert detect([]) is None
    assert detect(["weight", "some.thing.else"]) is None
    assert detect(["bundle_emb.word.clip_l"]) is None
