"""What is merged, read and encoded: no more than what changed."""

from __future__ import annotations

import pytest
import torch

from .doubles_model import BLOCKS, FC1
from .doubles_webui import World
from .reference import EVERYWHERE

LINEAR = {path for path in EVERYWHERE if "in_layers" not in path}
TAGS = ["<lora:a:1:lbw=MIDD>", "<lora:unet:1:lbw=0><lora:b:0.5:0.2:lbw=0.5>", "<lora:a:1:lbw=0.5><lora:a:1:lbw=OUTS>"]


@pytest.mark.parametrize("tag", TAGS)
def test_the_same_tag_again_merges_nothing_and_reads_nothing(world: World, tag: str) -> None:
    assert world.touched_by(tag) != set()
    assert world.touched_by(tag, tag) == set()
    assert not world.reads


def test_a_tag_of_before_reads_nothing(world: World) -> None:
    world.paint("<lora:a:1:lbw=MIDD>", "<lora:b:1>", "<lora:a:1>", "")
    assert world.touched_by("<lora:a:1:lbw=OUTS>", "<lora:b:1:lbw=0.5>") != set()
    assert not world.reads


def test_pictures_without_lora_touch_nothing(world: World) -> None:
    world.paint("<lora:a:1:lbw=MIDD>", "")
    assert world.touched_by("", "", "") == set()
    assert not world.reads


@pytest.mark.parametrize(("change", "block"), [("OUT11=0.5", "OUT11"), ("IN04=0", "IN04"), ("BASE=0.25", "BASE")])
def test_a_change_of_one_block_touches_the_layers_of_that_block_alone(world: World, change: str, block: str) -> None:
    if not world.merges_by_tensor:
        pytest.skip(f"{world.title} touches more")
    world.paint("<lora:b:1:lbw=0.5><lora:a:1:lbw=1,M00=0.5>")
    touched = world.touched_by(f"<lora:b:1:lbw=0.5><lora:a:1:lbw=1,M00=0.5,{change}>")
    assert touched == {path for path in LINEAR if BLOCKS[path] == block}


def test_a_change_to_zero_and_back_touches_the_layers_of_that_block_alone(world: World) -> None:
    if not world.merges_by_tensor:
        pytest.skip(f"{world.title} touches more")
    world.paint("<lora:a:1:lbw=0.5,M00=0>")
    middle = {path for path in LINEAR if BLOCKS[path] == "M00"}
    assert world.touched_by("<lora:a:1:lbw=0.5,M00=1>") == middle
    # Removing what is added at each forward touches nothing.
    assert world.touched_by("<lora:a:1:lbw=0.5,M00=0>") == (set() if getattr(world, "online", False) else middle)


def test_a_lora_whose_blocks_are_all_zero_merges_nothing(world: World) -> None:
    world.paint("<lora:a:1:lbw=0.5>", "")
    world.touched_by("<lora:a:1:lbw=0>")
    assert not world.merges


def test_the_text_is_encoded_again_only_where_a_text_encoder_changed(world: World) -> None:
    def encodings(tag: str) -> int:
        before = world.encodings
        world.paint(tag)
        return world.encodings - before

    assert encodings("<lora:a:1:lbw=1,OUT=0>") == 1
    assert encodings("<lora:a:1:lbw=1,OUT=0.5>") == 0
    assert encodings("<lora:a:1>") == 0
    assert encodings("<lora:a:1:lbw=0,BASE=1:start=2>") == 0
    assert encodings("<lora:a:1:lbwe=IN04;attn;0>") == 0
    assert encodings("<lora:a:1:lbw=1,BASE=0.5>") == 1
    assert encodings("<lora:a:1:lbw=OUTD,BASE=0.5>") == 0
    assert encodings("<lora:a:1:lbw=0,BASE=0.25>") == 1
    assert encodings("<lora:a:1:lbwe=;mlp;0>") == 1
    assert encodings("<lora:a:0.5:1>") == 1


def test_the_text_encoders_weights_are_those_of_the_tag_though_only_the_unets_change(world: World) -> None:
    text = world.paint("<lora:a:1:lbw=0.5,OUT=0>").passes[0].text
    world.paint("")
    painted = world.paint("<lora:a:1:lbw=0.5,OUT=1>", "<lora:a:1:lbw=0.5,OUT=0.3>")
    assert all(torch.equal(one.text[f"{FC1}.weight"], text[f"{FC1}.weight"]) for one in painted.passes)
