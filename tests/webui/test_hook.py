"""The hook on the WebUI's LoRA loading: activations of every sort, Reload UI, what a request brings along."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from hosts.doubles_model import same
from hosts.doubles_webui import Interrupted, Processing, parse

from lbw.core.architectures import ARCHITECTURES, guessed
from lbw.core.errors import FileError
from lbw.hosts.patch import patch_of
from lbw.webui.hook import Hook, watch
from lbw.webui.options import RequestOptions

SD1 = ARCHITECTURES["sd1"]

TAG = "<lora:a:1:lbw=0,OUT11=0.5,BASE=1>"


def host_functions(world: Any) -> list[Any]:
    """Return the host's attributes that the extension may replace."""
    functions = [world.extra_networks.activate, world.processing.process_images_inner, world.networks.load_networks]
    functions.append(getattr(world.networks, "load_lora_for_models", None))
    functions.append(getattr(getattr(sys.modules.get("backend.patcher.lora"), "LoraLoader", None), "refresh", None))
    return functions


def test_activating_the_same_parsed_prompt_twice_changes_nothing(world: Any) -> None:
    meant = world.paint(TAG).weights
    world.paint("")
    p, data = Processing(world), parse(TAG)
    for _ in range(3):
        world.activate(p, data)
        world.condition(data)
        one = world.sample(4)
        assert same(one.weights, meant)
    assert p.comments == []


def test_presets_and_elements_of_a_request_count_for_it_alone_and_win(world: Any) -> None:
    options = RequestOptions(presets={"MIDD": "0,OUT11=0.5"}, elements={"E": "OUT11::0.25"})
    meant = [world.paint(f"<lora:a:1:lbw=0,OUT11={weight}>").weights for weight in (0.5, 0.25)]
    shipped = world.paint("<lora:a:1:lbw=MIDD>").weights
    assert same(world.paint("<lora:a:1:lbw=MIDD>", options=options).weights, meant[0])
    assert same(world.paint("<lora:a:1:lbw=0:lbwe=E>", options=options).weights, meant[1])
    assert same(world.paint("<lora:a:1:lbw=MIDD>").weights, shipped)
    assert len(world.paint("<lora:a:1:lbw=0:lbwe=E>").p.comments) == 1


def test_with_block_weights_off_the_lora_is_applied_plainly_without_a_message(world: Any) -> None:
    meant = world.paint("<lora:a:0.5:1>").weights
    painted = world.paint("<lora:a:0.5:1:lbw=MIDD:start=3>", options=RequestOptions(enabled=False))
    assert all(same(call, painted.passes[0].unet) for call in painted.passes[0].calls)
    assert same(painted.weights, meant)
    assert painted.p.comments == []
    assert "LBW" not in painted.p.extra_generation_params


def test_random_entries_are_drawn_by_the_seed_of_the_picture(world: Any) -> None:
    tag = "<lora:a:1:lbw=1,OUT11=R,IN04=U>"
    first, again, other = (world.paint(tag, seed=seed) for seed in (1, 1, 2))
    assert same(first.weights, again.weights)
    assert not same(first.weights, other.weights)
    assert first.p.extra_generation_params["LBW"] != other.p.extra_generation_params["LBW"]


def test_installing_twice_hooks_once(world: Any) -> None:
    calls = []
    original = world.networks.load_networks
    world.networks.load_networks = lambda *args: (calls.append(args), original(*args))
    again = Hook(world.hook.store)
    again.install(world.extra_networks, world.processing)
    world.hook = again
    meant = world.paint(TAG).weights
    assert len(calls) == 1
    for function in (world.extra_networks.activate, world.processing.process_images_inner):
        assert patch_of(function).give_way == again.uninstall
    world.paint("")
    assert same(world.paint(TAG, hires=TAG).weights, meant)
    assert len(calls) == 4


def test_a_reload_in_the_middle_of_things_leaves_nothing_behind(world: Any) -> None:
    base = world.weights()
    meant = world.paint(TAG).weights
    again = Hook(world.hook.store)
    again.install(world.extra_networks, world.processing)
    world.hook = again
    assert same(world.paint("").weights, base)
    assert same(world.paint(TAG).weights, meant)


