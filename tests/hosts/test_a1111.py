"""What is specific to AUTOMATIC1111: networks in memory, fused attention, the functional mode, rank."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from .doubles_mathematics import split
from .doubles_model import ATTENTION, IN04, OUT11, WIDTH, same
from .reference import EVERYWHERE, lora
from .worlds import make_world


def in_memory(world: Any) -> Iterator[torch.Tensor]:
    for network in world.networks.networks_in_memory.values():
        for module in network.modules.values():
            yield from module.parameters.values()


def test_tensors_and_strengths_of_networks_in_memory_are_never_changed(a1111: Any) -> None:
    a1111.paint("<lora:a:1>", "<lora:b:0.5>", "<lora:dora:1>")
    before = [tensor.clone() for tensor in in_memory(a1111)]
    a1111.paint(
        "<lora:a:1:lbw=0.5:start=2>", "<lora:a:1:lbw=0><lora:a:1:lbw=2>", "<lora:b:0.5:lbw=OUTD><lora:dora:1:lbw=3>"
    )
    assert len(before) > 20
    assert all(torch.equal(a, b) for a, b in zip(in_memory(a1111), before))
    modules = a1111.networks.networks_in_memory["b"].modules.values()
    assert {module.multiplier() for module in modules} == {0.5}


def test_a_lora_read_again_because_its_file_changed_is_merged_anew_in_every_layer(a1111: Any, tmp_path: Path) -> None:
    a1111.paint("<lora:a:1:lbw=0.5>")
    a1111.add("a", lora("lora", EVERYWHERE, 77))
    os.utime(tmp_path / "a.safetensors", (2e9, 2e9))
    second = a1111.paint("<lora:a:1:lbw=0.5,OUT11=0>").weights
    fresh = a1111.paint("", "<lora:a:1:lbw=0.5,OUT11=0>").passes[1].unet
    assert same({name: second[name] for name in fresh}, fresh)


def test_a_lora_that_left_the_memory_is_read_and_weighted_again(a1111: Any) -> None:
    a1111.networks.memory_limit = 0
    first = a1111.paint("<lora:a:1:lbw=0.5,OUT=0>").weights
    a1111.paint("<lora:b:1:lbw=0.5>", "")
    assert same(a1111.paint("<lora:a:1:lbw=0.5,OUT=0>").weights, first)


def test_the_rank_of_a_tag_is_kept_with_block_weights(a1111: Any) -> None:
    base = a1111.weights()
    cut = a1111.paint("<lora:a:1:1:1>").weights
    assert not same(cut, a1111.paint("<lora:a:1>").weights)
    weighted = a1111.paint("<lora:a:1:1:1:lbw=0,OUT11=0.5>").weights
    name = f"{OUT11}.weight"
    torch.testing.assert_close(weighted[name], base[name] + 0.5 * (cut[name] - base[name]))
    other = a1111.paint("<lora:a:1:1:2:lbw=0,OUT11=0.5>").weights
    assert not torch.equal(weighted[name], other[name])
    both = a1111.paint("<lora:a:1:1:1:lbw=0,OUT11=0.5><lora:a:1:1:2:lbw=0,OUT11=0.5>").weights
    torch.testing.assert_close(both[name] - other[name], weighted[name] - base[name], atol=1e-6, rtol=1e-5)


def test_a_rule_for_one_projection_of_a_fused_attention_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world("AUTOMATIC1111", tmp_path, monkeypatch, fused=True)
    ones = torch.ones(WIDTH, WIDTH)
    keys = [f"lora_te_text_model_encoder_layers_0_self_attn_{name}_proj.diff" for name in ("q", "k", "v", "out")]
    world.add("open", {key: ones.clone() for key in keys})
    name = f"{ATTENTION}.in_proj_weight"
    base = world.weights()[name]
    found = world.paint("<lora:open:1:lbwe=;k_proj;0>").weights[name] - base
    torch.testing.assert_close(found, torch.vstack([ones, 0 * ones, ones]), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("tag", "weight"), [("<lora:a:1>", 1.0), ("<lora:a:2:0.5:lbw=0,IN04=-3>", -1.5)])
def test_the_functional_mode_takes_block_weights(a1111: Any, tag: str, weight: float) -> None:
    layer = a1111.model_data.sd_model.model.get_submodule(f"diffusion_model.{IN04}")
    x = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(0))
    plain = a1111.networks.network_forward(layer, x)
    a1111.paint(tag)
    merged = a1111.networks.network_forward(layer, x)
    a1111.networks.functional = True
    a1111.paint(tag)
    beside = a1111.networks.network_forward(layer, x)
    tensors = split(lora("lora", EVERYWHERE, 1))["lora_unet_input_blocks_4_1_proj_in"]
    delta = tensors["lora_up.weight"] @ tensors["lora_down.weight"] / 2
    torch.testing.assert_close(beside, plain + weight * nn.functional.linear(x, delta), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(merged, beside, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("weight", [3, 0.5, 0, -2])
def test_an_attention_of_fused_projections_takes_the_weight_of_its_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weight: float
) -> None:
    world = make_world("AUTOMATIC1111", tmp_path, monkeypatch, fused=True)
    generator = torch.Generator().manual_seed(1)
    prefix = "lora_te_text_model_encoder_layers_0_self_attn"
    deltas = {name: torch.randn(WIDTH, WIDTH, generator=generator) for name in ("q", "k", "v", "out")}
    world.add("open", {f"{prefix}_{name}_proj.diff": delta for name, delta in deltas.items()})
    base = world.weights()
    found = world.paint(f"<lora:open:0.5:lbw=1,BASE={weight}>").weights
    rows = torch.vstack([deltas["q"], deltas["k"], deltas["v"]])
    name = f"{ATTENTION}.in_proj_weight"
    torch.testing.assert_close(found[name], base[name] + 0.5 * weight * rows)
    name = f"{ATTENTION}.out_proj.weight"
    torch.testing.assert_close(found[name], base[name] + 0.5 * weight * deltas["out"])
    assert same(found, base) == (weight == 0)
    assert world.touched_by(f"<lora:open:0.5:lbw=1,BASE={weight}>") == set()
    assert world.touched_by(f"<lora:open:0.5:lbw=1,BASE={weight + 1}>") == {ATTENTION}


def test_what_the_hosts_list_of_loras_prints_is_the_plain_name(a1111: Any) -> None:
    a1111.paint("<lora:a:1:lbw=0.5>")
    assert [str(network.name) for network in a1111.networks.loaded_networks] == ["a"]
    assert a1111.networks.loaded_networks[0].name != "a"


def test_the_hosts_list_of_loras_has_the_strengths_and_the_rank_of_each_tag(a1111: Any) -> None:
    a1111.paint("<lora:a:0.8:0.25:lbw=0.5><lora:a:0.4:0.5:2:lbw=0.5><lora:b:0.3>")
    loaded = a1111.networks.loaded_networks
    assert [(n.te_multiplier, n.unet_multiplier, n.dyn_dim) for n in loaded] == [
        (0.8, 0.25, None),
        (0.4, 0.5, 2),
        (0.3, 0.3, None),
    ]


def test_pictures_without_block_weights_are_left_to_the_host_alone(a1111: Any) -> None:
    a1111.paint("<lora:a:1><lora:b:0.5>", "", "<lora:a:1>")
    assert a1111.networks.loaded_networks == [a1111.networks.networks_in_memory["a"]]


def test_a_layer_whose_merge_was_interrupted_is_not_taken_for_untouched(a1111: Any) -> None:
    from lbw.hosts.a1111 import guarded

    layer = nn.Linear(2, 2)
    base = layer.weight.detach().clone()

    def interrupted(target: Any) -> None:
        target.network_weights_backup = base
        target.weight.data += 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guarded(interrupted, layer)
    # The host restores a layer whose names are not the wanted ones, and takes one without names for untouched.
    assert getattr(layer, "network_current_names", ()) != ()
    with pytest.raises(KeyboardInterrupt):
        guarded(lambda _: (_ for _ in ()).throw(KeyboardInterrupt()), untouched := nn.Linear(2, 2))
    assert getattr(untouched, "network_current_names", ()) == ()


def test_what_layers_were_merged_with_is_remembered_for_sixteen_changes_and_no_more(a1111: Any) -> None:
    base = a1111.weights()
    first = a1111.paint("<lora:a:1:lbw=0.5>").weights
    for place in range(1, 21):
        a1111.paint(f"<lora:a:1:lbw={place / 100}>")
    assert len(a1111.hook.host._merged) == 16
    assert same(a1111.paint("<lora:a:1:lbw=0.5>").weights, first)
    assert same(a1111.paint("").weights, base)
