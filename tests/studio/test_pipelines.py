"""How pipelines differ: denoisers, parameters, arguments, schedulers; and the message about one that cannot run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from safetensors.torch import save_file  # noqa: E402

from lbw.analysis.request import PictureRequest  # noqa: E402
from lbw.core.errors import FileError, HostError  # noqa: E402
from lbw.core.plan import resolve_request  # noqa: E402
from lbw.core.tag import parse_tag  # noqa: E402
from lbw.hosts.pipelines import load_pipeline, pipeline_weights  # noqa: E402
from lbw.hosts.standalone import Library, StandaloneHost  # noqa: E402
from lbw.studio.renderer import PictureRenderer  # noqa: E402
from lbw.studio.sampling import arguments, step_of, takes_negative_prompt, usual_guidance  # noqa: E402

from . import tiny  # noqa: E402

QUERY = "blocks.1.self_attn.q"


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return StandaloneHost(tiny.built(tiny.wan), Library(tmp_path_factory.mktemp("wan")))


@pytest.fixture(autouse=True)
def base_again(wan: StandaloneHost) -> Iterator[None]:
    yield
    wan.restore()


def apply(host: StandaloneHost, name: str, tensors: dict[str, Any], tag: str = "{}:1") -> tuple[list[str], set[str]]:
    """Apply a LoRA of these tensors; return the messages, and the weights that changed, by component and name."""
    save_file(tensors, host.library.folder / f"{name}.safetensors")
    before = {f"{c}.{n}": getattr(m, a).detach().clone() for c, n, m, a in pipeline_weights(host.pipeline)}
    request = parse_tag(f"<lora:{tag.format(name)}>", {})
    messages = host.apply([resolve_request(request, host.architecture, {}, {})])
    after = {f"{c}.{n}": getattr(m, a) for c, n, m, a in pipeline_weights(host.pipeline)}
    return messages, {name for name in before if not torch.equal(before[name], after[name])}


def query(width: int = tiny.WIDTH, name: str = f"diffusion_model.{QUERY}") -> dict[str, Any]:
    return {f"{name}.lora_A.weight": torch.randn(2, width), f"{name}.lora_B.weight": torch.randn(width, 2)}


# Denoisers and parameters ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "components"),
    [
        ("style", {"transformer", "transformer_2"}),
        ("highlands", {"transformer", "transformer_2"}),
        ("style_high_noise", {"transformer"}),
        ("wan22-style-LowNoise", {"transformer_2"}),
        ("style-low", {"transformer_2"}),
    ],
)
def test_a_lora_reaches_the_denoisers_that_its_files_name_says(
    wan: StandaloneHost, name: str, components: set[str]
) -> None:
    messages, changed = apply(wan, name, query())
    assert messages == []
    assert changed == {f"{component}.transformer.blocks.1.attn1.to_q" for component in components}


def test_a_parameter_of_no_layer_is_changed_too(wan: StandaloneHost) -> None:
    table = wan.pipeline.transformer.blocks[0].scale_shift_table
    before, change = table.detach().clone(), torch.randn(table.shape)
    messages, changed = apply(wan, "table", {"diffusion_model.blocks.0.modulation.diff": change} | query(), "{}:0.5")
    assert messages == []
    assert "transformer.transformer.blocks.0.scale_shift_table" in changed
    torch.testing.assert_close(table.detach(), before + 0.5 * change)
    wan.restore()
    assert torch.equal(table, before)


def test_modules_that_the_loaded_model_has_no_layers_for_are_told(wan: StandaloneHost) -> None:
    messages, changed = apply(wan, "image", query() | query(name="diffusion_model.blocks.0.cross_attn.k_img"))
    assert len(changed) == 2
    assert any("cross_attn.k_img" in message and "no such layers" in message for message in messages)


def test_a_lora_none_of_whose_modules_are_there_does_not_fit(wan: StandaloneHost) -> None:
    said, changed = apply(wan, "deep", query(name="diffusion_model.blocks.9.self_attn.q"))
    assert not changed
    assert len(said) == 1
    assert "does not fit" in said[0]
    assert wan.architecture.title in said[0]


@pytest.mark.parametrize(("count", "more"), [(3, 0), (5, 2)])
def test_three_of_the_modules_without_layers_are_named_and_the_others_counted(
    wan: StandaloneHost, count: int, more: int
) -> None:
    names = [f"diffusion_model.blocks.{number}.self_attn.q" for number in range(2, 2 + count)]
    tensors = query() | {key: tensor for name in names for key, tensor in query(name=name).items()}
    (message,), _ = apply(wan, f"deep_{count}", tensors)
    assert f"{count} modules" in message
    assert sum(name.removeprefix("diffusion_model.") in message for name in names) == 3
    assert [int(number) for number in re.findall(r"(\d+) more", message)] == ([more] if more else [])


def test_a_lora_of_another_family_changes_nothing_and_both_names_are_told(wan: StandaloneHost) -> None:
    messages, changed = apply(wan, "other", query(3072, "transformer.transformer_blocks.0.img_mlp.net.2"))
    assert not changed
    assert any("Wan" in message and "Qwen-Image" in message for message in messages)
    assert wan.tensors("other") == {}


# Arguments ---------------------------------------------------------------------------------------


def given(name: str, negative: str = "") -> dict[str, Any]:
    pipeline = object.__new__(getattr(diffusers, name))
    return arguments(pipeline, "a cat", negative, 3.0, 9, 64, 32)


def test_guidance_goes_where_the_pipeline_takes_it() -> None:
    assert given("StableDiffusionPipeline")["guidance_scale"] == 3.0
    flux = given("FluxPipeline")
    assert flux["guidance_scale"] == 3.0
    assert "true_cfg_scale" not in flux
    qwen = given("QwenImagePipeline")
    assert qwen["true_cfg_scale"] == 3.0
    assert "guidance_scale" not in qwen
    assert qwen["negative_prompt"] == ""  # without one, it would not be guided at all
    assert usual_guidance(object.__new__(diffusers.FluxPipeline)) == 3.5
    assert usual_guidance(object.__new__(diffusers.QwenImagePipeline)) == 4.0


def test_a_negative_prompt_goes_where_it_has_an_effect() -> None:
    assert given("StableDiffusionXLPipeline", "fog")["negative_prompt"] == "fog"
    assert given("StableDiffusionXLPipeline")["negative_prompt"] is None
    assert "negative_prompt" not in given("Flux2KleinPipeline", "fog")
    assert not takes_negative_prompt(object.__new__(diffusers.FluxPipeline))


def test_a_video_is_asked_for_one_frame() -> None:
    asked = given("WanPipeline")
    assert (asked["num_frames"], asked["output_type"]) == (1, "pil")


def test_a_negative_prompt_without_effect_is_told(tmp_path: Path) -> None:
    maker = PictureRenderer(StandaloneHost(tiny.built(tiny.flux), Library(tmp_path)), {}, {})
    made = maker.render(PictureRequest("a cat", "fog", seed=1, steps=1, width=32, height=32))
    assert any("negative prompt has no effect" in problem for problem in made.problems)


# Steps -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheduler", "steps"),
    [
        ("EulerDiscreteScheduler", [1, 2, 3, 4]),
        ("DPMSolverMultistepScheduler", [1, 2, 3, 4]),
        ("HeunDiscreteScheduler", [1, 1, 2, 2, 3, 3, 4]),
        ("PNDMScheduler", [1, 1, 2, 3, 4]),
    ],
)
def test_a_call_of_the_scheduler_belongs_to_a_step(scheduler: str, steps: list[int]) -> None:
    more = {"skip_prk_steps": True} if scheduler == "PNDMScheduler" else {}
    made = getattr(diffusers, scheduler)(**more)
    made.set_timesteps(4)
    assert [step_of(made, call, 4) for call in range(len(made.timesteps))] == steps


# What cannot run ---------------------------------------------------------------------------------


def checkpoint(folder: Path, names: dict[str, tuple[int, int]]) -> Path:
    path = folder / "model.safetensors"
    save_file({f"{name}.weight": torch.zeros(shape) for name, shape in names.items()}, path)
    return path


def test_a_checkpoint_that_the_installed_libraries_cannot_run_is_told_with_their_versions(tmp_path: Path) -> None:
    attention = {f"layers.{n}.self_attention.to_{x}": (8, 8) for n in range(2) for x in "qkv"}
    path = checkpoint(tmp_path, attention | {"layers.0.mlp.linear_fc2": (8, 8), "text_proj": (8, 8)})
    with pytest.raises(FileError, match=rf"ERNIE-Image .*diffusers {diffusers.__version__} and transformers .*>=5"):
        load_pipeline(path, "cpu")


def test_a_pipeline_that_reads_folders_only_says_so_of_a_checkpoint(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, {f"blocks.{n}.attn.{x}": (8, 8) for n in range(2) for x in ("wq", "wk", "gate", "wo")})
    with pytest.raises(FileError, match=r"Krea2Pipeline from a folder only"):
        load_pipeline(path, "cpu")


def test_a_size_that_the_pipeline_does_not_take_is_our_error(wan: StandaloneHost) -> None:
    with pytest.raises(HostError, match="Pipeline, with diffusers"):
        PictureRenderer(wan, {}, {}).render(PictureRequest("a cat", seed=1, steps=1, width=24, height=24))


def test_a_modular_pipeline_renders_as_others_do(tmp_path: Path) -> None:
    maker = PictureRenderer(StandaloneHost(tiny.built(tiny.anima), Library(tmp_path)), {}, {})
    asked = PictureRequest("a cat", seed=1, steps=1, width=32, height=32)
    first, second = (np.asarray(maker.render(replace(asked, cfg_scale=scale)).image) for scale in (1.0, 9.0))
    assert first.shape == (32, 32, 3)
    assert not np.array_equal(first, second)
