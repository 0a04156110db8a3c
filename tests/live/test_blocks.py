"""Which tensors a block's number reaches: against files that hold only that block's tensors."""

from __future__ import annotations

import pytest

from .checkpoint import Checkpoint
from .conftest import PLACES, PROMPT, Files
from .webui import Answer, WebUI, same, script_args

pytestmark = pytest.mark.live


@pytest.mark.parametrize("place", PLACES)
def test_a_block_holds_what_stands_there_in_ldm_names(
    place: str,
    webui: WebUI,
    files: Files,
    places: dict[str, str],
    checkpoint: Checkpoint,
    none: Answer,
) -> None:
    block = places[place]
    alone = webui.render(f"{PROMPT} <lora:{files.only[block]}:0.8>")
    assert not same(alone, none)
    layout = checkpoint.layouts[max(checkpoint.layouts)]
    weights = ",".join("1" if each == block else "0" for each in layout)
    weighted = webui.render(f"{PROMPT} <lora:{files.mapped['ldm']}:0.8:lbw={weights}>")
    assert same(weighted, alone)


@pytest.mark.parametrize("place", PLACES)
def test_a_block_holds_what_stands_there_in_diffusers_names(
    place: str, webui: WebUI, files: Files, places: dict[str, str]
) -> None:
    block = places[place]
    alone = webui.render(f"{PROMPT} <lora:{files.only[block]}:0.8>")
    tag = f"<lora:{files.mapped['diffusers']}:0.8:lbw=0,{block}=1>"
    assert same(webui.render(f"{PROMPT} {tag}"), alone)


def test_the_short_layout_reaches_its_blocks_and_gives_the_others_nothing(
    webui: WebUI, files: Files, checkpoint: Checkpoint
) -> None:
    ids = checkpoint.layouts[min(checkpoint.layouts)]
    values = [f"{(place + 1) / 20:g}" for place in range(len(ids))]
    named = ",".join(f"{block}={value}" for block, value in zip(ids, values, strict=True))
    name = files.mapped["ldm"]
    by_place = webui.render(f"{PROMPT} <lora:{name}:1:lbw={','.join(values)}>")
    assert same(by_place, webui.render(f"{PROMPT} <lora:{name}:1:lbw=0,{named}>"))


def test_named_weights_know_groups_ranges_and_other_spellings(
    webui: WebUI, files: Files, checkpoint: Checkpoint
) -> None:
    name = files.mapped["ldm"]
    layout = checkpoint.layouts[max(checkpoint.layouts)]
    weight = {"BASE": "0", "IN": "0.5", "M": "1", "OUT": "0.25"}
    numbers = [weight[block.rstrip("0123456789")] for block in layout]
    numbers[layout.index("IN04")] = numbers[layout.index("IN05")] = "1"
    short = webui.render(f"{PROMPT} <lora:{name}:1:lbw=IN=0.5,mid0=1,OUT=0.25,in4-IN05=1>")
    long = webui.render(f"{PROMPT} <lora:{name}:1:lbw={','.join(numbers)}>")
    assert same(short, long)


def test_an_elemental_rule_replaces_the_weight_of_what_it_matches(webui: WebUI, files: Files, none: Answer) -> None:
    rules = script_args(elements="NOATTN:IN04:attn1:0\n\nXYZ:::1")
    name = files.mapped["ldm"]
    weighted = webui.render(f"{PROMPT} <lora:{name}:0.8:lbwe=NOATTN>", alwayson_scripts=rules)
    assert not same(weighted, webui.render(f"{PROMPT} <lora:{name}:0.8>"))
    assert same(weighted, webui.render(f"{PROMPT} <lora:{files.without_attn1}:0.8>"))


def test_an_elemental_rule_takes_precedence_over_block_weights(webui: WebUI, files: Files) -> None:
    rules = script_args(elements="ON:IN04::1,OUT00-OUT11::0")
    name = files.mapped["ldm"]
    weighted = webui.render(f"{PROMPT} <lora:{name}:0.8:lbw=0:lbwe=ON>", alwayson_scripts=rules)
    assert same(weighted, webui.render(f"{PROMPT} <lora:{files.only['IN04']}:0.8>"))


def test_strengths_of_text_encoder_and_unet_multiply_the_block_weights(webui: WebUI, files: Files) -> None:
    weighted = webui.render(f"{PROMPT} <lora:{files.both}:0.5:0.8:lbw=1,BASE=0.5>")
    assert same(weighted, webui.render(f"{PROMPT} <lora:{files.both}:te=0.25:unet=0.8>"))
