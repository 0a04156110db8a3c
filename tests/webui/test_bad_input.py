"""The table of SYNTAX.md 8, each row from the prompt to the comment under the image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hosts.doubles_model import same
from hosts.worlds import stranger

from lbw.core.errors import LbwError

SEVENTEEN = ",".join(["1", "0", "zwei", *"0" * 14])
ROWS = {
    "unknown preset": (":lbw=MIDE", ['"MIDE"', '"MIDD"']),
    "another case": (":lbw=midd", ['"midd"', '"MIDD"']),
    "wrong count": (":lbw=1,2,3", ["3 numbers", "12, 17, 20, 26"]),
    "no number": (f":lbw={SEVENTEEN}", ['"zwei"', "entry 3 of 17", "IN02"]),
    "no number by name": (":lbw=0,OUT11=viel", ['"viel"', "OUT11"]),
    "unknown block": (":lbw=0,IN99=1", ['"IN99"', "IN01", "OUT11"]),
    "range across models": (":lbw=0,IN04-D03=1", ['"D03"', "Flux.1", "SD 1.x"]),
    "another kind of model": (":lbw=" + ",".join("1" * 61), ["61 numbers", "Flux.1", "SD 1.x"]),
    "start after stop": (":lbw=0:start=3:stop=2", ["start=3", "stop=2"]),
    "start after stop in this pass": (":lbw=0:start=90%:stop=2", ["start=90%", "stop=2"]),
    "step that is no number": (":lbw=0:start=soon", ["start=soon"]),
    "steps that are no span": (":lbw=0:step=4", ['"4"', "step=5-10"]),
    "elemental preset": (":lbwe=NOSUCH", ['"NOSUCH"', "elemental"]),
    "x that is no number": (":lbw=0:x=much", ["x=much"]),
}
PLAIN = "<lora:a:0.5:0.7>"


@pytest.mark.parametrize("row", ROWS)
def test_what_is_invalid_is_told_once_and_the_lora_applied_plainly(world: Any, row: str) -> None:
    items, words = ROWS[row]
    plain = world.paint(PLAIN).passes[0]
    tag = f"<lora:a:0.5:0.7{items}>"
    painted = world.paint(tag, tag, hires=tag)
    assert len(painted.p.comments) == 1
    assert painted.p.comments[0].startswith('LoRA Block Weight: LoRA "a": ')
    assert [word for word in words if word not in painted.p.comments[0]] == []
    assert all(same(call, plain.unet) for one in painted.passes for call in one.calls)
    assert all(same(one.text, plain.text) for one in painted.passes)
    assert world.paint(PLAIN).p.comments == []


@pytest.mark.parametrize(
    ("tag", "meant", "word"),
    [
        ("<lora:a:zwei:lbw=MIDD>", "<lora:a:1>", '"zwei"'),
        ("<lora:a:0.5:1:two:lbw=MIDD>", "<lora:a:0.5:1>", '"two"'),
        ("<lora:a:te=much:lbw=MIDD>", "<lora:a>", '"te=much"'),
    ],
)
def test_what_the_host_could_not_read_is_told_and_left_out(world: Any, tag: str, meant: str, word: str) -> None:
    painted = world.paint(tag)
    assert word in painted.p.comments[0]
    assert same(painted.weights, world.paint(meant).weights)
    assert world.extra_networks.swallowed == []


def test_a_lora_that_is_not_found_is_told_and_the_others_are_applied(world: Any) -> None:
    meant = world.paint("<lora:b:1:lbw=0.5>").weights
    painted = world.paint("<lora:nowhere:1:lbw=MIDD><lora:b:1:lbw=0.5>")
    assert painted.p.comments == ['LoRA Block Weight: LoRA "nowhere" was not found; it is ignored']
    assert same(painted.weights, meant)
    assert world.extra_networks.swallowed == []


def test_a_lora_put_into_the_folder_since_is_found(world: Any) -> None:
    world.paint("<lora:a:1>")
    world.add("new", {key: tensor * 2 for key, tensor in stranger().items()})
    assert "was not found" not in str(world.paint("<lora:new:1:lbw=0.5>").p.comments)


def test_a_lora_that_does_not_fit_the_model_is_told_with_the_models_name(world: Any) -> None:
    world.add("stranger", stranger())
    base = world.weights()
    painted = world.paint("<lora:stranger:1:lbw=0.5>")
    assert len(painted.p.comments) == 1
    assert all(word in painted.p.comments[0] for word in ('"stranger"', "SD 1.x", "does not fit"))
    assert same(painted.weights, base)
    assert world.paint("<lora:a:1:lbw=0.5>").p.comments == []


def test_each_of_two_bad_tags_is_told(world: Any) -> None:
    comments = world.paint("<lora:a:1:lbw=NOPE><lora:b:1:lbw=NADA>").p.comments
    assert ['"a"' in comments[0], '"NOPE"' in comments[0]] == [True, True]
    assert ['"b"' in comments[1], '"NADA"' in comments[1]] == [True, True]


@pytest.mark.parametrize("prompt", ["<lora:a:1:lbw=NOPE>", "<lora:nowhere:1>", "<lora:a:1:lbw=1:start=3:stop=2>"])
def test_with_stop_in_the_settings_the_generation_ends_with_the_message(world: Any, prompt: str) -> None:
    world.opts.lbw_on_invalid = "stop"
    good = world.paint("<lora:a:1:lbw=MIDD>").weights
    before = world.encodings
    with pytest.raises(LbwError, match="LoRA Block Weight: LoRA") as error:
        world.paint(prompt)
    assert prompt.split(":")[1] in str(error.value)
    assert world.encodings == before
    assert same(world.paint("<lora:a:1:lbw=MIDD>").weights, good)


def test_with_stop_a_bad_tag_of_the_hires_pass_ends_the_generation_too(world: Any) -> None:
    world.opts.lbw_on_invalid = "stop"
    with pytest.raises(LbwError, match="NOPE"):
        world.paint("<lora:a:1:lbw=MIDD>", hires="<lora:a:1:lbw=NOPE>")


@pytest.mark.parametrize("name", ["folder/a", "folder\\a", "a.safetensors", "A", "sub/A.safetensors"])
def test_a_name_with_its_folder_or_ending_is_understood_and_told(world: Any, name: str) -> None:
    meant = world.paint("<lora:a:1:lbw=0,OUT11=1>").weights
    painted = world.paint(f"<lora:{name}:1:lbw=0,OUT11=1>")
    assert same(painted.weights, meant)
    assert painted.p.comments == [
        f'LoRA Block Weight: LoRA "{name}" is called "a" here',
    ]


def test_a_name_that_is_nearly_right_is_told_with_the_right_one(world: Any) -> None:
    assert 'did you mean "dora"' in str(world.paint("<lora:doraa:1:lbw=0.5>").p.comments)


@pytest.mark.parametrize(
    ("items", "words"),
    [(":lbw=0,OUT11=1:strat=3", ["strat=", "start="]), (":lbw=NONE:lbw=0,OUT11=1", ["more than once"])],
)
def test_a_likely_slip_is_told_and_the_block_weights_are_kept(world: Any, items: str, words: list[str]) -> None:
    meant = world.paint("<lora:a:1:lbw=0,OUT11=1>").weights
    world.opts.lbw_on_invalid = "stop"
    painted = world.paint(f"<lora:a:1{items}>")
    assert same(painted.weights, meant)
    assert [word for word in words if word not in str(painted.p.comments)] == []


def test_a_lora_of_another_model_is_told_with_the_model_that_it_is_for(world: Any) -> None:
    wan = {
        f"lora_unet_blocks_{n}_self_attn_q.lora_{side}.weight": torch.ones(shape)
        for n in range(40)
        for side, shape in (("down", (2, 5120)), ("up", (5120, 2)))
    }
    world.add("wan", wan)
    base = world.weights()
    painted = world.paint("<lora:wan:1:lbw=0.5>")
    assert "does not fit the loaded model (SD 1.x)" in painted.p.comments[0]
    assert painted.p.comments[0].endswith("it is for Wan 14B")
    assert same(painted.weights, base)
