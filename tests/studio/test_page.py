"""The tab Picture of the studio's page, its handler called as Gradio calls it: what controls hold, by the controls."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytest.importorskip("diffusers")
gr = pytest.importorskip("gradio")

from lbw.studio.page import PicturePanel  # noqa: E402

FIRST = {"width": 64, "steps": 1, "cfg_scale": 5.0}


def shown(maker: Any, **held: Any) -> tuple[str, str]:
    """Return the picture and the text that *Generate* shows; held: what fields hold, by their labels."""
    with gr.Blocks() as page:
        panel = PicturePanel(lambda: maker, FIRST, "planted")
    event = next(iter(page.fns.values()))
    updates = event.fn({control: held.get(control.label.split()[-1], control.value) for control in event.inputs})
    assert set(event.outputs) == set(updates)
    return updates[panel.picture], updates[panel.infotext]


def test_the_picture_is_of_what_the_fields_hold(maker: Any) -> None:
    picture, infotext = shown(maker, Prompt="a star <lora:planted:1:lbw=0.5>", Size=103, Seed=8, steps=2, scale=4.5)
    assert re.fullmatch(
        r"a star <lora:planted:1:lbw=0\.5>\nSteps: 2, Sampler: \w+, CFG scale: 4\.5, Seed: 8, Size: 96x96, LBW: .+",
        infotext,
    )
    assert 'src="data:image/png;base64,' in picture


def test_what_is_wrong_with_a_tag_stands_below_the_infotext(maker: Any) -> None:
    assert shown(maker, Prompt="<lora:nowhere:1>")[1].startswith("<lora:nowhere:1>\nSteps: 1")
    assert 'LoRA "nowhere"' in shown(maker, Prompt="<lora:nowhere:1>")[1].splitlines()[-1]


def test_a_field_that_is_not_valid_is_named_and_leaves_no_picture(maker: Any) -> None:
    assert shown(maker, Seed=-5) == ("", 'Seed "-5" is not a whole number from -1 to 9223372036854774807')
