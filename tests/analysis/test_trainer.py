"""The trainer's settings: their order against sd-scripts' way of counting, the preset against LyCORIS itself."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from lbw.analysis.lycoris_preset import lycoris_preset
from lbw.analysis.trainer import Training, learning_rates, ranks, remarks
from lbw.core.architectures import ARCHITECTURES
from lbw.core.blocks import locate
from lbw.core.errors import WeightsError
from lbw.core.family import Architecture

FLUX = ARCHITECTURES["flux"]
SD1 = ARCHITECTURES["sd1"]
SD2 = ARCHITECTURES["sd2"]
SDXL = ARCHITECTURES["sdxl"]


def arguments(command: str) -> dict[str, str]:
    """Return what a shell would hand to sd-scripts: the options, and those behind `--network_args`."""
    options, _, network = command.partition("--network_args")
    found = dict(word.split("=", 1) for word in shlex.split(network))
    words = shlex.split(options)
    for place, word in enumerate(words):
        if word.startswith("--"):
            values = words[place + 1 :]
            end = next((n for n, value in enumerate(values) if value.startswith("--")), len(values))
            found[word[2:]] = " ".join(values[:end])
    return found


# sd-scripts --------------------------------------------------------------------------------------


def test_the_weights_of_sd_1_are_twelve_one_and_twelve() -> None:
    weights = {block: place / 100 for place, block in enumerate(SD1.blocks)}
    found = arguments(learning_rates(weights, SD1, Training(rate=0.001)))
    assert found == {
        "unet_lr": "0.001",
        "network_train_unet_only": "",
        "down_lr_weight": "0.01,0.02,0.03,0.04,0.05,0.06,0.07,0.08,0.09,0.1,0.11,0.12",
        "mid_lr_weight": "0.13",
        "up_lr_weight": "0.14,0.15,0.16,0.17,0.18,0.19,0.2,0.21,0.22,0.23,0.24,0.25",
    }


def test_the_weights_of_sdxl_are_nine_three_and_nine() -> None:
    weights = {"BASE": 0.5, "IN08": 0.25, "M00": 0.75, "OUT00": 1.0, "OUT08": 1.5}
    assert arguments(learning_rates(weights, SDXL, Training(rate=1e-4))) == {
        "unet_lr": "0.0001",
        "text_encoder_lr": "5e-05",
        "down_lr_weight": "0,0,0,0,0,0,0,0,0.25",
        "mid_lr_weight": "0.75,0.75,0.75",
        "up_lr_weight": "1,0,0,0,0,0,0,0,1.5",
    }


def sd_index(name: str) -> int:
    """Return the place in `block_dims` of a module of SD 1.x, as `get_block_index` of sd-scripts reckons it."""
    match = re.match(r"lora_unet_(up|down)_blocks_(\d+)_(resnets|upsamplers|downsamplers|attentions)_(\d+)_", name)
    if not match:
        assert "mid_block_" in name
        return 12
    side, stage, kind, place = match[1], int(match[2]), match[3], int(match[4])
    within = 3 * stage + (place if kind in ("resnets", "attentions") else 2)
    return 1 + within if side == "down" else 13 + within


def sdxl_index(name: str) -> int:
    """Return the place in `block_dims` of a module of SDXL, as `get_block_index` of sd-scripts reckons it."""
    for beginning, first in (("input_blocks_", 1), ("middle_block_", 10), ("output_blocks_", 13)):
        if name.startswith(f"lora_unet_{beginning}"):
            return first + int(name.removeprefix(f"lora_unet_{beginning}").split("_")[0])
    return 22 if name.startswith("lora_unet_out_") else 0


@pytest.mark.parametrize("architecture", [SD1, SD2, SDXL])
def test_every_module_gets_the_rank_of_its_block(architecture: Architecture) -> None:
    weights = {block: (1 + place) / 32 for place, block in enumerate(architecture.blocks)}
    training = Training(rank=32, alpha=16, has_convolutions=True)
    found = {name: numbers.split(",") for name, numbers in arguments(ranks(weights, architecture, training)).items()}
    index = sdxl_index if architecture is SDXL else sd_index
    assert len(found["block_dims"]) == (23 if architecture is SDXL else 25)
    seen = set()
    for path in modules(architecture):
        name = f"lora_unet_{path.replace('.', '_')}"
        block = locate(name, architecture).block
        if path not in ("conv_in", "conv_out"):  # sd-scripts trains them in no way
            seen.add(block)
            place = 1 + architecture.blocks.index(block)
            assert found["block_dims"][index(name)] == found["conv_block_dims"][index(name)] == str(place)
            assert found["block_alphas"][index(name)] == found["conv_block_alphas"][index(name)] == f"{place / 2:g}"
    assert seen == set(architecture.blocks) - {"BASE"} - (set() if architecture is SDXL else {"IN00"})
    assert (found["network_dim"], found["network_alpha"]) == (["1"], ["0.5"])  # the text encoder's


def test_what_is_trained_has_a_rank_and_what_is_not_has_none() -> None:
    found = arguments(ranks({"IN04": 0.01, "IN05": -1.0, "OUT01": 1.5}, SDXL, Training(rank=8, alpha=4)))
    assert found["block_dims"] == "0,0,0,0,0,1,0,0,0,0,0,0,0,0,12,0,0,0,0,0,0,0,0"
    assert found["block_alphas"] == "0,0,0,0,0,0.5,0,0,0,0,0,0,0,0,6,0,0,0,0,0,0,0,0"
    assert "conv_block_dims" not in found
    assert (found["network_dim"], found["network_train_unet_only"]) == ("8", "")


def test_blocks_of_flux_are_chosen_by_number() -> None:
    weights = {"D00": 1.0, "D08": 0.5, "D09": 0.5, "D10": 1.0, "T5": 0.5, **dict.fromkeys(FLUX.groups["S"], 1.0)}
    rates = arguments(learning_rates(weights, FLUX, Training(rate=0.0002)))
    assert rates == {
        "unet_lr": "0.0002",
        "text_encoder_lr": "0 0.0001",
        "train_double_block_indices": "0,8-10",
        "train_single_block_indices": "all",
        "train_t5xxl": "True",
        "network_reg_lrs": "double_blocks_(8|9)_=0.0001",
    }
    pattern = rates["network_reg_lrs"].partition("=")[0]
    assert [n for n in range(19) if re.search(pattern, f"lora_unet_double_blocks_{n}_img_attn_qkv")] == [8, 9]
    assert not re.search(pattern, "lora_unet_single_blocks_8_linear1")


def test_ranks_of_flux_go_by_pattern_and_its_inputs_by_five_numbers() -> None:
    found = arguments(ranks({"IN": 0.25, "S37": 0.5, "OUT": 1.0}, FLUX, Training(rank=16, alpha=16)))
    assert found == {
        "network_dim": "16",
        "network_alpha": "16",
        "network_train_unet_only": "",
        "train_double_block_indices": "none",
        "train_single_block_indices": "37",
        "in_dims": "4,4,4,4,4",
        "network_reg_dims": "single_blocks_(37)_=8",
    }


@pytest.mark.parametrize("make", [learning_rates, ranks, lycoris_preset])
@pytest.mark.parametrize("architecture", [SD1, SDXL, FLUX])
def test_nothing_to_train_is_told(make: object, architecture: Architecture) -> None:
    assert callable(make)
    with pytest.raises(WeightsError, match="nothing to train"):
        make(dict.fromkeys(architecture.blocks, 0.0), architecture, Training())


def test_blocks_without_attention_are_nothing_for_a_lora_without_convolutions() -> None:
    with pytest.raises(WeightsError, match="no block above 0 has attention"):
        lycoris_preset({"IN01": 1.0}, SDXL, Training())


def test_what_the_settings_cannot_say_is_told() -> None:
    assert remarks({"IN04": 1.0, "OUT00": 0.5}, SDXL) == []
    assert remarks({"IN04": -0.5, "OUT00": 1.0}, SDXL) == ["nothing is trained below 0; as 0 count: IN04"]
    assert remarks({"D00": 1.0}, FLUX) == []
    told = remarks({"T5": 1.0, "D00": 0.5, "OUT": 1.0}, FLUX)
    assert [next(word for word in ("OUT", "T5", "alpha") if word in words) for words in told] == ["OUT", "T5", "alpha"]


# LyCORIS -----------------------------------------------------------------------------------------


def modules(architecture: Architecture) -> list[str]:
    """Return the paths of layers as sd-scripts' models have them, one of each sort in a block."""
    return list(MODELS[architecture.name]())


