"""How models are loaded: on which device, in which precision, with which of the libraries' classes and options."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from safetensors.torch import save_file  # noqa: E402

from lbw.core.errors import FileError, HostError  # noqa: E402
from lbw.hosts.pipelines import denoisers, load_pipeline, pipeline_architecture, pipeline_weights  # noqa: E402

from . import tiny  # noqa: E402
from .conftest import DEMO  # noqa: E402


class Loaded(SimpleNamespace):
    """What the libraries return: it keeps what they were asked for."""

    safety_checker: Any = "one that darkens pictures"

    def set_progress_bar_config(self, disable: bool) -> None:
        self.has_progress_bar = not disable

    def load_components(self, **options: Any) -> None:
        self.components_asked = options

    def to(self, device: str) -> Loaded:
        self.device = device
        return self


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the libraries' classes return what they were asked for, instead of loading it."""

    def loader(name: str) -> Any:
        return lambda path, **options: Loaded(loader=name, path=str(path), options=options)

    for kind, method in (
        ("DiffusionPipeline", "from_pretrained"),
        ("ModularPipeline", "from_pretrained"),
        ("StableDiffusionXLPipeline", "from_single_file"),
        ("FluxPipeline", "from_single_file"),
    ):
        monkeypatch.setattr(getattr(diffusers, kind), method, loader(kind))


def folder(path: Path, *components: str, index: str = "model_index.json") -> Path:
    """Return a folder that says that its pipeline has these components."""
    path.mkdir(exist_ok=True)
    (path / index).write_text(json.dumps({name: ["diffusers", "Any"] for name in components}), encoding="utf-8")
    return path


UNET = {
    "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_q": (640, 640),
    "model.diffusion_model.input_blocks.7.1.transformer_blocks.9.attn2.to_k": (1280, 2048),
    "model.diffusion_model.middle_block.1.proj_in": (1280, 1280),
    "model.diffusion_model.output_blocks.8.0.in_layers.2": (320, 640),
    "conditioner.embedders.1.model.transformer.resblocks.0.mlp.c_fc": (8, 8),
}
FLUX = {
    f"{prefix}.{name}": (8, 8)
    for prefix, name in (("double_blocks.0", "img_attn.qkv"), ("double_blocks.18", "txt_mlp.0"),
                         ("single_blocks.0", "linear1"), ("single_blocks.37", "modulation.lin"))
}  # fmt: skip


def checkpoint(path: Path, names: dict[str, tuple[int, int]]) -> Path:
    save_file({f"{name}.weight": torch.zeros(shape, dtype=torch.float16) for name, shape in names.items()}, path)
    return path


# Device and precision ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("has_cuda", "has_mps", "device", "dtype"),
    [
        (True, False, "cuda", torch.float16),
        (True, True, "cuda", torch.float16),
        (False, True, "mps", torch.float16),
        (False, False, "cpu", torch.float32),
    ],
)
@pytest.mark.usefixtures("asked")
def test_the_best_device_is_taken_and_half_precision_on_a_gpu(
    has_cuda: bool, has_mps: bool, device: str, dtype: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_mps)
    found = load_pipeline(folder(tmp_path / "model", "unet"))
    assert found.device == device
    assert found.options["torch_dtype"] is dtype
    assert not found.has_progress_bar
    assert found.safety_checker is None


@pytest.mark.parametrize(
    ("component", "half", "dtype"),
    [
        ("unet", True, torch.float16),
        ("transformer", True, torch.bfloat16),
        ("unet", False, torch.float32),
        ("transformer", None, torch.float32),
    ],
)
@pytest.mark.parametrize("index", ["model_index.json", "modular_model_index.json"])
@pytest.mark.usefixtures("asked")
def test_a_folder_is_read_from_the_disk_alone_in_the_precision_of_its_denoiser(
    component: str, half: bool | None, dtype: Any, index: str, tmp_path: Path
) -> None:
    found = load_pipeline(folder(tmp_path / "model", component, "vae", index=index), "cpu", half)
    options = found.options
    if index.startswith("modular"):
        assert found.loader == "ModularPipeline"
        assert options == {"local_files_only": True}
        options = found.components_asked
    assert options == {"torch_dtype": dtype, "local_files_only": True, "use_safetensors": True}


@pytest.mark.parametrize(("half", "dtype"), [(True, torch.float16), (None, torch.float32)])
def test_the_models_weights_have_the_precision_that_was_asked_for(half: bool | None, dtype: Any) -> None:
    pipeline = load_pipeline(DEMO / "model", "cpu", half)
    assert {pipeline.unet.dtype, pipeline.text_encoder.dtype, pipeline.text_encoder_2.dtype} == {dtype}


