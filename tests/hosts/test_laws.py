"""The laws of block weights, from the tag to the weights, on the double of each host."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from .doubles_model import BLOCKS, FC1, IN04, differing, same
from .doubles_webui import Weights, World
from .reference import EVERYWHERE, LINEAR_KINDS, expected, lora

ZEROS, ONES = ",".join("0" * 17), ",".join("1" * 17)


def close(a: Weights, b: Weights) -> bool:
    return all(torch.allclose(a[name], b[name], atol=1e-5) for name in b)


def added(world: World, prompt: str) -> Weights:
    """Return what `prompt` adds to the weights of the model."""
    base = world.paint("").weights
    return {name: weight - base[name] for name, weight in world.paint(prompt).weights.items()}


@pytest.mark.parametrize("name", ["a", "b", "unet", "text", "dora"])
@pytest.mark.parametrize("zeros", [ZEROS, "0", "0,IN04=0"])
def test_all_zeros_are_the_model_without_the_lora_bit_for_bit(world: World, name: str, zeros: str) -> None:
    base = world.weights()
    assert not same(world.paint(f"<lora:{name}:1>").weights, base)
    assert same(world.paint(f"<lora:{name}:1:lbw={zeros}>").weights, base)


@pytest.mark.parametrize("ones", [ONES, "1", "ALL"])
@pytest.mark.parametrize("tag", ["<lora:a:0.7{}>", "<lora:dora:0.5:0.25{}>", "<lora:unet:1{0}><lora:a:-1{0}>"])
def test_all_ones_are_the_plain_tag_bit_for_bit(world: World, tag: str, ones: str) -> None:
    plain = world.paint(tag.format("")).weights
    world.paint("<lora:a:0.7:lbw=0.5>")
    assert same(world.paint(tag.format(f":lbw={ones}")).weights, plain)
    assert not same(world.paint("").weights, plain)


@pytest.mark.parametrize("block", sorted(set(BLOCKS.values())))
def test_a_block_weight_changes_the_layers_of_its_block_and_no_others(world: World, block: str) -> None:
    base = world.weights()
    changed = differing(world.paint(f"<lora:a:1:lbw=0,{block}=0.5>").weights, base)
    linear = {path for path in EVERYWHERE if f"{path}.weight" in base and "in_layers" not in path}
    assert changed == {path for path in linear if BLOCKS[path] == block} != set()


@pytest.mark.parametrize("kind", LINEAR_KINDS)
def test_weights_are_linear_where_the_kind_is(world: World, kind: str) -> None:
    world.add("k", lora(kind, EVERYWHERE, 9))
    once, thrice = added(world, "<lora:k:1:lbw=0.4>"), added(world, "<lora:k:1:lbw=1.2>")
    assert any(weight.abs().max() > 0.01 for weight in once.values())
    assert close(thrice, {name: 3 * weight for name, weight in once.items()})


TAGS = ["<lora:unet:1:lbw=0>", "<lora:a:1:lbw=0,IN04=0.5>", "<lora:text:0.5:lbw=2>", "<lora:b:0.7>"]


@pytest.mark.parametrize("order", [(1, 0, 2, 3), (3, 2, 1, 0), (2, 3, 0, 1)])
def test_the_order_of_tags_does_not_change_who_gets_which_weights(world: World, order: tuple[int, ...]) -> None:
    base = world.weights()
    alone = [added(world, tag) for tag in TAGS]
    together = {name: base[name] + sum(one[name] for one in alone) for name in base}
    assert not close(together, base)
    assert close(world.paint("".join(TAGS)).weights, together)
    assert close(world.paint("".join(TAGS[i] for i in order)).weights, together)


def test_a_unet_only_lora_at_zero_before_a_plain_lora_gives_the_plain_lora_alone(world: World) -> None:
    alone = world.paint("<lora:a:1>").weights
    assert same(world.paint("<lora:unet:1:lbw=0><lora:a:1>").weights, alone)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("<lora:a:1:lbw=0,IN04=0.5>", "<lora:a:1:lbw=0,OUT11=0.25,BASE=1>"),
        ("<lora:a:1:lbw=0.5>", "<lora:a:0.5>"),
        ("<lora:a:1>", "<lora:a:1>"),
        ("<lora:a:1>", "<lora:a:0.5:-0.25>"),
        ("<lora:a:1:0.5:lbw=0,OUT=1>", "<lora:a:1:0.25:lbw=0,BASE=1>"),
    ],
)
def test_the_same_lora_twice_adds(world: World, first: str, second: str) -> None:
    one, other = added(world, first), added(world, second)
    assert close(added(world, first + second), {name: one[name] + other[name] for name in one})
    assert any(weight.abs().max() > 0.01 for weight in one.values())


def test_a_lora_with_start_beside_itself_without_one_adds_from_that_step_on(world: World) -> None:
    base = world.weights()
    half = added(world, "<lora:a:0.5:lbw=0,OUT11=1>")
    calls = world.paint("<lora:a:0.5:lbw=0,OUT11=1:start=3><lora:a:0.5:lbw=0,OUT11=1>").passes[0].calls
    name = "output_blocks.11.1.proj_in.weight"
    for call, times in zip(calls, (1, 1, 2, 2)):
        assert torch.allclose(call[name], base[name] + times * half[name], atol=1e-6)


def test_a_lyco_tag_means_the_same_as_a_lora_tag(world: World) -> None:
    meant = world.paint("<lora:b:1><lora:a:1:lbw=0,IN04=0.5>").weights
    world.paint("")
    assert same(world.paint("<lyco:a:1:lbw=0,IN04=0.5><lora:b:1>").weights, meant) or close(
        world.paint("<lyco:a:1:lbw=0,IN04=0.5><lora:b:1>").weights, meant
    )


def test_both_legacy_forms_mean_the_same_as_the_keyed_ones(world: World) -> None:
    meant = world.paint("<lora:a:1:lbw=MIDD>").weights
    assert same(world.paint("<lora:a:1:MIDD>").weights, meant)
    numbers = "1,0,0,0,1,1,1,1,1,1,1,1,0,0,0,0,0"
    assert same(world.paint(f"<lora:a:1:{numbers}>").weights, meant)
    assert not same(world.paint("<lora:a:1>").weights, meant)


def test_strengths_of_text_encoder_and_unet_are_multiplied_by_the_weight_of_the_block(world: World) -> None:
    base = world.weights()
    tensors = lora("lora", EVERYWHERE, 1)
    by_lycoris = expected(tensors, base, {FC1: 0.5 * 0.8, IN04: -2 * 0.25})
    found = world.paint("<lora:a:0.8:0.25:lbw=0,BASE=0.5,IN04=-2>").weights
    assert torch.allclose(found[f"{FC1}.weight"], by_lycoris[f"{FC1}.weight"], atol=1e-6)
    assert torch.allclose(found[f"{IN04}.weight"], by_lycoris[f"{IN04}.weight"], atol=1e-6)


def test_elemental_rules_reach_the_weights(world: World) -> None:
    base = world.weights()
    found = world.paint("<lora:a:1:lbw=1:lbwe=IN04;attn;0>").weights
    plain = world.paint("<lora:a:1>").weights
    assert differing(found, plain) == {f"{IN04.removesuffix('proj_in')}transformer_blocks.0.attn1.to_q"}
    assert differing(found, base) == differing(plain, base) - differing(found, plain)


def test_other_weights_are_for_this_picture_alone(world: World) -> None:
    def paint(prompt: str) -> Any:
        return world.paint(prompt).weights

    first = paint("<lora:a:1:lbw=0,IN04=0.5>")
    paint("<lora:a:1:lbw=0,IN04=1,OUT11=1>")
    paint("<lora:a:1>")
    assert same(paint("<lora:a:1:lbw=0,IN04=0.5>"), first)


@pytest.mark.parametrize("hires", ["<lora:a:1:lbw=0,BASE=0.5,IN04=2>", "<lora:b:1:lbw=0,BASE=2>", "", "<lora:a:1>"])
def test_the_hires_pass_has_weights_of_its_own_in_text_encoder_and_unet(world: World, hires: str) -> None:
    first = world.paint("<lora:a:1:lbw=0,BASE=1,OUT=1>").passes[0]
    second = world.paint(hires).passes[0]
    painted = world.paint("<lora:a:1:lbw=0,BASE=1,OUT=1>", hires=hires).passes
    assert [same(a.text, b.text) for a, b in zip(painted, (first, second))] == [True, True]
    assert [same(a.unet, b.unet) for a, b in zip(painted, (first, second))] == [True, True]
