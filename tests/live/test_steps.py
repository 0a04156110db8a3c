"""`start`, `stop` and `step`: when a LoRA has an effect. Steps count from 1 in each pass."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import PROMPT, Files
from .webui import Answer, WebUI, same

pytestmark = pytest.mark.live


def picture(webui: WebUI, name: str, items: str, **payload: Any) -> Answer:
    tag = f" <lora:{name}:1{items}>" if name else ""
    return webui.render(PROMPT + tag, **payload)


@pytest.mark.parametrize("items", [":stop=1", ":stop=0%", ":step=9-20"])
def test_a_lora_that_is_never_on_has_no_effect(items: str, webui: WebUI, files: Files) -> None:
    gated = picture(webui, files.unet, items, steps=3)
    assert same(gated, picture(webui, "", "", steps=3))


@pytest.mark.parametrize("items", [":start=1", ":start=0%", ":step=1-4"])
def test_a_lora_that_is_always_on_is_the_plain_tag(items: str, webui: WebUI, files: Files) -> None:
    gated = picture(webui, files.unet, items, steps=3)
    assert same(gated, picture(webui, files.unet, "", steps=3))


def test_step_is_start_and_stop_in_one(webui: WebUI, files: Files) -> None:
    step = picture(webui, files.unet, ":step=1-2", steps=3)
    assert same(step, picture(webui, files.unet, ":stop=2", steps=3))
    later = picture(webui, files.unet, ":step=2-3", steps=3)
    assert same(later, picture(webui, files.unet, ":start=2:stop=3", steps=3))
    assert not same(step, later)


@pytest.mark.parametrize("items", [":start=2", ":stop=2", ":start=3"])
def test_a_lora_that_is_on_for_a_while_differs_from_nothing_and_everything(
    items: str, webui: WebUI, files: Files
) -> None:
    gated = picture(webui, files.unet, items, steps=3)
    assert not same(gated, picture(webui, "", "", steps=3))
    assert not same(gated, picture(webui, files.unet, "", steps=3))


def test_a_percentage_is_taken_of_the_steps(webui: WebUI, files: Files) -> None:
    for key in ("start", "stop"):
        percentage = picture(webui, files.unet, f":{key}=50%", steps=4)
        assert same(percentage, picture(webui, files.unet, f":{key}=2", steps=4))


def test_steps_go_together_with_block_weights(webui: WebUI, files: Files) -> None:
    gated = picture(webui, files.unet, ":lbw=0.5:stop=2", steps=3)
    half = webui.render(f"{PROMPT} <lora:{files.unet}:0.5:stop=2>", steps=3)
    assert same(gated, half)
    assert not same(gated, picture(webui, files.unet, ":lbw=0.5", steps=3))


def test_two_loras_one_after_the_other(webui: WebUI, files: Files) -> None:
    """The second one takes over where the first one stops: on throughout, it is the plain tag."""
    relay = f"<lora:{files.unet}:1:stop=2><lora:{files.unet}:1:start=2>"
    assert same(webui.render(f"{PROMPT} {relay}", steps=3), picture(webui, files.unet, "", steps=3))


def test_what_the_text_encoder_gave_is_not_taken_back(webui: WebUI, files: Files) -> None:
    gated = picture(webui, files.both, ":stop=1", steps=3)
    assert same(gated, picture(webui, files.both, ":unet=0", steps=3))


@pytest.mark.parametrize("sampler", ["Heun", "DPM2"])
def test_a_sampler_of_second_order_counts_steps_and_not_calls(sampler: str, webui: WebUI, files: Files) -> None:
    payload = {"sampler_name": sampler, "steps": 3}
    nothing = picture(webui, "", "", **payload)
    everything = picture(webui, files.unet, "", **payload)
    assert same(picture(webui, files.unet, ":start=4", **payload), nothing)
    assert same(picture(webui, files.unet, ":stop=4", **payload), everything)
    partly = picture(webui, files.unet, ":stop=2", **payload)
    assert not same(partly, nothing)
    assert not same(partly, everything)


def test_the_next_picture_starts_with_what_its_own_tag_says(webui: WebUI, files: Files) -> None:
    """A gate that closed in the last picture is open again in the next one."""
    everything = picture(webui, files.unet, "", steps=3)
    stopped = picture(webui, files.unet, ":stop=2", steps=3)
    again = picture(webui, files.unet, ":stop=2", steps=3, fresh=True)
    assert same(again, stopped)
    assert same(picture(webui, files.unet, "", steps=3, fresh=True), everything)
