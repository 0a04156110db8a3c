"""`start`, `stop` and `step`: at which calls of the denoiser a LoRA works."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from .doubles_model import BLOCKS, FC1, OUT11, same
from .doubles_webui import Pass, World

NAME = f"{OUT11}.weight"


def works(world: World, one: Pass) -> str:
    """Return a 1 for each call of the denoiser at which a LoRA is in the weights, else a 0."""
    base = world.base
    return "".join(str(int(not torch.equal(call[NAME], base[NAME]))) for call in one.calls)


@pytest.fixture(autouse=True)
def _base(world: Any) -> None:
    world.base = world.weights()


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ("", "11111111"),
        (":start=1", "11111111"),
        (":start=3", "00111111"),
        (":stop=3", "11000000"),
        (":step=3-6", "00111000"),
        (":stop=1", "00000000"),
        (":start=9", "00000000"),
        (":start=50%", "00011111"),
        (":start=30%", "00111111"),
        (":stop=50%", "11100000"),
        (":step=25%-75%", "01111000"),
        (":start=0%:stop=100%", "11111110"),
        (":lbw=0,OUT11=1:start=3", "00111111"),
        (":lbw=0,IN04=1:start=3", "00000000"),
    ],
)
def test_steps_count_from_one_in_a_pass(world: World, items: str, expected: str) -> None:
    assert works(world, world.paint(f"<lora:a:1{items}>", steps=8).passes[0]) == expected


@pytest.mark.parametrize(
    ("items", "expected"),
    [(":start=2", "0011111"), (":stop=3", "1111000"), (":step=2-4", "0011110"), (":start=50%", "0011111")],
)
def test_a_step_of_a_second_order_sampler_is_two_calls_of_the_denoiser(world: World, items: str, expected: str) -> None:
    assert works(world, world.paint(f"<lora:a:1{items}>", steps=4, order=2).passes[0]) == expected


def test_img2img_counts_the_steps_that_it_runs(world: World) -> None:
    painted = world.paint("<lora:a:1:start=50%>", "<lora:a:1:start=10%>", steps=20, sampled=8)
    assert [works(world, one) for one in painted.passes] == ["00011111", "11111111"]


def test_the_hires_pass_counts_anew(world: World) -> None:
    tag = "<lora:a:1:start=3>"
    painted = world.paint(tag, hires=tag, steps=6, hires_steps=4)
    assert [works(world, one) for one in painted.passes] == ["001111", "0011"]
    painted = world.paint("<lora:a:1:start=50%>", hires="<lora:a:1:stop=50%>", steps=6, hires_steps=4)
    assert [works(world, one) for one in painted.passes] == ["001111", "1000"]


def test_each_batch_counts_anew(world: World) -> None:
    painted = world.paint("<lora:a:1:start=2>", "<lora:a:1:start=3>", "", "<lora:a:1:start=3>")
    assert [works(world, one) for one in painted.passes] == ["0111", "0011", "0000", "0011"]


def test_what_is_on_is_the_same_as_without_steps_bit_for_bit(world: World) -> None:
    plain = world.paint("<lora:b:0.5:lbw=MIDD>").passes[0].unet
    calls = world.paint("<lora:b:0.5:lbw=MIDD:step=2-4>").passes[0].calls
    assert [same(call, plain) for call in calls] == [False, True, True, False]


def test_what_the_text_encoder_gave_is_not_taken_back(world: World) -> None:
    plain = world.paint("<lora:a:1:lbw=0.5>").passes[0].text
    assert same(world.paint("<lora:a:1:lbw=0.5:start=3>").passes[0].text, plain)
    assert not torch.equal(plain[f"{FC1}.weight"], world.base[f"{FC1}.weight"])


def test_two_loras_switch_each_at_its_own_step(world: World) -> None:
    a, b = (world.paint(f"<lora:{name}:1>").passes[0].unet for name in "ab")
    calls = world.paint("<lora:b:1:stop=3><lora:a:1:start=3>").passes[0].calls
    assert [same(call, b) for call in calls] == [True, True, False, False]
    assert [same(call, a) for call in calls] == [False, False, True, True]


def test_a_switch_merges_the_layers_of_its_blocks_alone_and_reads_nothing(world: World) -> None:
    tag = "<lora:a:1:lbw=0,OUT11=1:start=3><lora:b:1>"
    world.paint(tag)
    touched = world.touched_by(tag)
    if world.merges_by_tensor:
        assert {BLOCKS[path] for path in touched} == {"OUT11"}
    assert OUT11 in touched
    assert not world.reads


def test_a_lora_that_never_changes_during_a_pass_is_not_touched_during_it(world: World) -> None:
    world.paint("<lora:a:1:lbw=0.5><lora:b:1:start=1>")
    assert world.touched_by("<lora:a:1:lbw=0.5><lora:b:1:start=1>") == set()


def test_a_sampler_that_does_not_count_its_calls_is_followed_by_the_hosts_steps(world: World) -> None:
    from types import SimpleNamespace

    from lbw.webui.hook import denoise_step

    assert denoise_step(SimpleNamespace(denoiser=None, sampling_step=4, total_sampling_steps=20)) == (5, 20)
    assert denoise_step(SimpleNamespace(sampling_step=0, total_sampling_steps=0)) == (1, 1)
