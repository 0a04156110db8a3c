"""What is specific to Forge Neo and reForge: models that are loaded part by part, LoRAs that are dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lbw import hosts

from .doubles_model import DENOISER, FC1, IN04, MIDDLE, OUT11, same
from .doubles_webui import Processing, parse
from .reference import key, lora
from .worlds import WORLDS, make_world

PART_BY_PART = [title for title in WORLDS if title.startswith(("Neo", "reForge"))]


@pytest.fixture(params=PART_BY_PART)
def parts(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    return make_world(request.param, tmp_path, monkeypatch)


@pytest.fixture
def neo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    return make_world("Neo", tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("title", "adapter"),
    [
        ("AUTOMATIC1111", "A1111Host"),
        ("Forge", "ForgeHost"),
        ("Classic", "ForgeClassicHost"),
        ("reForge", "ReForgeHost"),
        ("Neo", "ForgeNeoHost"),
        ("Neo with wrappers", "ForgeNeoHost"),
    ],
)
def test_a_host_is_told_by_what_it_has_loaded(
    title: str, adapter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_world(title, tmp_path, monkeypatch)
    assert type(hosts.detect()).__name__ == adapter


@pytest.mark.parametrize("title", ["Neo", "reForge", "Classic"])
def test_a_host_that_loads_loras_in_another_way_is_none_that_is_known(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(title, tmp_path, monkeypatch)
    for kind in type(world.networks).__mro__:
        if "load_lora_for_models" in vars(kind):
            monkeypatch.delattr(kind, "load_lora_for_models")
    assert hosts.detect() is None


def test_ones_are_the_plain_picture_and_zeros_the_one_without_however_much_of_the_model_is_loaded(parts: Any) -> None:
    plain = parts.paint("<lora:a:0.5>").weights
    assert same(parts.paint("<lora:a:0.5:lbw=ALL>").weights, plain)
    assert same(parts.paint("<lora:a:0.5:lbw=0>").weights, parts.paint("").weights)


def test_a_lora_that_stops_takes_nothing_with_it_that_another_one_needs(parts: Any) -> None:
    both, alone = (parts.paint(tags).passes[0].unet for tags in ("<lora:a:1><lora:b:0.5>", "<lora:b:0.5>"))
    calls = parts.paint("<lora:a:1:stop=2><lora:b:0.5>").passes[0].calls
    assert [same(call, meant) for call, meant in zip(calls, (both, alone, alone, alone))] == [True] * 4


def test_two_loras_that_begin_together_count_once_each(parts: Any) -> None:
    both, none = parts.paint("<lora:a:1><lora:b:0.5>").passes[0].unet, parts.paint("").passes[0].unet
    calls = parts.paint("<lora:a:1:start=2><lora:b:0.5:start=2>").passes[0].calls
    assert [same(call, meant) for call, meant in zip(calls, (none, both, both, both))] == [True] * 4


def test_how_much_of_the_model_fits_may_change_between_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = ["<lora:a:1:lbw=0.5>", "<lora:a:1:lbw=0.5,M00=0>", "<lora:b:1:lbw=MIDD:start=2><lora:a:0.5>", ""]
    roomy = make_world("Neo", tmp_path, monkeypatch)
    meant = [roomy.paint(tag).passes[0].calls for tag in tags]
    for title in ("Neo partly loaded", "Neo on the fly partly loaded", "reForge partly loaded"):
        tight = make_world(title, tmp_path, monkeypatch)
        for budget in (None, 500.0, 9000.0, 0.1, 3000.0, None):
            tight.budget = budget
            found = [tight.paint(tag).passes[0].calls for tag in tags]
            assert [all(map(same, a, b)) for a, b in zip(found, meant)] == [True] * 4


def test_part_of_a_model_lies_off_the_device_in_these_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for title in PART_BY_PART:
        world = make_world(title, tmp_path, monkeypatch)
        world.paint("<lora:a:1>")
        layers = list(world.model_data.sd_model.forge_objects.unet.layers())
        loaded = [getattr(layer, world.loaded_flag, False) for layer in layers]
        assert any(loaded)
        assert all(loaded) == ("partly" not in title)


@pytest.mark.parametrize("title", ["Forge", "reForge", "Classic", *PART_BY_PART])
def test_patches_of_another_extension_on_its_own_clone_stay_when_a_lora_begins(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(title, tmp_path, monkeypatch)
    base = world.weights()
    deltas = [world.paint(f"<lora:a:1:lbw=0,{block}=1>").weights for block in ("OUT11", "M00")]
    p = Processing(world)
    world.activate(p, parse("<lora:a:1:lbw=0,OUT11=1:step=2-3>"))
    world.condition(parse("<lora:a:1:lbw=0,OUT11=1:step=2-3>"))
    objects = world.model_data.sd_model.forge_objects
    objects.unet = objects.unet.clone()
    theirs = tuple(lora("full", (MIDDLE,), 5).items())
    patch = tuple((name.rpartition(".")[2], tensor) for name, tensor in theirs if name.endswith("diff"))
    world.networks.add(objects.unet, "theirs", {f"diffusion_model.{MIDDLE}.weight": patch}, 0.5)
    calls = world.sample(4).calls
    middle = base[f"{MIDDLE}.weight"] + 0.5 * patch[0][1]
    assert all(torch.equal(call[f"{MIDDLE}.weight"], middle) for call in calls)
    out = [torch.equal(call[f"{OUT11}.weight"], deltas[0][f"{OUT11}.weight"]) for call in calls]
    assert out == [False, True, False, False]
    assert same(world.paint("").weights, base)


@pytest.mark.parametrize("online", [False, True])
def test_a_model_of_nunchakus_is_told_and_the_file_is_left_to_it(neo: Any, online: bool) -> None:
    neo.online = online
    base = neo.paint("").weights
    neo.dynamic_args.nunchaku = True
    painted = neo.paint("<lora:a:1:lbw=0.5><lora:b:1>")
    assert [Path(name).stem for name, _ in neo.taken_by_nunchaku] == ["a", "b"]
    assert len(painted.p.comments) == 1
    assert all(word in painted.p.comments[0] for word in ('"a"', "nunchaku", "Forge Neo", "without block weights"))
    assert same(painted.weights, base)


def test_a_lora_that_the_host_drops_is_told(neo: Any) -> None:
    tensors = lora("lora", (FC1, IN04), 1)
    strange = {name.replace("input_blocks", "joint_blocks"): tensor for name, tensor in tensors.items()}
    neo.add("half", strange | {"lora_unet_joint_blocks_9.alpha": torch.tensor(1.0)})
    painted = neo.paint("<lora:half:1:lbw=0.5>")
    assert painted.p.comments == [
        'LoRA Block Weight: LoRA "half" does not fit the loaded model (SD 1.x): it has no effect'
    ]


def test_a_lora_whose_part_for_the_denoiser_the_host_drops_is_told(neo: Any) -> None:
    neo.names_of_models_before = {key(IN04).replace("input_blocks_4", "input_blocks_9")}
    tensors = lora("lora", (FC1, OUT11, IN04), 1)
    renamed = {name.replace("input_blocks_4", "input_blocks_9"): tensor for name, tensor in tensors.items()}
    neo.add("part", renamed)
    painted = neo.paint("<lora:part:1>")
    assert len(painted.p.comments) == 1
    assert "does not fit the loaded model (SD 1.x): its part for the denoiser has no effect" in painted.p.comments[0]
    assert same(painted.passes[0].unet, neo.paint("").passes[0].unet)
    assert neo.paint("<lora:part:1:0>").p.comments == []


@pytest.mark.parametrize("title", ["Classic", *PART_BY_PART])
def test_where_a_file_cannot_be_read_what_the_host_keeps_from_before_is_not_taken_for_what_was_asked_for(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(title, tmp_path, monkeypatch)
    meant = world.paint("<lora:b:1:lbw=0.5>").weights
    before = world.paint("<lora:a:1>").weights
    (tmp_path / "broken.safetensors").write_bytes(b"no LoRA")
    painted = world.paint("<lora:b:1:lbw=0.5><lora:broken:1:lbw=0.5>")
    assert [text.partition(": ")[2] for text in painted.p.comments] == [
        f'LoRA "{name}" could not be loaded: see the console' for name in ("b", "broken")
    ]
    assert same(painted.weights, before)
    assert same(world.paint("", "<lora:b:1:lbw=0.5>").passes[1].weights, meant)


@pytest.mark.parametrize("title", ["Classic", *PART_BY_PART])
def test_loras_that_other_extensions_load_for_models_of_their_own_are_not_taken_for_the_prompts(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(title, tmp_path, monkeypatch)
    meant = world.paint("<lora:a:1:lbw=0,IN04=1><lora:b:1:lbw=0.5>").weights
    world.paint("")
    load_networks, objects = world.networks.load_networks, world.model_data.sd_model.forge_objects_original

    def load(*args: Any) -> None:
        tensors = world.networks.read(str(tmp_path / "dora.safetensors"))
        world.networks.load_lora_for_models(objects.unet, objects.clip, tensors, 1.0, 1.0, "dora")
        load_networks(*args)
        made = world.model_data.sd_model.forge_objects
        world.networks.load_lora_for_models(made.unet, made.clip, tensors, 1.0, 1.0, "dora")

    monkeypatch.setattr(world.networks, "load_networks", load)
    painted = world.paint("<lora:a:1:lbw=0,IN04=1><lora:b:1:lbw=0.5>")
    assert painted.p.comments == []
    assert same(painted.weights, meant)


@pytest.mark.parametrize("title", ["Classic", *PART_BY_PART])
def test_patches_that_were_there_before_any_lora_stay_as_they_are(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(title, tmp_path, monkeypatch)
    delta = torch.ones(8, 8)
    key = f"diffusion_model.{OUT11}.weight"
    world.networks.add(world.model_data.sd_model.forge_objects_original.unet, "theirs", {key: (("diff", delta),)}, 2.0)
    found = world.paint("<lora:a:1:lbw=0,OUT11=0.5>", "<lora:a:1:lbw=0>")
    base, half = (one.unet[f"{OUT11}.weight"] for one in reversed(found.passes))
    lora_alone = make_world(title, tmp_path, monkeypatch)
    change = [lora_alone.paint(tag).weights[f"{OUT11}.weight"] for tag in ("<lora:a:1:lbw=0,OUT11=0.5>", "")]
    torch.testing.assert_close(base, change[1] + 2 * delta)
    torch.testing.assert_close(half, change[0] + 2 * delta)


@pytest.mark.parametrize("name", ["a", "unet", "text"])
def test_a_lora_that_fits_is_told_nothing_of_whatever_sides_it_has(parts: Any, name: str) -> None:
    assert parts.paint(f"<lora:{name}:1:lbw=0.5>", f"<lora:{name}:1>", f"<lora:{name}:0>").p.comments == []


def test_the_hosts_way_of_loading_models_is_its_own_again_after_the_end(parts: Any) -> None:
    loads = parts._module.ModelPatcher.partially_load
    parts.paint("<lora:a:1:lbw=0.5>")
    assert parts._module.ModelPatcher.partially_load is not loads
    parts.hook.uninstall()
    assert parts._module.ModelPatcher.partially_load is loads


def fields(world: Any) -> list[tuple[Any, ...]]:
    """Return what the host's fields of the denoiser's layers hold."""
    names = ("parameters_manual_cast", "prev_parameters_manual_cast", "forge_patched_weights")
    layers = world.model_data.sd_model.forge_objects.unet.layers()
    return [tuple(getattr(layer, name, None) for name in names) for layer in layers]


def test_a_layer_that_nothing_is_added_to_any_more_is_as_it_was_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world("Neo on the fly", tmp_path, monkeypatch)
    world.paint("<lora:b:1:lbw=0,M00=1>")
    before = fields(world)
    world.paint("<lora:b:1:lbw=0,M00=1,OUT11=1>")
    layer = world.model_data.sd_model.forge_objects.unet.model.get_submodule(f"diffusion_model.{OUT11}")
    assert (layer.parameters_manual_cast, len(layer.weight_function)) == (True, 1)
    world.paint("<lora:b:1:lbw=0,M00=1>")
    assert (layer.parameters_manual_cast, hasattr(layer, "prev_parameters_manual_cast")) == (False, False)
    assert fields(world) == before
    assert len(before) == len(DENOISER)


def test_a_step_that_changes_weights_does_not_let_the_host_load_anything(
    parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "wrappers" in parts.title:
        pytest.skip("is loaded anew where functions of its own change")
    tag = "<lora:a:1:lbw=0.5:step=2-3>"
    meant = parts.paint(tag).passes[0].calls
    started = parse(tag)
    parts.activate(Processing(parts), started)
    parts.condition(started)
    parts.begin_sampling()
    patcher = type(parts.model_data.sd_model.forge_objects.unet)
    asked: list[str] = []
    for name in ("load", "unpatch_model", "partially_unload"):
        monkeypatch.setattr(patcher, name, lambda *_, name=name, **__: asked.append(name))
    monkeypatch.setattr(parts, "begin_sampling", lambda: None)
    assert [same(found, call) for found, call in zip(parts.sample(4).calls, meant)] == [True] * 4
    assert asked == []


@pytest.mark.parametrize("budget", [None, 4000.0])
def test_a_step_that_has_the_model_loaded_anew_has_all_of_it_loaded_or_no_more_than_before(
    budget: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world("Neo with wrappers", tmp_path, monkeypatch, budget=budget)
    started = parse("<lora:a:1:lbw=0.5:step=2-3>")
    world.activate(Processing(world), started)
    world.condition(started)
    world.begin_sampling()
    patcher = world.model_data.sd_model.forge_objects.unet
    model, load = patcher.model, type(patcher).load
    before = model.model_loaded_weight_memory
    devices = []

    def counted(patcher: Any, device: Any, *args: Any, **more: Any) -> None:
        devices.append(device)
        load(patcher, device, *args, **more)

    monkeypatch.setattr(type(patcher), "load", counted)
    monkeypatch.setattr(world, "begin_sampling", lambda: None)
    world.sample(4)
    assert devices == [patcher.load_device] * 2  # for the step at which the LoRA begins, and where it ends
    assert model.model_lowvram is (budget is not None)
    assert 0 < model.model_loaded_weight_memory <= before


@pytest.mark.parametrize("title", ["Forge", "reForge", "Classic", "Neo"])
def test_after_the_end_the_patchers_are_those_that_the_host_made(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(title, tmp_path, monkeypatch)
    model = world.model_data.sd_model
    world.paint("<lora:a:0.5>")
    made = model.forge_objects_after_applying_lora.shallow_copy()
    world.paint("<lora:a:0.5:lbw=0.5>")
    applied = model.forge_objects_after_applying_lora
    assert applied.unet is not made.unet
    assert applied.clip is not made.clip
    pristine = applied.unet.lbw_pristine, applied.clip.lbw_pristine
    world.hook.uninstall()
    applied = model.forge_objects_after_applying_lora
    assert (applied.unet, applied.clip) == pristine


@pytest.mark.parametrize("title", ["Forge", "reForge", "Classic", "Neo"])
def test_the_end_may_come_while_another_model_is_loaded(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(title, tmp_path, monkeypatch)
    world.paint("<lora:a:0.5:lbw=0.5>")
    world.model_data.sd_model = object()  # the stand-in of a model that is about to be loaded
    world.hook.uninstall()
    assert world.hook.host is None
