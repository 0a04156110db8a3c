"""Several LoRAs, one LoRA twice, one picture after another: who gets which weights."""

from __future__ import annotations

import pytest

from .checkpoint import Checkpoint
from .conftest import PROMPT, Files
from .loras import attention_blocks
from .webui import Answer, WebUI, distance, same, script_args

pytestmark = pytest.mark.live
PAIRS = [("unet", "both"), ("text", "both"), ("both", "unet"), ("unet", "text")]


@pytest.mark.parametrize(("silent", "heard"), PAIRS)
def test_a_lora_at_zero_leaves_the_other_lora_alone_in_either_order(
    silent: str, heard: str, webui: WebUI, files: Files, none: Answer
) -> None:
    zero = f"<lora:{getattr(files, silent)}:1:lbw=0>"
    plain = f"<lora:{getattr(files, heard)}:1>"
    alone = webui.render(f"{PROMPT} {plain}")
    assert not same(alone, none)
    assert same(webui.render(f"{PROMPT} {zero}{plain}"), alone)
    assert same(webui.render(f"{PROMPT} {plain}{zero}"), alone)


def test_two_weighted_loras_keep_their_own_weights_in_either_order(
    webui: WebUI, files: Files, checkpoint: Checkpoint
) -> None:
    first, *_, last = attention_blocks(checkpoint)
    one = f"<lora:{files.unet}:1:lbw=0,{first}=1>"
    other = f"<lora:{files.both}:1:lbw=0,{last}=1>"
    forth = webui.render(f"{PROMPT} {one}{other}")
    assert same(forth, webui.render(f"{PROMPT} {other}{one}"))
    swapped = f"<lora:{files.unet}:1:lbw=0,{last}=1><lora:{files.both}:1:lbw=0,{first}=1>"
    assert not same(forth, webui.render(f"{PROMPT} {swapped}"))


def test_the_same_lora_named_twice_counts_twice(webui: WebUI, files: Files) -> None:
    half = f"<lora:{files.both}:0.5>"
    twice = webui.render(f"{PROMPT} {half}{half}")
    assert distance(twice, webui.render(f"{PROMPT} <lora:{files.both}:1>")) < 1
    assert distance(twice, webui.render(f"{PROMPT} {half}")) > 1


def test_the_same_lora_twice_with_weights_of_its_own_each_time(
    webui: WebUI, files: Files, checkpoint: Checkpoint
) -> None:
    first, *_, last = attention_blocks(checkpoint)
    name = files.both
    once = webui.render(f"{PROMPT} <lora:{name}:1:lbw=0,{first}=1,{last}=1>")
    twice = webui.render(f"{PROMPT} <lora:{name}:1:lbw=0,{first}=1><lora:{name}:1:lbw=0,{last}=1>")
    assert distance(twice, once) < 1
    assert not same(twice, webui.render(f"{PROMPT} <lora:{name}:1:lbw=0,{last}=1>"))


def test_a_change_of_the_text_encoders_weight_alone_is_seen_at_once(webui: WebUI, files: Files) -> None:
    plain = webui.render(f"{PROMPT} <lora:{files.both}:1>")
    unet_alone = webui.render(f"{PROMPT} <lora:{files.both}:1:lbw=1,BASE=0>", fresh=True)
    everything = webui.render(f"{PROMPT} <lora:{files.both}:1:lbw=1,BASE=1>", fresh=True)
    assert not same(unet_alone, plain)
    assert same(everything, plain)


def test_after_any_sequence_the_picture_without_lora_is_the_first_one(webui: WebUI, files: Files, none: Answer) -> None:
    plain = webui.render(f"{PROMPT} <lora:{files.both}:1>")
    sequence = [
        "".join(f"<lora:{name}:1:lbw=R>" for name in files.kinds.values()),
        f"<lora:{files.unet}:1:stop=2><lora:{files.both}:1:start=2>",
        f"<lora:{files.both}:1:lbw=1,2,3>",
        "<lora:lbwtest_not_there:1:lbw=0.5>",
        f"<lora:{files.foreign}:1:lbw=0.5>",
    ]
    for tags in sequence:
        webui.render(f"{PROMPT} {tags}", fresh=True, steps=2)
    assert same(webui.render(PROMPT, fresh=True), none)
    assert same(webui.render(f"{PROMPT} <lora:{files.both}:1>", fresh=True), plain)


def test_after_an_interrupt_the_picture_without_lora_is_the_first_one(webui: WebUI, files: Files, none: Answer) -> None:
    tags = f"<lora:{files.both}:1:lbw=0.5:stop=30><lora:{files.unet}:1:start=2>"
    webui.interrupted(f"{PROMPT} {tags}", 3, steps=60)
    assert same(webui.render(PROMPT, fresh=True), none)


def test_a_request_that_switches_block_weights_off_leaves_none_behind(webui: WebUI, files: Files, none: Answer) -> None:
    tag = f"{PROMPT} <lora:{files.both}:1:lbw=0>"
    off = webui.render(tag, alwayson_scripts=script_args(active=False))
    assert same(off, webui.render(f"{PROMPT} <lora:{files.both}:1>"))
    assert same(webui.render(tag, fresh=True), none)
