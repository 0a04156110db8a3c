"""What is specific to the Forge family: identifiers, on-the-fly mode, models that bypass patches, other clones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lbw.hosts.forge import PartialRefresh

from .doubles_model import BLOCKS, IN04, OUT11, same
from .doubles_webui import Processing, parse
from .worlds import make_world, stranger


@pytest.fixture
def on_the_fly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    return make_world("Forge", tmp_path, monkeypatch, online=True)


def test_on_the_fly_mode_takes_block_weights_and_merges_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = "<lora:unet:1:lbw=0><lora:a:1:lbw=0,IN04=0.5,BASE=1>"
    meant = make_world("Forge", tmp_path, monkeypatch).paint(tags).weights
    on_the_fly = make_world("Forge", tmp_path, monkeypatch, online=True)
    base = on_the_fly.weights()
    assert same(on_the_fly.paint(tags).weights, meant)
    assert not on_the_fly.merges
    assert same(on_the_fly.paint("<lora:a:1:lbw=0>").weights, base)
    assert same(on_the_fly.paint("").weights, base)


def test_on_the_fly_mode_follows_steps_and_changes(on_the_fly: Any) -> None:
    base = on_the_fly.paint("").weights
    calls = on_the_fly.paint("<lora:a:1:lbw=0,OUT11=1:start=3>").passes[0].calls
    name = f"{OUT11}.weight"
    assert [torch.equal(call[name], base[name]) for call in calls] == [True, True, False, False]
    first = on_the_fly.paint("<lora:a:1:lbw=0,OUT11=0.5>").weights
    second = on_the_fly.paint("<lora:a:1:lbw=0,OUT11=1>").weights
    torch.testing.assert_close(second[name] - base[name], 2 * (first[name] - base[name]), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "way"),
    [({"nunchaku": True}, "nunchaku"), ({"ops": "OperationsInt8"}, "int8")],
)
def test_a_model_that_takes_no_multipliers_is_told_and_named(forge: Any, arguments: Any, way: str) -> None:
    forge.dynamic_args.update(arguments)
    comments = forge.paint("<lora:a:1:lbw=0.5><lora:b:1>").p.comments
    assert len(comments) == 1
    assert all(word in comments[0] for word in ('"a"', way, "Forge", "without block weights"))
    forge.dynamic_args.clear()
    assert forge.paint("<lora:a:1:lbw=0.5><lora:b:1>").p.comments == []


def test_a_forced_refresh_merges_everything_again(forge: Any) -> None:
    meant = forge.paint("<lora:a:1:lbw=0.5>").weights
    unet = forge.model_data.sd_model.forge_objects.unet
    forge.merges.clear()
    unet.model.lora_loader.refresh(unet.lora_patches, torch.device("cpu"), force_refresh=True)
    assert IN04 in forge.merges
    assert same(forge.weights(), meant)


def test_what_the_host_has_merged_before_it_was_wrapped_is_not_merged_again(forge: Any) -> None:
    forge.paint("<lora:a:1:lbw=0.5>")
    unet = forge.model_data.sd_model.forge_objects.unet
    PartialRefresh(type(unet.model.lora_loader))  # around the other one, as after Reload UI: it has seen no merge
    for counter in (forge.merges, forge.restores):
        counter.clear()
    unet.refresh_loras()
    assert not forge.merges
    assert not forge.restores
    assert unet.model.lora_loader.loaded_hash == str(list(unet.lora_patches))


def test_a_refresh_that_changes_nothing_keeps_the_knowledge_of_what_is_merged(forge: Any) -> None:
    forge.paint("<lora:a:1:lbw=0.5>")
    forge.model_data.sd_model.forge_objects.unet.refresh_loras()
    middle = {path for path in BLOCKS if BLOCKS[path] == "M00"}
    touched = forge.touched_by("<lora:a:1:lbw=0.5,M00=1>")
    assert touched
    assert touched <= middle


def test_what_the_host_made_is_kept_untouched_beside_our_clones(world: Any) -> None:
    if world.title == "AUTOMATIC1111":
        pytest.skip("has no patchers")
    world.paint("<lora:a:1>")
    made = world.model_data.sd_model.forge_objects_after_applying_lora.unet
    table = made.lora_patches if world.title == "Forge" else made.patches
    before = {key: str(entries) for key, entries in table.items()}
    world.paint("<lora:a:1:lbw=0.5:start=2>", "<lora:a:1:lbw=0>")
    assert world.model_data.sd_model.forge_objects_after_applying_lora.unet is not made
    assert {key: str(entries) for key, entries in table.items()} == before
    world.paint("<lora:a:1>")
    assert world.model_data.sd_model.forge_objects_after_applying_lora.unet is made


def test_the_text_encoders_are_not_loaded_again_while_only_weights_of_the_denoiser_change(world: Any) -> None:
    if world.title == "AUTOMATIC1111":
        pytest.skip("has no patchers")

    def clip(tag: str) -> Any:
        world.paint(tag)
        return world.model_data.sd_model.forge_objects_after_applying_lora.clip

    before = clip("<lora:a:1:lbw=1,OUT=0>")  # the host loads another patcher than the one in use
    assert clip("<lora:a:1:lbw=1,OUT=0.5>") is before
    assert clip("<lora:a:1:lbw=1,OUT=0.5,BASE=0.5>") is not before


def test_weights_that_are_updated_in_place_are_switched_and_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world("Classic", tmp_path, monkeypatch)
    monkeypatch.setattr("hosts.doubles_classic.ClassicPatcher.weight_inplace_update", True)
    base = world.weights()
    name = f"{OUT11}.weight"
    calls = world.paint("<lora:a:1:lbw=0.5:step=2-4>").passes[0].calls
    assert [torch.equal(call[name], base[name]) for call in calls] == [True, False, False, True]
    assert same(world.paint("").weights, base)


def test_a_lora_whose_names_the_host_knows_only_from_a_model_before_is_told(forge: Any) -> None:
    forge.add("stranger", stranger())
    load = forge.networks.load_lora_for_models

    def load_with_an_empty_entry(model: Any, clip: Any, *args: Any) -> Any:
        new = load(model, clip, *args)[0].clone()
        new.add_patches(filename=args[-1], patches={}, strength_patch=1.0, online_mode=False)
        return new, clip

    forge.networks.load_lora_for_models = load_with_an_empty_entry
    painted = forge.paint("<lora:stranger:1:lbw=0.5>")
    assert ["does not fit" in text for text in painted.p.comments] == [True]


@pytest.mark.parametrize("host", ["Forge", "reForge", "Classic"])
def test_a_file_that_the_host_names_by_keyword_is_known_all_the_same(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(host, tmp_path, monkeypatch)
    tags = "<lora:a:1:lbw=0,IN04=0.5><lora:b:0.5:lbw=0,OUT11=1>"
    meant = world.paint(tags).weights
    world.paint("")
    load, add = world.networks.load_lora_for_models, world.networks.add
    named, added = [], set()

    def load_by_keyword(*args: Any) -> Any:
        *others, filename = args
        named.append(Path(filename).stem)
        return load(*others, filename=filename)

    def add_of_file(owner: Any, filename: str, *args: Any) -> None:
        added.add(Path(filename).stem)
        add(owner, filename, *args)

    world.networks.load_lora_for_models, world.networks.add = load_by_keyword, add_of_file
    painted = world.paint(tags)
    assert named == sorted(added) == ["a", "b"]
    assert same(painted.weights, meant)
    assert painted.p.comments == []


def started(world: Any, tag: str) -> Any:
    """Return the denoiser's patcher of a pass that is about to sample."""
    p = Processing(world)
    world.activate(p, parse(tag))
    world.condition(parse(tag))
    return world.model_data.sd_model.forge_objects.unet


def test_a_clone_made_before_a_switch_does_not_take_what_is_merged_since_for_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world("reForge", tmp_path, monkeypatch)
    first = {name: weight for name, weight in world.weights().items() if name.startswith(OUT11)}
    clone = started(world, "<lora:a:1:lbw=0,OUT11=1:start=2>").clone()
    world.sample(4)
    world.bring_up(clone)
    assert all(torch.equal(world.weights()[name], weight) for name, weight in first.items())
