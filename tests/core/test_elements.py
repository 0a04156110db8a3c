"""Elemental presets: SYNTAX.md 5 and the examples of the predecessor's README."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbw.core.architectures import ARCHITECTURES
from lbw.core.blocks import locate
from lbw.core.elements import ElementalPreset, Rule, elemental_presets, parse_elements, parse_rules, resolve_elements
from lbw.core.errors import LbwError, PresetError, WeightsError
from lbw.core.family import Architecture
from lbw.core.plan import resolve_request
from lbw.core.tag import LoraRequest

FLUX = ARCHITECTURES["flux"]
SD1 = ARCHITECTURES["sd1"]
SDXL = ARCHITECTURES["sdxl"]

ATTN1 = "transformer_blocks_0_attn1_to_q"
ATTN2 = "transformer_blocks_0_attn2_to_k"
TENSORS = {
    "te attn": "lora_te_text_model_encoder_layers_0_self_attn_q_proj",
    "te mlp": "lora_te_text_model_encoder_layers_0_mlp_fc1",
    "time": "lora_unet_time_embed_0",
    "IN04 attn1": f"lora_unet_input_blocks_4_1_{ATTN1}",
    "IN05 attn1": f"lora_unet_input_blocks_5_1_{ATTN1}",
    "IN05 attn2": f"lora_unet_input_blocks_5_1_{ATTN2}",
    "IN05 proj": "lora_unet_input_blocks_5_1_proj_in",
    "IN08 ff": "lora_unet_input_blocks_8_1_transformer_blocks_0_ff_net_2",
    "M00 attn1": f"lora_unet_middle_block_1_{ATTN1}",
    "OUT04 attn1": f"lora_unet_output_blocks_4_1_{ATTN1}",
    "OUT05 attn2": f"lora_unet_output_blocks_5_1_{ATTN2}",
    "OUT06 res": "lora_unet_output_blocks_6_0_in_layers_2",
}


def touched(rules: str, architecture: Architecture = SD1) -> dict[str, float]:
    """Return the weights of the tensors that a preset with `rules` sets, over block weights of 7."""
    request = LoraRequest("n", weights="7", elements="E")
    resolved = resolve_request(request, architecture, {}, {"E": rules})
    assert resolved.problems == ()
    weights = {name: resolved.weight(locate(tensor, architecture)) for name, tensor in TENSORS.items()}
    return {name: weight for name, weight in weights.items() if weight != 7}


def every(weight: float) -> dict[str, float]:
    return dict.fromkeys(TENSORS, weight)


# The examples of the predecessor's README ---------------------------------------------------------


@pytest.mark.parametrize("architecture", [SD1, SDXL], ids=lambda a: a.name)
@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("IN05-OUT04:attn:0.8", {"IN05 attn1": 0.8, "IN05 attn2": 0.8, "M00 attn1": 0.8, "OUT04 attn1": 0.8}),
        (
            "IN05-OUT05:attn:0",
            {"IN05 attn1": 0, "IN05 attn2": 0, "M00 attn1": 0, "OUT04 attn1": 0, "OUT05 attn2": 0},
        ),
        ("IN05-OUT05:proj:0", {"IN05 proj": 0}),
        ("::0", every(0)),
        ("::1", every(1)),
        ("IN00-IN11::1", {"IN04 attn1": 1, "IN05 attn1": 1, "IN05 attn2": 1, "IN05 proj": 1, "IN08 ff": 1}),
        (
            ":attn:1",
            {
                "te attn": 1,
                "IN04 attn1": 1,
                "IN05 attn1": 1,
                "IN05 attn2": 1,
                "M00 attn1": 1,
                "OUT04 attn1": 1,
                "OUT05 attn2": 1,
            },
        ),
        (
            "IN05-OUT05:attn:1,IN05-OUT05:attn:12",
            {"IN05 attn1": 12, "IN05 attn2": 12, "M00 attn1": 12, "OUT04 attn1": 12, "OUT05 attn2": 12},
        ),
        (
            "IN05-OUT05:attn:0\nBASE:attn:0.5",
            {"te attn": 0.5, "IN05 attn1": 0, "IN05 attn2": 0, "M00 attn1": 0, "OUT04 attn1": 0, "OUT05 attn2": 0},
        ),
        ("encoder::1", {"te attn": 1, "te mlp": 1}),
    ],
)
def test_a_documented_rule_sets_these_tensors(
    rules: str, expected: dict[str, float], architecture: Architecture
) -> None:
    assert touched(rules, architecture) == expected


def test_the_documented_file_has_its_entries() -> None:
    text = (
        "ATTNDEEPON:IN05-OUT05:attn:1,IN05-OUT05:attn:12\n\nATTNDEEPOFF:IN05-OUT05:attn:0\nBASE:attn:0.5\n\n"
        "PROJDEEPOFF:IN05-OUT05:proj:0\n\nXYZ:::1\n"
    )
    assert parse_elements(text) == {
        "ATTNDEEPON": "IN05-OUT05:attn:1,IN05-OUT05:attn:12",
        "ATTNDEEPOFF": "IN05-OUT05:attn:0\nBASE:attn:0.5",
        "PROJDEEPOFF": "IN05-OUT05:proj:0",
        "XYZ": "::1",
    }


def test_the_predecessors_elemental_presets_are_shipped() -> None:
    path = Path(__file__).parents[2] / "presets" / "elempresets.txt"
    assert parse_elements(path.read_text(encoding="utf-8")) == {
        "ATTNDEEPON": "IN05-OUT05:attn:1",
        "ATTNDEEPOFF": "IN05-OUT05:attn:0",
        "PROJDEEPOFF": "IN05-OUT05:proj:0",
        "XYZ": "::1",
    }


# Rules -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("IN05:attn1:2", {"IN05 attn1": 2}),
        ("IN04 OUT05::2", {"IN04 attn1": 2, "OUT05 attn2": 2}),
        ("IN04 IN08-M00::2", {"IN04 attn1": 2, "IN08 ff": 2, "M00 attn1": 2}),
        ("NOT IN00-OUT05::2", {"te attn": 2, "te mlp": 2, "time": 2, "OUT06 res": 2}),
        ("BASE::2", {"te attn": 2, "te mlp": 2, "time": 2}),
        ("IN05:attn1 proj:2", {"IN05 attn1": 2, "IN05 proj": 2}),
        ("IN05:NOT attn1 proj:2", {"IN05 attn2": 2}),
        ("MID::2", {"M00 attn1": 2}),
        ("IN5 : attn1 : -0.5", {"IN05 attn1": -0.5}),
        (":self_attn:2", {"te attn": 2}),
        ("IN05::2\nIN05:attn:3\nIN05:attn2:4", {"IN05 attn1": 3, "IN05 attn2": 4, "IN05 proj": 2}),
        ("IN05:attn2:4,IN05::2", {"IN05 attn1": 2, "IN05 attn2": 2, "IN05 proj": 2}),
        ("OUT06:input_blocks:2", {}),
    ],
)
def test_a_rule_sets_these_tensors(rules: str, expected: dict[str, float]) -> None:
    assert touched(rules) == expected


def test_a_piece_is_found_in_the_original_path_whatever_the_file_calls_it() -> None:
    site = locate("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k", SD1)
    assert Rule("", ("input_blocks_4_1_transformer",), False, 0.0).matches(site, SD1)
    assert not Rule("", ("down_blocks",), False, 0.0).matches(site, SD1)


def test_blocks_of_flux_are_understood() -> None:
    (rule,) = parse_rules("D00-D02 S:mlp linear1:0.5")
    names = ["double_blocks.2.img_mlp.0", "double_blocks.3.img_mlp.0", "single_blocks.37.linear1"]
    assert [rule.matches(locate(name, FLUX), FLUX) for name in names] == [True, False, True]


def test_rules_written_in_a_tag_mean_what_they_mean_in_the_file() -> None:
    rules = parse_rules("IN05-OUT05:attn:1,NOT BASE:NOT proj:-0.5\n::2")
    assert resolve_elements(",".join(rule.text() for rule in rules), {}, SD1) == rules


def test_entries_are_separated_by_blank_lines_of_any_kind() -> None:
    text = "\ufeff\r\nA:IN04::1\r\nIN05::2\r\n\r\n \t\r\nB:::3\r\n"
    assert parse_elements(text) == {"A": "IN04::1\nIN05::2", "B": "::3"}
    assert parse_elements("") == {}


# Bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "architecture", "error", "named"),
    [
        ("ATTNOF", SD1, PresetError, ["ATTNOF", "ATTNOFF"]),
        ("TWO", SD1, PresetError, ["IN04:attn"]),
        ("FOUR", SD1, PresetError, ["IN04:attn:1:2"]),
        ("WORD", SD1, PresetError, ["IN04:attn:much"]),
        ("BLOCK", SD1, WeightsError, ["IN99", "BASE", "OUT11"]),
        ("BLOCK", SDXL, WeightsError, ["IN99", "SDXL", "OUT08"]),
        ("ACROSS", SD1, WeightsError, ["D05", "Flux.1"]),
        ("WORD", FLUX, PresetError, ["IN04:attn:much"]),
        ("ATTNOFF", FLUX, WeightsError, ["IN05", "Flux.1"]),
    ],
)
def test_what_cannot_be_understood_is_named(
    name: str, architecture: Architecture, error: type[LbwError], named: list[str]
) -> None:
    presets = {
        "ATTNOFF": "IN05:attn:0",
        "TWO": "IN04:attn",
        "FOUR": "IN04:attn:1:2",
        "WORD": "IN04:attn:much",
        "BLOCK": "IN99:attn:1",
        "ACROSS": "IN04-D05:attn:1",
    }
    with pytest.raises(error) as failure:
        resolve_elements(name, presets, architecture)
    assert [word for word in named if word not in str(failure.value)] == []


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_entries_are_separated_by_blank_lines_and_numbered_by_their_first_line(end: str) -> None:
    lines = ["A:IN05:attn:1", "", " \t", "B :", "OUT:mlp:0.5", "no preset", "", "also none", "two lines of it"]
    assert elemental_presets("\ufeff" + end.join(lines)) == [
        ElementalPreset(1, "A", "IN05:attn:1"),
        ElementalPreset(4, "B", "\nOUT:mlp:0.5\nno preset"),
        ElementalPreset(8, "", ""),
    ]


def test_an_elemental_preset_that_does_not_exist_is_told_as_one() -> None:
    with pytest.raises(PresetError, match=r'^unknown elemental preset "ATTNOF"; did you mean "ATTNON"'):
        resolve_elements("ATTNOF", {"ATTNON": "IN05:attn:1"}, SD1)