def sd_modules() -> Iterator[str]:
    """Yield those of `original_unet.py`: CrossAttnDownBlock2D thrice, DownBlock2D, the middle, and the way up."""
    yield from ("conv_in", "conv_out")
    for stage in range(4):
        for n in range(2):
            yield f"down_blocks.{stage}.resnets.{n}.conv1"
            if stage < 3:
                yield f"down_blocks.{stage}.attentions.{n}.transformer_blocks.0.attn1.to_q"
        if stage < 3:
            yield f"down_blocks.{stage}.downsamplers.0.conv"
            yield f"up_blocks.{stage}.upsamplers.0.conv"
        for n in range(3):
            yield f"up_blocks.{stage}.resnets.{n}.conv1"
            if stage > 0:
                yield f"up_blocks.{stage}.attentions.{n}.proj_in"
    yield from ("mid_block.attentions.0.proj_in", "mid_block.resnets.0.conv1", "mid_block.resnets.1.conv1")


def sdxl_modules() -> Iterator[str]:
    """Yield those of `sdxl_original_unet.py`."""
    yield "input_blocks.0.0"
    for n in (1, 2, 4, 5, 7, 8):
        yield f"input_blocks.{n}.0.in_layers.2"
    yield from ("input_blocks.3.0.op", "input_blocks.6.0.op")
    yield from ("middle_block.0.in_layers.2", "middle_block.2.in_layers.2")
    for n in range(9):
        yield f"output_blocks.{n}.0.in_layers.2"
    yield from ("output_blocks.2.2.conv", "output_blocks.5.2.conv", "out.2")
    ins, outs = [f"input_blocks.{n}" for n in (4, 5, 7, 8)], [f"output_blocks.{n}" for n in range(6)]
    yield from (f"{path}.1.transformer_blocks.0.attn1.to_q" for path in [*ins, "middle_block", *outs])


