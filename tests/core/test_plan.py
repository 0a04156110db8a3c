"""The plan: strengths times block weights, rules and steps."""

from __future__ import annotations

import pytest

from lbw.core.architectures import ARCHITECTURES
from lbw.core.entries import RandomSource
from lbw.core.errors import LbwError
from lbw.core.plan import ResolvedLora, at_step, resolve_request
from lbw.core.tag import fill_in, find_entries, parse_tag
from lbw.core.weights import parse_block_weights

from .tables import PREDECESSOR_PRESETS

FLUX = ARCHITECTURES["flux"]
SD1 = ARCHITECTURES["sd1"]
SDXL = ARCHITECTURES["sdxl"]

TE = "lora_te_text_model_encoder_layers_0_mlp_fc1"
IN04_Q = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
IN04_PROJ = "lora_unet_input_blocks_4_1_proj_in"
OUT11 = "lora_unet_output_blocks_11_1_proj_in"
TENSORS = [TE, IN04_Q, IN04_PROJ, OUT11]
ELEMENTS = {"ATTN": "IN04:attn:0.5", "TEXT": "ENCODER::0.5", "LATE": "OUT11::0.5"}


def resolved(tag: str, seed: int = 0) -> ResolvedLora:
    return resolve_request(parse_tag(tag, PREDECESSOR_PRESETS), SD1, PREDECESSOR_PRESETS, ELEMENTS, seed)


def multipliers(lora: ResolvedLora) -> list[float]:
    return list(lora.multipliers(TENSORS).values())


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("<lora:n:0.8>", [0.8, 0.8, 0.8, 0.8]),
        ("<lora:n:0.8:0.4>", [0.8, 0.4, 0.4, 0.4]),
        ("<lora:n:0.8:0.4:lbw=1>", [0.8, 0.4, 0.4, 0.4]),
        ("<lora:n:0.8:0.4:lbw=0>", [0, 0, 0, 0]),
        ("<lora:n:0.8:0.4:lbw=0,BASE=0.5,IN04=-2>", [0.4, -0.8, -0.8, 0]),
        ("<lora:n:0.8:0.4:lbw=OUTS>", [0.8, 0, 0, 0.4]),
        ("<lora:n:0.8:0.5:lbw=0:lbwe=ATTN>", [0, 0.25, 0, 0]),
        ("<lora:n:0.8:0.5:lbwe=TEXT>", [0.4, 0.5, 0.5, 0.5]),
        ("<lora:n:0.5:ALL:ATTN>", [0.5, 0.25, 0.5, 0.5]),
    ],
)
def test_a_multiplier_is_the_strength_times_the_weight(tag: str, expected: list[float]) -> None:
    assert multipliers(resolved(tag)) == expected


def test_the_time_embedding_takes_the_unets_strength_and_the_weight_of_base() -> None:
    name = "lora_unet_time_embed_0"
    assert resolved("<lora:n:0.8:0.4:lbw=0,BASE=0.5>").multipliers([name]) == {name: 0.2}


def test_a_plan_names_tensors_as_it_was_asked() -> None:
    names = ["unet.down_blocks.1.attentions.0.proj_in", "diffusion_model.input_blocks.4.1.proj_in.weight"]
    weights = resolve_request(parse_tag("<lora:n:lbw=0,IN04=0.5>", {}), SD1, {}, {})
    assert weights.multipliers(names) == dict.fromkeys(names, 0.5)


def test_in_flux_each_encoder_has_its_weight() -> None:
    weights = resolve_request(parse_tag("<lora:n:0.5:1:lbw=0,CLIP=0.5,S=2>", {}), FLUX, {}, {})
    names = {
        "lora_te1_text_model_encoder_layers_0_mlp_fc1": 0.25,
        "t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.q": 0.0,
        "lora_unet_single_blocks_0_linear1": 2.0,
        "lora_unet_double_blocks_0_img_attn_qkv": 0.0,
    }
    assert weights.multipliers(names) == names


