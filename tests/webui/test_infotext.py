"""The infotext: what is written with an image, and what pasting it back gives."""

from __future__ import annotations

from typing import Any

import pytest
from hosts.doubles_model import same

from lbw.webui import infotext
from lbw.webui.options import RequestOptions

SHUFFLED = RequestOptions(
    presets={"MIDD": "0", "OUTS": "0,IN04=9", "MINE": "1"}, elements={"SOFT": "OUT11::7", "ATTNDEEPON": "OUT11::7"}
)
MINE = RequestOptions(presets={"MINE": "0.1,BASE=1,OUT11=X-0.25"}, elements={"SOFT": "IN04:attn:0.125"})
MIDD = "1,0,0,0,1,1,1,1,1,1,1,1,0,0,0,0,0"
PROMPTS = [
    "<lora:a:1:lbw=MIDD>",
    "<lora:a:0.8:MIDD:SOFT> a cat <lora:b:1>",
    "<lora:b:1><lora:unet:1:MINE:0.7>",
    "<lora:a:1:lbw=R,BASE=U:start=2:stop=4><lora:b:1:lbw=U><lyco:a:0.5:lbw=0,IN=X+0.1:x=0.3>",
    "<lora:dora:1:lbwe=SOFT>",
    "<lora:a:1:lbw=NOPE><lora:b:1:lbw=OUTS>",
]


def fields(painted: Any) -> dict[str, str]:
    return painted.p.extra_generation_params


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_pasted_infotext_gives_the_same_weights_though_presets_mean_something_else(a1111: Any, prompt: str) -> None:
    first = a1111.paint(prompt, options=MINE, seed=5)
    params = {"Prompt": prompt, **fields(first)}
    infotext.pasted("", params)
    assert params["Prompt"] != prompt
    again = a1111.paint(params["Prompt"], options=SHUFFLED, seed=99)
    assert all(same(a, b) for a, b in zip(again.passes[0].calls, first.passes[0].calls))
    assert same(again.passes[0].text, first.passes[0].text)
    assert again.p.comments == []


@pytest.mark.parametrize("prompt", PROMPTS[:2])
def test_pasting_what_was_pasted_changes_nothing_more(a1111: Any, prompt: str) -> None:
    params = {"Prompt": prompt, **fields(a1111.paint(prompt, options=MINE))}
    infotext.pasted("", params)
    once = params["Prompt"]
    params |= fields(a1111.paint(once))
    infotext.pasted("", params)
    assert params["Prompt"] == once


def test_the_infotext_has_the_numbers_that_were_used(world: Any) -> None:
    painted = world.paint("<lora:a:1:lbw=MIDD><lora:b:1><lora:unet:1:lbw=0,IN04=X:x=0.3>")
    assert fields(painted)["LBW"] == f"<a:lbw={MIDD}><unet:lbw=0,0,0,0,0,0.3,{','.join('0' * 20)}>"


def test_an_image_without_block_weights_has_none_in_its_infotext(world: Any) -> None:
    painted = world.paint("<lora:a:1><lora:b:0.5:start=2>")
    assert fields(painted) == {}
    assert fields(world.paint("<lora:a:1:lbw=MIDD>", "<lora:a:1>")) == {}


def test_a_lora_that_was_applied_without_its_block_weights_says_so(world: Any) -> None:
    assert fields(world.paint("<lora:a:1:lbw=NOPE>"))["LBW"] == f"<a:lbw={','.join(['1'] * 26)}>"


def test_the_hires_pass_is_written_where_it_differs(world: Any) -> None:
    same_tag = world.paint("<lora:a:1:lbw=MIDD>", hires="<lora:a:1:lbw=MIDD>")
    assert fields(same_tag) == {"LBW": f"<a:lbw={MIDD}>"}
    other = world.paint("<lora:a:1:lbw=MIDD>", hires="<lora:a:1:lbw=0>")
    assert fields(other) == {"LBW": f"<a:lbw={MIDD}>", "LBW hires": f"<a:lbw={','.join('0' * 26)}>"}
    after = world.paint("<lora:a:1:lbw=MIDD>")
    assert fields(after) == {"LBW": f"<a:lbw={MIDD}>"}


def test_each_batch_writes_its_own_and_takes_back_the_hires_pass_of_the_one_before(world: Any) -> None:
    p = world.paint("<lora:a:1:lbw=MIDD>", hires="<lora:a:1:lbw=0>").p
    from hosts.doubles_webui import parse

    world.activate(p, parse("<lora:a:1:lbw=ALL>"))
    assert p.extra_generation_params == {"LBW": f"<a:lbw={','.join('1' * 17)}>"}


def test_a_pasted_hires_prompt_gets_its_own_numbers_or_those_of_the_first_pass() -> None:
    params = {"Prompt": "<lora:a:1:lbw=M>", "Hires prompt": "<lora:a:0.5:lbw=N>", "LBW": "<a:lbw=0.1>"}
    own = {**params, "LBW hires": "<a:lbw=0.2>"}
    infotext.pasted("", params)
    assert (params["Prompt"], params["Hires prompt"]) == ("<lora:a:1:lbw=0.1>", "<lora:a:0.5:lbw=0.1>")
    infotext.pasted("", own)
    assert (own["Prompt"], own["Hires prompt"]) == ("<lora:a:1:lbw=0.1>", "<lora:a:0.5:lbw=0.2>")


def test_an_infotext_without_our_field_is_left_alone() -> None:
    params = {"Prompt": "a <lora:a:1:lbw=M>", "Hires prompt": "b <lora:a:1:lbw=M>"}
    before = dict(params)
    infotext.pasted("", params)
    assert params == before
    assert infotext.prompt_of(params) is None
