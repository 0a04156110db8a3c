"""What the infotext says, and that a picture can be made again from it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from .checkpoint import Checkpoint
from .conftest import PROMPT, Files
from .webui import Answer, RequestError, WebUI, same, script_args

pytestmark = pytest.mark.live


def weights(answer: Answer, name: str) -> list[str]:
    """The numbers that the infotext gives for this LoRA."""
    found = re.search(rf"<{re.escape(name)}:lbw=([^:>]*)", answer.lbw)
    assert found, f"no {name} in the infotext's LBW: {answer.lbw!r}"
    return found.group(1).split(",")


def pasted(webui: WebUI, answer: Answer) -> dict[str, Any]:
    """What the host makes of the picture's infotext when it is pasted."""
    return webui.call("/sdapi/v1/png-info", {"image": answer.pngs[0]})["parameters"]


def presets_of(checkpoint: Checkpoint, value: str) -> dict[str, Any]:
    count = min(checkpoint.layouts)
    return script_args(presets=f"MYSETS:{','.join([value] * (count - 1))},0.25")


def test_the_infotext_has_the_numbers_that_a_preset_stood_for(
    webui: WebUI, files: Files, checkpoint: Checkpoint
) -> None:
    first = webui.render(f"{PROMPT} <lora:{files.both}:1:lbw=MYSETS>", alwayson_scripts=presets_of(checkpoint, "0.5"))
    found = weights(first, files.both)
    assert len(found) in checkpoint.layouts
    assert set(map(float, found)) <= {0.5, 0.25, 0.0}
    by_number = webui.render(f"{PROMPT} <lora:{files.both}:1:lbw={','.join(found)}>")
    assert same(by_number, first)


def test_the_infotext_has_the_weights_of_every_weighted_lora_and_of_no_other(webui: WebUI, files: Files) -> None:
    tags = f"<lora:{files.unet}:1:lbw=0.5><lora:{files.text}:1><lora:{files.both}:1:lbw=0.25>"
    answer = webui.render(f"{PROMPT} {tags}")
    assert set(map(float, weights(answer, files.unet))) == {0.5}
    assert set(map(float, weights(answer, files.both))) == {0.25}
    assert files.text not in answer.lbw


def test_a_picture_without_block_weights_has_no_such_field(webui: WebUI, files: Files, none: Answer) -> None:
    assert not none.lbw
    assert not webui.render(f"{PROMPT} <lora:{files.both}:1>").lbw
    assert not none.warnings


def test_random_weights_come_from_the_seed(webui: WebUI, files: Files) -> None:
    prompt = f"{PROMPT} <lora:{files.both}:1:lbw=0,IN=R,OUT=U>"
    first = webui.render(prompt, fresh=True)
    second = webui.render(prompt, fresh=True)
    other = webui.render(prompt, seed=8)
    assert same(first, second)
    drawn = [float(number) for number in weights(first, files.both)]
    assert drawn == [float(number) for number in weights(second, files.both)]
    assert drawn != [float(number) for number in weights(other, files.both)]
    assert all(-0.5 <= number <= 1.5 for number in drawn)
    assert any(0 < number < 1 for number in drawn)
    assert all(round(number, 3) == number for number in drawn)
    explicit = ",".join(weights(first, files.both))
    assert same(webui.render(f"{PROMPT} <lora:{files.both}:1:lbw={explicit}>"), first)


def test_pasting_gives_a_prompt_that_makes_the_same_picture_under_other_presets(
    webui: WebUI, files: Files, checkpoint: Checkpoint
) -> None:
    first = webui.render(
        f"{PROMPT} <lora:{files.both}:1:lbw=MYSETS:stop=2><lora:{files.unet}:0.5:lbw=0,IN=R>",
        alwayson_scripts=presets_of(checkpoint, "0.5"),
        steps=2,
    )
    prompt = pasted(webui, first)["Prompt"]
    other = presets_of(checkpoint, "1")
    assert "MYSETS" not in prompt
    assert "stop=2" in prompt
    again = webui.render(prompt, alwayson_scripts=other, steps=2)
    assert same(again, first)
    assert not again.warnings


def test_pasting_keeps_elemental_rules(webui: WebUI, files: Files) -> None:
    rules = script_args(elements="OFF:IN00-IN11:attn1:0.5")
    first = webui.render(f"{PROMPT} <lora:{files.both}:1:lbw=MIDD:lbwe=OFF>", alwayson_scripts=rules)
    again = webui.render(pasted(webui, first)["Prompt"], alwayson_scripts=script_args(elements="OFF:::0"))
    assert same(again, first)


def test_a_request_made_of_an_infotext_makes_the_same_picture(
    webui: WebUI, files: Files, checkpoint: Checkpoint, none: Answer
) -> None:
    try:
        webui.generate("/sdapi/v1/txt2img", {"infotext": none.infotext})
    except RequestError as failure:
        pytest.skip(f"this host takes no infotext (started without its page?): {failure}")
    first = webui.render(f"{PROMPT} <lora:{files.both}:1:lbw=MYSETS>", alwayson_scripts=presets_of(checkpoint, "0.5"))
    again = webui.generate(
        "/sdapi/v1/txt2img",
        {"infotext": first.infotext, "alwayson_scripts": presets_of(checkpoint, "1")},
    )
    assert same(again, first)