# Steps -------------------------------------------------------------------------------------------


def test_outside_its_steps_a_lora_leaves_the_denoiser_and_stays_in_the_text_encoder() -> None:
    lora = resolved("<lora:n:1:lbw=0.5:step=3-5>")
    by_step = {step: multipliers(at_step(lora, step, 6)) for step in range(1, 7)}
    off, on = [0.5, 0, 0, 0], [0.5, 0.5, 0.5, 0.5]
    assert by_step == {1: off, 2: off, 3: on, 4: on, 5: off, 6: off}


def test_a_lora_comes_back_as_it_was() -> None:
    lora = resolved("<lora:n:1:lbw=0.5:stop=3>")
    assert at_step(at_step(lora, 4, 6), 1, 6) == lora
    assert at_step(lora, 1, 6) is lora


# What is plain, digests --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "plain"),
    [
        ("<lora:n:0.5:0.2>", True),
        ("<lora:n:lbw=1>", True),
        ("<lora:n:lbw=1,OUT11=0.99>", False),
        ("<lora:n:lbwe=ATTN>", False),
        ("<lora:n:start=2>", False),
    ],
)
def test_a_lora_is_plain_where_each_tensor_gets_the_strength_at_every_step(tag: str, plain: bool) -> None:
    assert resolved(tag).is_plain is plain


@pytest.mark.parametrize(
    "other",
    [
        "<lora:n:0.9:1:lbw=0.5>",
        "<lora:n:1:0.9:lbw=0.5>",
        "<lora:n:1:1:lbw=0.5,OUT11=0.4>",
        "<lora:n:1:1:lbw=0.5:lbwe=ATTN>",
    ],
)
def test_a_digest_differs_where_a_multiplier_does(other: str) -> None:
    assert resolved(other).digest != resolved("<lora:n:1:1:lbw=0.5>").digest


def test_a_digest_is_the_same_where_two_texts_mean_the_same() -> None:
    assert resolved("<lora:n:1:MIDD>").digest == resolved(f"<lora:n:lbw={PREDECESSOR_PRESETS['MIDD']}>").digest
    lora = resolved("<lora:n:1:lbw=0.5:stop=3>")
    assert at_step(lora, 4, 6).digest != lora.digest


@pytest.mark.parametrize(
    ("tag", "same_text"),
    [
        ("<lora:n:1:lbw=0.5,OUT=1>", True),
        ("<lora:n:1:lbw=0.5:lbwe=LATE>", True),
        ("<lora:n:1:lbw=0.5:stop=3>", True),
        ("<lora:n:1:lbw=0.4>", False),
        ("<lora:n:1:lbw=0.5:lbwe=TEXT>", False),
    ],
)
def test_the_text_encoders_digest_differs_only_where_the_text_encoder_does(tag: str, same_text: bool) -> None:
    assert (resolved(tag).encoder_digest == resolved("<lora:n:1:lbw=0.5>").encoder_digest) is same_text


def test_the_text_encoders_digest_is_empty_where_it_is_untouched() -> None:
    assert resolved("<lora:n:1:lbw=0,BASE=1>").encoder_digest == ""
    assert resolved("<lora:n:1:lbw=1,BASE=0.5>").encoder_digest != ""


# Infotext ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "entry"),
    [
        ("<lora:n:0.5>", None),
        ("<lora:n:0.5:stop=3>", None),
        ("<lora:n:0.5:MIDD>", "n:lbw=1,0,0,0,1,1,1,1,1,1,1,1,0,0,0,0,0"),
        ("<lora:n:0.5:lbw=0.25,OUT11=X:x=0.7>", "n:lbw=" + "0.25," * 25 + "0.7"),
        ("<lora:n:0.5:lbwe=ATTN>", "n:lbwe=IN04;attn;0.5"),
        ("<lora:n:0.5:lbw=NOSUCH>", "n:lbw=" + ",".join(["1"] * 26)),
    ],
)
def test_an_entry_says_the_numbers_that_were_used(tag: str, entry: str | None) -> None:
    assert resolved(tag).entry == entry