@pytest.mark.parametrize(
    ("names", "loader", "dtype"),
    [(UNET, "StableDiffusionXLPipeline", torch.float16), (FLUX, "FluxPipeline", torch.bfloat16)],
)
@pytest.mark.usefixtures("asked")
def test_a_checkpoint_is_read_by_its_familys_class_in_its_precision(
    names: dict[str, tuple[int, int]], loader: str, dtype: Any, tmp_path: Path
) -> None:
    path = checkpoint(tmp_path / "model.safetensors", names)
    for half, wanted in ((True, dtype), (False, torch.float32)):
        found = load_pipeline(path, "cpu", half)
        assert (found.loader, found.path) == (loader, str(path))
        assert found.options == {"torch_dtype": wanted}


@pytest.mark.usefixtures("asked")
def test_a_checkpoint_with_a_configuration_needs_no_network(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "model.safetensors", UNET)
    config = folder(tmp_path / "config", "unet")
    found = load_pipeline(path, "cpu", config=config)
    assert found.options == {"torch_dtype": torch.float32, "config": str(config), "local_files_only": True}
    (config / "model_index.json").unlink()
    with pytest.raises(FileError, match=r"config is not a configuration folder: it has no model_index\.json"):
        load_pipeline(path, "cpu", config=config)


def test_a_checkpoint_that_the_installed_library_has_no_class_for_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint(tmp_path / "model.safetensors", FLUX)
    early = SimpleNamespace(__version__="0.29.0", utils=diffusers.utils)
    monkeypatch.setitem(sys.modules, "diffusers", early)
    with pytest.raises(FileError, match=r"model\.safetensors is a Flux\S* checkpoint, but diffusers 0\.29\.0 .*Flux"):
        load_pipeline(path, "cpu")


def test_a_checkpoint_of_no_known_family_is_told_with_those_that_are_known(tmp_path: Path) -> None:
    for names in ({"a.b": (2, 2)}, {f"layers.{number}.mixer.in_proj": (8, 8) for number in range(3)}):
        with pytest.raises(FileError, match=r"unknown model family; the known ones are .*SDXL, .*Flux"):
            load_pipeline(checkpoint(tmp_path / "model.safetensors", names), "cpu")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("  no such thing\nat line 5"), "no such thing"),
        (KeyError(), "KeyError"),
        (RuntimeError("failed"), "failed"),
    ],
)
def test_an_error_of_the_libraries_is_told_in_a_line(
    error: Exception, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(diffusers.DiffusionPipeline, "from_pretrained", fails)
    with pytest.raises(FileError) as caught:
        load_pipeline(folder(tmp_path / "model", "unet"), "cpu")
    assert str(caught.value) == f"{tmp_path / 'model'} cannot be loaded as a model: {reason}"


# Components --------------------------------------------------------------------------------------


class WithTables(torch.nn.Module):
    """A layer, a number, and tables that belong to no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = torch.nn.Parameter(torch.tensor(1.0))
        self.table = torch.nn.Parameter(torch.ones(2, 3))
        self.layer = torch.nn.Linear(3, 2)
        self.shift = torch.nn.Module()
        self.shift.bias = torch.nn.Parameter(torch.ones(4))


def test_each_weight_is_found_once_with_its_bias_and_tables_under_names_of_their_own() -> None:
    model = WithTables()
    pipeline = SimpleNamespace(components={"transformer": model, "text_encoder_2": model, "vae": torch.nn.Linear(1, 1)})
    for component, prefix in (("transformer", "transformer"), ("text_encoder_2", "text_encoder_2")):
        found = [entry[1:] for entry in pipeline_weights(pipeline) if entry[0] == component]
        assert found == [
            (f"{prefix}.table", model, "table"),
            (f"{prefix}.layer", model.layer, "weight"),
            (f"{prefix}.shift.bias", model.shift, "bias"),
        ]
    assert {entry[0] for entry in pipeline_weights(pipeline)} == {"transformer", "text_encoder_2"}


def test_the_denoiser_that_loras_are_made_for_comes_first() -> None:
    for main in ("unet", "transformer"):
        names = ("audio_transformer", "transformer_2", main, "text_encoder", "scheduler")
        pipeline = SimpleNamespace(components={name: torch.nn.Linear(1, 1) for name in names})
        assert list(denoisers(pipeline)) == [main, "audio_transformer", "transformer_2"]


def test_the_blocks_are_those_of_the_main_denoiser() -> None:
    pipeline = tiny.built(tiny.wan)
    both = pipeline_architecture(pipeline).numbered_blocks
    pipeline.transformer_2.blocks = pipeline.transformer_2.blocks[:1]
    assert pipeline_architecture(pipeline).numbered_blocks == both
    pipeline.transformer.blocks = pipeline.transformer.blocks[:1]
    assert pipeline_architecture(pipeline).numbered_blocks == both[:1]


def test_a_pipeline_without_a_denoiser_is_our_error() -> None:
    with pytest.raises(HostError, match="SimpleNamespace"):
        pipeline_architecture(SimpleNamespace(components={"scheduler": object()}))
