"""What PEFT and diffusers store beside the tensors, and the message if it is missing or makes no sense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("lycoris")

import torch
from safetensors.torch import save_file

from lbw.core.errors import FileError
from lbw.files.delta import delta
from lbw.files.explain import explain
from lbw.files.lora import LoraFile, open_lora

QUERY = "up_blocks.0.attentions.1.transformer_blocks.1.attn2.to_q"
OUT = "up_blocks.0.attentions.1.transformer_blocks.1.attn2.to_out.0"


def tensors(prefix: str = "base_model.model.", rank: int = 4) -> dict[str, torch.Tensor]:
    """Return ones, as PEFT names them: ΔW of each layer is `rank` everywhere, times the scale."""
    sizes = {"lora_A.weight": (rank, 8), "lora_B.weight": (6, rank)}
    return {f"{prefix}{layer}.{name}": torch.ones(size) for layer in (QUERY, OUT) for name, size in sizes.items()}


def written(folder: Path, config: Any = None, metadata: dict[str, str] | None = None, **more: Any) -> LoraFile:
    """Write a file of PEFT, and `config` beside it, and open it."""
    save_file(tensors(**more), str(folder / "adapter_model.safetensors"), metadata)
    if config is not None:
        text = config if isinstance(config, str) else json.dumps(config)
        (folder / "adapter_config.json").write_text(text, encoding="utf-8")
    return open_lora(folder / "adapter_model.safetensors")


def scales(file: LoraFile) -> list[float]:
    """Return what the changes of both layers are multiplied by."""
    return [float(delta(p, torch.zeros(6, 8)).weight[0, 0]) / 4 for _, p in file.parameters()]


def test_a_scale_other_than_one_is_told_with_what_it_comes_from(tmp_path: Path) -> None:
    file = written(tmp_path, {"peft_type": "LORA", "r": 4, "lora_alpha": 32})
    assert scales(file) == [8, 8]
    (remark,) = file.remarks
    assert remark == (
        "its changes are scaled by 8 (alpha 32 / rank 4), as adapter_config.json beside the file says; "
        "a WebUI does not read this and uses 1"
    )


def test_alpha_that_is_the_rank_needs_no_remark(tmp_path: Path) -> None:
    file = written(tmp_path, {"peft_type": "LORA", "r": 4, "lora_alpha": 4})
    assert scales(file) == [1, 1]
    assert file.remarks == ()


def test_rslora_and_patterns_are_followed(tmp_path: Path) -> None:
    config = {"r": 2, "lora_alpha": 4, "use_rslora": True}
    config |= {"rank_pattern": {"attn2.to_q": 4, "to_out\\.0": 4}, "alpha_pattern": {"^up_blocks.0": 9, "to_out.0": 6}}
    file = written(tmp_path, config)
    assert scales(file) == [3, 2]  # to_out, to_q
    (remark,) = file.remarks
    assert "scaled by 2 (alpha 4 / √rank 4) to 3 (alpha 6 / √rank 4)" in remark


def test_a_file_of_peft_without_its_configuration_says_that_alpha_is_not_known(tmp_path: Path) -> None:
    file = written(tmp_path)
    assert scales(file) == [1, 1]
    (remark,) = file.remarks
    assert "alpha is unknown" in remark


def test_a_file_of_trainers_that_write_no_alpha_on_purpose_needs_no_remark(tmp_path: Path) -> None:
    assert written(tmp_path, prefix="unet.").remarks == ()


def test_metadata_of_diffusers_that_is_not_valid_is_told(tmp_path: Path) -> None:
    file = written(tmp_path, metadata={"lora_adapter_metadata": "{"})
    assert file.remarks == ("its metadata is not valid JSON; the scale is unknown, and 1 is used",)


def test_what_diffusers_writes_into_the_metadata_is_read_by_component(tmp_path: Path) -> None:
    lora_base = pytest.importorskip("diffusers.loaders.lora_base")
    configs = {"unet": {"r": 4, "lora_alpha": 8}, "text_encoder": {"r": 2, "lora_alpha": 6}}
    packed = {}
    for component, config in configs.items():
        packed |= lora_base._pack_dict_with_prefix(config, component)
    encoder = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"
    both = tensors("unet.") | {
        f"{encoder}.lora_A.weight": torch.ones(2, 8),
        f"{encoder}.lora_B.weight": torch.ones(6, 2),
    }
    lora_base.LoraBaseMixin.write_lora_layers(
        state_dict=both, save_directory=str(tmp_path), is_main_process=True, weight_name="a.safetensors",
        save_function=None, safe_serialization=True, lora_adapter_metadata=packed,
    )  # fmt: skip
    file = open_lora(tmp_path / "a.safetensors")
    found = {name: float(delta(p, torch.zeros(6, 8)).weight[0, 0]) for name, p in file.parameters()}
    assert found == {f"unet.{QUERY}": 8, f"unet.{OUT}": 8, encoder: 6}
    assert "as the file's metadata says" in file.remarks[-1]


def test_the_configuration_of_another_file_is_left_out_and_told(tmp_path: Path) -> None:
    file = written(tmp_path, {"r": 16, "lora_alpha": 32})
    assert scales(file) == [1, 1]
    (remark,) = file.remarks
    assert "gives base_model.model." in remark
    assert "rank 16, but it has rank 4: the configuration belongs to another file" in remark


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("{", "is not valid JSON"), (" " * (5 << 20), "is too large"), ("[" * 100_000, "is not valid JSON"),
        ("[]", "is not a JSON object"), ({"r": "x"}, "no valid rank for r"),
        ({"r": 4, "lora_alpha": "1"}, "no valid number for lora_alpha"),
        ('{"r": 4, "lora_alpha": NaN}', "no valid number"), ({"r": -1}, "no valid rank"),
        ({"r": True}, "no valid rank"), ({"r": 4, "rank_pattern": [1]}, "not a JSON object"),
        ({"r": 4, "alpha_pattern": {"(a+)+$": 1}}, "a regular expression in its alpha_pattern"),
    ],
)  # fmt: skip
def test_a_configuration_that_makes_no_sense_is_told_and_left_out(config: Any, reason: str, tmp_path: Path) -> None:
    file = written(tmp_path, config)
    assert scales(file) == [1, 1]
    (remark,) = file.remarks
    assert remark.startswith("the adapter_config.json beside it ")
    assert reason in remark
    assert "1 is used" in remark


@pytest.mark.parametrize("initialization", ["pissa", "pissa_niter_16", "olora", "corda", "loftq", "PiSSA"])
def test_changes_to_a_model_that_the_training_changed_are_refused_and_told_how_to_convert(
    initialization: str, tmp_path: Path
) -> None:
    file = written(tmp_path, {"r": 4, "lora_alpha": 4, "init_lora_weights": initialization})
    assert initialization in file.remarks[0]
    with pytest.raises(FileError, match="path_initial_model_for_weight_conversion"):
        list(file.parameters())


@pytest.mark.parametrize("initialization", [True, False, "gaussian", "eva"])
def test_other_initializations_change_no_model(initialization: object, tmp_path: Path) -> None:
    file = written(tmp_path, {"r": 4, "lora_alpha": 4, "init_lora_weights": initialization})
    assert scales(file) == [1, 1]


def test_pissa_that_peft_has_converted_is_what_peft_applies(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    from .libraries import ATTENTION, tree

    torch.manual_seed(0)
    base = torch.nn.Linear(8, 6)
    weight = base.weight.detach().clone()
    config = peft.LoraConfig(r=2, lora_alpha=3, target_modules=[ATTENTION], init_lora_weights="pissa")
    model = peft.get_peft_model(tree(ATTENTION, base), config)
    layer = model.base_model.model.get_submodule(ATTENTION)
    model.peft_config["default"].init_lora_weights = True
    model.save_pretrained(str(tmp_path / "initial"))
    model.peft_config["default"].init_lora_weights = "pissa"
    with torch.no_grad():
        layer.lora_A["default"].weight.add_(0.3)
        applied = (layer(torch.eye(8)) - layer(torch.zeros(1, 8))).T
    model.save_pretrained(str(tmp_path / "plain"))
    model.save_pretrained(str(tmp_path / "lora"), path_initial_model_for_weight_conversion=str(tmp_path / "initial"))
    ((_, parameters),) = open_lora(tmp_path / "lora" / "adapter_model.safetensors").parameters()
    torch.testing.assert_close(weight + delta(parameters, weight).weight, applied, rtol=1e-4, atol=1e-5)
    with pytest.raises(FileError, match="pissa"):
        list(open_lora(tmp_path / "plain" / "adapter_model.safetensors").parameters())


def test_an_alpha_of_the_file_is_followed_whatever_lies_beside(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 32}', encoding="utf-8")
    alphas = {f"unet.{layer}.alpha": torch.tensor(2.0) for layer in (QUERY, OUT)}
    save_file(tensors("unet.") | alphas, str(tmp_path / "a.safetensors"))
    file = open_lora(tmp_path / "a.safetensors")
    assert scales(file) == [0.5, 0.5]
    assert file.remarks == ()


def test_parameters_that_nothing_is_computed_from_are_told(tmp_path: Path) -> None:
    more = {f"unet.{QUERY}.bias": torch.ones(6), f"unet.{OUT}.bias": torch.ones(6)}
    save_file(tensors("unet.") | more, str(tmp_path / "a.safetensors"))
    (remark,) = open_lora(tmp_path / "a.safetensors").remarks
    assert remark == f"ignored: 2 tensors: unet.{OUT}.bias, unet.{QUERY}.bias"


def test_a_configuration_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_bytes(b"\xff\xfe\xff{")
    assert "is not valid JSON" in written(tmp_path).remarks[0]


def test_scan_tells_what_opening_the_file_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from lbw.studio.cli import main

    file = written(tmp_path, {"r": 4, "lora_alpha": 32})
    assert main(["scan", str(file.path)]) == 0
    assert file.remarks[0] in capsys.readouterr().err
    assert main(["scan", str(file.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["remarks"] == {"adapter_model": list(file.remarks)}


def test_explain_tells_what_opening_the_file_tells(tmp_path: Path) -> None:
    file = written(tmp_path, {"r": 4, "lora_alpha": 32})
    report = explain("<lora:adapter_model:1>", file.path, {}, {}, 0)
    assert file.remarks[0] in report["warnings"]
