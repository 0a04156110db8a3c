"""The map of a LoRA and of a model: what lies in which block, from headers alone."""

from __future__ import annotations

import json
import struct
from math import prod
from pathlib import Path

import pytest

from lbw.core.errors import FileError
from lbw.files.block_map import map_of_architecture, map_of_lora, map_of_model
from lbw.files.model_header import read_model

DEMO = Path(__file__).parents[2] / "demo"


def write(path: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    """Write a safetensors file of zeros, two bytes a number, as the format's description has it."""
    entries, place = {}, 0
    for name, shape in shapes.items():
        end = place + 2 * prod(shape)
        entries[name] = {"dtype": "F16", "shape": shape, "data_offsets": [place, end]}
        place = end
    head = json.dumps(entries).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        file.truncate(8 + len(head) + place)
    return path


def lora_of(*modules: str, rank: int = 2) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a LoRA of layers 3072 wide; the input of `linear2` is five times as wide."""
    shapes: dict[str, tuple[int, ...]] = {}
    for module in modules:
        shapes[f"{module}.lora_down.weight"] = (rank, 15360 if module.endswith("linear2") else 3072)
        shapes[f"{module}.lora_up.weight"] = (3072, rank)
        shapes[f"{module}.alpha"] = ()
    return shapes


FLUX = [f"lora_unet_double_blocks_{n}_img_attn_proj" for n in range(3)] + ["lora_unet_single_blocks_37_linear2"]


def test_a_lora_is_counted_block_by_block(tmp_path: Path) -> None:
    found = map_of_lora(write(tmp_path / "a.safetensors", lora_of(*FLUX)))
    assert found.architecture.name == "flux"
    assert found.counts is not None
    held = {block: (count.tensors, count.parameters) for block, count in found.counts.items() if count.tensors}
    double, single = 2 * (3072 + 3072) + 1, 2 * (15360 + 3072) + 1
    assert held == {**dict.fromkeys(("D00", "D01", "D02"), (3, double)), "S37": (3, single)}
    assert found.share("D01") == pytest.approx(100 * double / (3 * double + single))
    assert (found.total.tensors, found.share("OUT")) == (12, 0)


def test_a_module_of_no_block_is_told_and_counted_where_that_says(tmp_path: Path) -> None:
    modules = [f"lora_unet_single_blocks_{n}_linear2" for n in range(38)]
    found = map_of_lora(write(tmp_path / "a.safetensors", lora_of(*modules, "lora_unet_odd_thing")))
    assert found.counts is not None
    assert (found.architecture.name, found.counts["IN"].tensors) == ("flux", 3)
    assert [remark for remark in found.remarks if "odd_thing" in remark and "no block" in remark]


def test_a_lora_of_an_unknown_model_has_numbered_blocks_and_says_that_this_is_a_guess(tmp_path: Path) -> None:
    modules = [f"diffusion_model.odd_layers.{n}.mixer.wide" for n in range(24)]
    found = map_of_lora(write(tmp_path / "a.safetensors", lora_of(*modules)))
    report = found.report()
    assert found.architecture.family.is_guess
    assert [block["id"] for block in report["blocks"] if block["tensors"]] == [f"B{n:02}" for n in range(24)]
    assert report["blocks"][7]["path"].endswith("odd_layers.5")
    assert any("a guess" in warning for warning in report["warnings"])


def test_the_shares_of_the_bundled_model_are_those_of_its_tensors() -> None:
    found = map_of_model(DEMO / "model")
    assert found.architecture.name == "sdxl"
    assert sum(found.share(block) for block in found.architecture.blocks) == pytest.approx(100)
    header = read_model(DEMO / "model")
    middle = sum(prod(shape) for name, shape in header.shapes.items() if name.startswith("mid_block."))
    assert found.counts is not None
    assert found.counts["M00"].parameters == middle
    assert "of the VAE and other parts" in found.remarks[-1]


def test_a_checkpoint_is_counted_without_its_vae(tmp_path: Path) -> None:
    inside = "transformer_blocks.0.attn2.to_k.weight"
    shapes = {
        f"model.diffusion_model.input_blocks.{n}.1.{inside}": (4, 768) for n in (1, 2, 4, 5, 7, 8)
    } | {
        f"model.diffusion_model.output_blocks.{n}.1.{inside}": (4, 768) for n in range(3, 12)
    } | {
        "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight": (8, 4),
        "first_stage_model.encoder.conv_in.weight": (8, 3, 3, 3),
        "alphas_cumprod": (1000,),
    }  # fmt: skip
    found = map_of_model(write(tmp_path / "model.safetensors", shapes))
    assert found.architecture.name == "sd1"
    assert found.counts is not None
    assert (found.counts["BASE"].parameters, found.counts["OUT11"].parameters) == (32, 4 * 768)
    assert found.total.tensors == 16
    assert found.remarks == ("not included: 2 tensors of the VAE and other parts, 1,216 parameters",)


def test_a_diffusers_folder_in_several_files_and_variants_is_read_once(tmp_path: Path) -> None:
    def block(n: int) -> dict[str, tuple[int, ...]]:
        names = ("attn.to_q", "attn.add_q_proj", "img_mlp.net.0.proj", "img_mod.1")
        return {f"transformer_blocks.{n}.{name}.weight": (4, 3072) for name in names}

    part = tmp_path / "transformer"
    names = {}
    for n in range(2):
        file = write(part / f"diffusion_pytorch_model-0000{n + 1}-of-00002.safetensors", block(n))
        names |= dict.fromkeys(block(n), file.name)
    (part / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    write(part / "diffusion_pytorch_model.fp16.safetensors", {**block(0), **block(1), "proj_out.weight": (4, 4)})
    write(tmp_path / "text_encoder" / "model.safetensors", {"model.layers.0.self_attn.q_proj.weight": (2, 2)})
    found = map_of_model(tmp_path)
    assert found.architecture.name == "qwen-image:B2"
    assert found.counts is not None
    assert {b: c.tensors for b, c in found.counts.items()} == {"TE": 1, "IN": 0, "B00": 4, "B01": 4, "OUT": 0}


@pytest.mark.parametrize("name", ["", "nothing", "flux:D2"])
def test_an_architecture_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(FileError, match="unknown architecture"):
        map_of_architecture(name)


def test_what_is_no_model_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is not a diffusers model"):
        map_of_model(tmp_path)
    with pytest.raises(FileError, match="cannot be read"):
        map_of_model(tmp_path / "nothing.safetensors")
    with pytest.raises(FileError, match="is not a known model"):
        map_of_model(write(tmp_path / "odd.safetensors", {"weight": (2, 2)}))
    with pytest.raises(FileError, match="unknown model"):
        map_of_lora(write(tmp_path / "odd.safetensors", {"weight": (2, 2)}))