@pytest.mark.parametrize(
    "items",
    [
        "MIDD",
        "MIDD:ATTN",
        "lbw=R,IN04=U,OUT=X:x=0.3",
        "lbwe=ATTN",
        "lbw=NOSUCH:lbwe=ATTN",
        "lbw=0.1,OUT11=1e-7:stop=30%",
    ],
)
def test_a_prompt_with_its_entry_means_the_same_without_presets_and_with_another_seed(items: str) -> None:
    tag = f"<lora:n:0.5:{items}>"
    before = resolved(tag, seed=1)
    pasted = fill_in(tag, find_entries(f"<{before.entry}>"))
    misleading = dict.fromkeys(PREDECESSOR_PRESETS, "0.125")
    after = resolve_request(parse_tag(pasted, misleading), SD1, misleading, {"ATTN": "::9"}, seed=2)
    assert after.problems == ()
    assert multipliers(after) == multipliers(before)
    assert after.digest == before.digest
    assert after.request.span == before.request.span


# Bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "items",
    [
        "lbw=NOSUCH",
        "lbw=1,1,1",
        "lbw=0,IN04=much",
        "lbw=0,IN99=1",
        "lbw=FLUXALL",
        "lbw=0:lbwe=NOSUCH",
        "lbw=0:start=7:stop=3",
        "lbw=0,IN04=X:x=some",
    ],
)
def test_a_lora_with_bad_weights_is_applied_without_them_and_says_so(items: str) -> None:
    lora = resolved(f"<lora:n:0.5:{items}>")
    assert multipliers(lora) == [0.5, 0.5, 0.5, 0.5]
    assert len(lora.problems) == 1
    assert isinstance(lora.problems[0], LbwError)


def test_an_invalid_weight_does_not_take_the_steps_away() -> None:
    lora = resolved("<lora:n:0.5:lbw=NOSUCH:stop=3>")
    assert multipliers(at_step(lora, 3, 6)) == [0.5, 0, 0, 0]


# Compared ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["<lora:n:1:MIDD>", "<lora:n:1:lbw=NOSUCH>", "<lora:n:often>"])
def test_loras_resolved_from_the_same_tag_are_equal(tag: str) -> None:
    assert resolved(tag) == resolved(tag)
    assert resolved(tag) != resolved(tag.replace("<lora:n:", "<lora:m:"))


# Layouts of other models -------------------------------------------------------------------------


def test_an_sdxl_lora_takes_a_layout_of_sd1_by_block() -> None:
    lora = resolve_request(parse_tag("<lora:n:1:OUTS>", PREDECESSOR_PRESETS), SDXL, PREDECESSOR_PRESETS, {})
    assert {block for block, weight in lora.weights.blocks.items() if weight == 1} == {"BASE", "OUT07", "OUT08"}


def test_random_numbers_are_drawn_by_the_seed_and_the_loras_name() -> None:
    def drawn(name: str, *seed: int) -> dict[str, float]:
        return dict(resolve_request(parse_tag(f"<lora:{name}:1:lbw=R>", {}), SD1, {}, {}, *seed).weights.blocks)

    assert drawn("n", 7) == parse_block_weights("R").resolve(SD1, {}, RandomSource(7, "n")).blocks
    assert drawn("m", 7) == parse_block_weights("R").resolve(SD1, {}, RandomSource(7, "m")).blocks != drawn("n", 7)
    assert drawn("n") == drawn("n", 0) != drawn("n", 1)


def test_steps_in_percent_are_of_the_pass() -> None:
    lora = resolve_request(parse_tag("<lora:n:1:lbw=1:stop=50%>", {}), SD1, {}, {})
    assert [at_step(lora, step, 8).denoiser_on for step in range(1, 9)] == [True] * 3 + [
        False
    ] * 5  # off from the 4th on
