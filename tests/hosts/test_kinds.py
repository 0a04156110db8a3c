"""Every kind of LoRA, its merged weights compared with what LyCORIS computes."""

from __future__ import annotations

import pytest
import torch

from .doubles_model import BLOCKS, same
from .doubles_webui import World
from .reference import ALL_KINDS, EVERYWHERE, FORGE_KINDS, expected, lora

WEIGHTS = {
    "<lora:k:1>": {"": 1.0},
    "<lora:k:0.8:0.5:lbw=0,IN04=-0.5,OUT11=1.5>": {"IN04": -0.25, "OUT11": 0.75},
    "<lora:k:0.5:lbw=0.3,BASE=1,M00=0>": {"": 0.15, "BASE": 0.5, "M00": 0.0},
}


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("tag", WEIGHTS)
def test_every_kind_is_added_times_strength_and_block_weight(world: World, kind: str, tag: str) -> None:
    pytest.importorskip("lycoris")
    if world.title != "AUTOMATIC1111" and kind not in FORGE_KINDS:
        pytest.skip(f"{world.title} reads no {kind}")
    base = world.weights()
    tensors = lora(kind, EVERYWHERE, 7)
    world.add("k", tensors)
    blocks = WEIGHTS[tag]
    by_lycoris = expected(tensors, base, {p: blocks.get(b, blocks.get("", 0.0)) for p, b in BLOCKS.items()})
    found = world.paint(tag).weights
    assert any(not torch.allclose(by_lycoris[name], base[name], atol=1e-4) for name in base)
    assert found.keys() == by_lycoris.keys()
    for name, weight in by_lycoris.items():
        torch.testing.assert_close(found[name], weight, atol=2e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_every_kind_at_zero_leaves_the_model_as_it_was(world: World, kind: str) -> None:
    if world.title != "AUTOMATIC1111" and kind not in FORGE_KINDS:
        pytest.skip(f"{world.title} reads no {kind}")
    world.add("k", lora(kind, EVERYWHERE, 7))
    base = world.weights()
    assert not same(world.paint("<lora:k:1:lbw=0.5>").weights, base)
    assert same(world.paint("<lora:k:1:lbw=0>").weights, base)