def test_uninstalling_gives_the_host_back_as_it_was(world: Any) -> None:
    world.hook.uninstall()
    untouched = host_functions(world)
    plain = world.paint("<lora:a:1>").weights
    world.paint("")
    hook = Hook(world.hook.store)
    hook.install(world.extra_networks, world.processing)
    world.hook = hook
    with pytest.raises(Interrupted):
        world.paint("<lora:a:1:lbw=0.5:start=2>", stop_after=2)
    assert host_functions(world) != untouched
    hook.uninstall()
    assert host_functions(world) == untouched
    assert same(world.paint("<lora:a:1>").weights, plain)
    assert same(world.paint("").weights, world.paint("").weights)
    hook.before_denoiser(None)


def test_uninstalling_leaves_a_hook_that_another_extension_put_on_top(world: Any) -> None:
    ours = world.extra_networks.activate
    world.extra_networks.activate = lambda p, data: ours(p, data)
    theirs = world.extra_networks.activate
    plain = world.paint("<lora:a:1>").weights
    world.hook.uninstall()
    assert world.extra_networks.activate is theirs
    assert same(world.paint("<lora:a:1>").weights, plain)


def test_the_tag_that_the_host_reads_has_none_of_our_items(world: Any) -> None:
    seen = []
    original = world.extra_networks.extra_network_registry["lora"].activate
    world.extra_networks.extra_network_registry["lora"].activate = lambda p, tags: (
        seen.extend((list(tag.positional), dict(tag.named)) for tag in tags),
        original(p, tags),
    )
    world.paint("<lora:a:1:MIDD:start=2:unet=0.5:other=thing>")
    assert seen == [(["a", "1"], {"unet": "0.5", "other": "thing"})]


def test_tags_of_other_extra_networks_are_left_alone(world: Any) -> None:
    p, data = Processing(world), parse("<hypernet:h:1:lbw=MIDD><lora:a:1>")
    world.activate(p, data)
    assert data["hypernet"][0].items == ["h", "1", "lbw=MIDD"]


def test_where_the_webui_is_none_that_is_known_a_message_says_so(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "networks")
    painted = world.paint("<lora:a:1:lbw=MIDD><lora:b:1>")
    assert len(painted.p.comments) == 1
    assert "not a known WebUI" in painted.p.comments[0]
    monkeypatch.setitem(sys.modules, "networks", world.networks)
    world.hook.uninstall()
    assert same(painted.weights, world.paint("<lora:a:1><lora:b:1>").weights)


def test_a_preset_file_that_cannot_be_read_is_told_and_the_numbers_still_count(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    meant = world.paint("<lora:a:1:lbw=0,IN04=1>").weights

    def fail() -> None:
        raise FileError("lbwpresets.txt is not valid UTF-8 at byte 3; save it as UTF-8")

    monkeypatch.setattr(world.hook.store, "presets", fail)
    painted = world.paint("<lora:a:1:lbw=0,IN04=1>")
    assert painted.p.comments == ["LoRA Block Weight: lbwpresets.txt is not valid UTF-8 at byte 3; save it as UTF-8"]
    assert same(painted.weights, meant)


def test_the_webui_calls_the_hook_before_each_call_of_the_denoiser_and_when_an_infotext_is_pasted(world: Any) -> None:
    registered = {}
    callbacks = SimpleNamespace(
        on_cfg_denoiser=lambda f: registered.update(denoiser=f),
        on_infotext_pasted=lambda f: registered.update(pasted=f),
    )
    watch(world.hook, callbacks)
    assert registered["denoiser"] == world.hook.before_denoiser
    params = {"Prompt": "x <lora:a:1:lbw=MIDD>", "LBW": "<a:lbw=0.5>"}
    registered["pasted"]("", params)
    assert params["Prompt"] == "x <lora:a:1:lbw=0.5>"


def test_the_loaded_models_architecture_is_told_and_none_is_loaded_for_it(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.hook.loaded() is SD1
    monkeypatch.setattr(type(world.hook.host), "load", lambda _: pytest.fail("a model was loaded"))
    monkeypatch.setattr(sys.modules["modules.sd_models"].model_data, "sd_model", None)
    assert world.hook.loaded() is None
    monkeypatch.setattr(world.hook, "host", None)
    monkeypatch.setattr("lbw.hosts.detect", lambda: None)
    assert world.hook.loaded() is None


def test_blocks_that_are_a_guess_are_told_where_weights_are_given_for_them(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.paint("")  # finds the host
    guess = guessed((("input_blocks", 12),))
    monkeypatch.setattr(world.hook.host, "architecture", lambda: guess)
    (comment,) = world.paint("<lora:a:1:lbw=0,B04=1>").p.comments
    assert "B00 to B11, a guess" in comment
    assert world.paint("<lora:a:1>").p.comments == []
