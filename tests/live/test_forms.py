"""The forms of the tag, presets, and the API's argument list."""

from __future__ import annotations

import pytest

from .checkpoint import Checkpoint
from .conftest import PROMPT, Files
from .webui import Answer, WebUI, same, script_args

pytestmark = pytest.mark.live
SD1_NUMBERS = "1,1,0,0.5,0,0,0,0,0.25,0,0,0,0,0,0,0,1"
SDXL_NUMBERS = "1,1,0,0,0,0.5,0.25,0,0,0,0,1"


@pytest.fixture
def numbers(checkpoint: Checkpoint) -> str:
    """One number for each block of the model's short layout, not all alike."""
    return SDXL_NUMBERS if checkpoint.architecture == "sdxl" else SD1_NUMBERS


def test_a_preset_as_third_item_is_block_weights(webui: WebUI, files: Files, none: Answer) -> None:
    name = files.both
    positional = webui.render(f"{PROMPT} <lora:{name}:1:MIDD>")
    assert same(positional, webui.render(f"{PROMPT} <lora:{name}:1:lbw=MIDD>"))
    assert not same(positional, webui.render(f"{PROMPT} <lora:{name}:1>"))
    assert not same(positional, none)


def test_the_preset_none_is_nothing(webui: WebUI, files: Files, none: Answer) -> None:
    assert same(webui.render(f"{PROMPT} <lora:{files.both}:1:NONE>"), none)


def test_the_preset_all_is_the_plain_tag(webui: WebUI, files: Files) -> None:
    plain = webui.render(f"{PROMPT} <lora:{files.both}:1>")
    assert same(webui.render(f"{PROMPT} <lora:{files.both}:1:ALL>"), plain)


def test_numbers_as_third_item_are_block_weights(webui: WebUI, files: Files, numbers: str) -> None:
    keyed = webui.render(f"{PROMPT} <lora:{files.both}:1:lbw={numbers}>")
    assert same(webui.render(f"{PROMPT} <lora:{files.both}:1:{numbers}>"), keyed)


def test_a_fourth_item_is_the_value_of_x(webui: WebUI, files: Files, numbers: str) -> None:
    first, rest = numbers.split(",", 1)
    assert first == "1"
    presets = script_args(presets=f"ROUT:X,{rest}")
    with_x = webui.render(f"{PROMPT} <lora:{files.both}:0.5:ROUT:0.7>", alwayson_scripts=presets)
    assert same(with_x, webui.render(f"{PROMPT} <lora:{files.both}:0.5:lbw=0.7,{rest}>"))
    without_x = webui.render(f"{PROMPT} <lora:{files.both}:0.5:ROUT>", alwayson_scripts=presets)
    assert same(without_x, webui.render(f"{PROMPT} <lora:{files.both}:0.5:lbw={numbers}>"))


def test_x_takes_offsets(webui: WebUI, files: Files) -> None:
    with_x = webui.render(f"{PROMPT} <lora:{files.both}:1:lbw=0,IN=X+0.25,M00=X-0.25:x=0.5>")
    assert same(with_x, webui.render(f"{PROMPT} <lora:{files.both}:1:lbw=0,IN=0.75,M00=0.25>"))


def test_a_fourth_item_without_x_names_an_elemental_preset(webui: WebUI, files: Files) -> None:
    rules = script_args(elements="OFF:OUT00-OUT11::0")
    positional = webui.render(f"{PROMPT} <lora:{files.both}:1:ALL:OFF>", alwayson_scripts=rules)
    assert same(positional, webui.render(f"{PROMPT} <lora:{files.both}:1:lbw=1,OUT=0>"))


@pytest.mark.parametrize("items", ["1:1:lbw=MIDD", "1:MIDD", "w=MIDD"])
def test_lyco_means_the_same_as_lora(items: str, webui: WebUI, files: Files) -> None:
    lora = webui.render(f"{PROMPT} <lora:{files.both}:1:lbw=MIDD>")
    assert same(webui.render(f"{PROMPT} <lyco:{files.both}:{items}>"), lora)


def test_a_name_may_hold_quotes_brackets_and_any_script(webui: WebUI, files: Files, none: Answer) -> None:
    half = webui.render(f"{PROMPT} <lora:{files.odd_name}:0.5>")
    assert not same(half, none)
    assert same(webui.render(f"{PROMPT} <lora:{files.odd_name}:1:lbw=0.5>"), half)


def test_items_nobody_knows_are_left_to_the_host(webui: WebUI, files: Files) -> None:
    weighted = webui.render(f"{PROMPT} <lora:{files.both}:1:trigger=cat:lbw=0.5>")
    assert same(weighted, webui.render(f"{PROMPT} <lora:{files.both}:0.5>"))


def test_presets_of_a_request_serve_this_request_and_no_other(webui: WebUI, files: Files, numbers: str) -> None:
    reverse = ",".join(reversed(numbers.split(",")))
    presets = script_args(presets=f"MYSETS:{numbers}\nYOURSETS:{reverse}")
    name = files.both
    mine = webui.render(f"{PROMPT} <lora:{name}:1:MYSETS>", alwayson_scripts=presets)
    yours = webui.render(f"{PROMPT} <lora:{name}:1:lbw=YOURSETS>", alwayson_scripts=presets)
    assert same(mine, webui.render(f"{PROMPT} <lora:{name}:1:lbw={numbers}>"))
    assert same(yours, webui.render(f"{PROMPT} <lora:{name}:1:lbw={reverse}>"))
    afterwards = webui.render(f"{PROMPT} <lora:{name}:1:lbw=MYSETS>")
    assert "MYSETS" in afterwards.warnings
    assert same(afterwards, webui.render(f"{PROMPT} <lora:{name}:1>"))


def test_switched_off_the_tag_applies_uniformly_in_every_form(webui: WebUI, files: Files) -> None:
    off = script_args(active=False)
    plain = webui.render(f"{PROMPT} <lora:{files.both}:1>")
    for items in ("1:lbw=MIDD:lbwe=NOWHERE:x=0.3:start=2:stop=1", "1:MIDD:0.7"):
        answer = webui.render(f"{PROMPT} <lora:{files.both}:{items}>", alwayson_scripts=off)
        assert same(answer, plain)
        assert not answer.lbw