def flux_modules() -> Iterator[str]:
    """Yield those of `flux_models.py`."""
    yield from ("img_in", "txt_in", "time_in.in_layer", "vector_in.in_layer", "guidance_in.out_layer")
    yield from (f"double_blocks.{n}.img_attn.qkv" for n in range(19))
    yield from (f"single_blocks.{n}.linear1" for n in range(38))
    yield from ("final_layer.linear", "final_layer.adaLN_modulation.1")


MODELS = {"sd1": sd_modules, "sd2": sd_modules, "sdxl": sdxl_modules, "flux": flux_modules}


class CLIPAttention(nn.Module):
    """What a text encoder is searched for, by this name."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(4, 4)


def model(paths: list[str]) -> nn.Module:
    """Return a model with small layers at `paths`: convolutions of 3×3 where the real ones have them."""
    root = nn.Module()
    for path in paths:
        *parents, last = path.split(".")
        place = root
        for name in parents:
            if name not in dict(place.named_children()):
                place.add_module(name, nn.Module())
            place = place.get_submodule(name)
        is_conv = re.search(r"conv|in_layers|\.op$|^out\.|^input_blocks\.0", path)
        place.add_module(last, nn.Conv2d(4, 4, 3) if is_conv else nn.Linear(4, 4))
    return root


@pytest.fixture
def lycoris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """What makes LyCORIS' network of a preset, as sd-scripts lets it; its settings are put back afterwards."""
    from lycoris.kohya import LycorisNetworkKohya, create_network

    for name in dir(LycorisNetworkKohya):
        if name.isupper():
            monkeypatch.setattr(LycorisNetworkKohya, name, getattr(LycorisNetworkKohya, name))

    def made(preset: str, architecture: Architecture, **more: object) -> object:
        file = tmp_path / "preset.toml"
        file.write_text(preset)
        denoiser = model(modules(architecture))
        encoder = nn.Sequential(CLIPAttention())
        with torch.random.fork_rng():
            return create_network(1.0, 16, 8, None, [encoder], denoiser, preset=str(file), algo="lora", **more)

    return made


@pytest.mark.parametrize("architecture", [SD1, SDXL, FLUX])
@pytest.mark.parametrize("has_convolutions", [False, True])
def test_lycoris_trains_the_chosen_blocks_and_no_other(
    lycoris: object, architecture: Architecture, has_convolutions: bool
) -> None:
    assert callable(lycoris)
    training = Training(has_convolutions=has_convolutions)
    blocks = architecture.blocks
    for chosen in (
        {*blocks[::2]},
        {*blocks[1::2]},
        {*blocks[::3]},
        {blocks[0]},
        {blocks[-1]},
        {blocks[len(blocks) // 2]},
    ):
        weights = {block: float(block in chosen) for block in blocks}
        expected = {
            f"lora_unet_{path.replace('.', '_')}"
            for path in modules(architecture)
            if locate(path, architecture).block in chosen
            and (has_convolutions or architecture is FLUX or re.search("attn|proj_in", path))
        }
        has_encoder = bool(chosen & {"BASE", "CLIP"})
        if not expected and not has_encoder:
            with pytest.raises(WeightsError):
                lycoris_preset(weights, architecture, training)
            continue
        network = lycoris(lycoris_preset(weights, architecture, training), architecture)
        assert {lora.lora_name for lora in network.unet_loras} == expected
        assert bool(network.text_encoder_loras) == has_encoder


def test_lycoris_gives_each_block_its_share_of_the_rank(lycoris: object) -> None:
    assert callable(lycoris)
    preset = lycoris_preset({"BASE": 0.25, "IN08": 0.5, "OUT01": 1.0}, SDXL, Training(rank=16, alpha=8))
    network = lycoris(preset, SDXL)
    found = {locate(lora.lora_name, SDXL).block: (lora.lora_dim, float(lora.alpha)) for lora in network.loras}
    assert found == {"BASE": (4, 2.0), "IN08": (8, 4.0), "OUT01": (16, 8.0)}
