"""Settings of sd-scripts for U-Nets and Flux.1: their order against its way of counting, and cases worked by hand."""

from __future__ import annotations

import re

import pytest
import yaml

from lbw.analysis.trainer import Training, remarks, settings, way_called, ways
from lbw.core.architectures import ARCHITECTURES
from lbw.core.blocks import locate
from lbw.core.errors import WeightsError
from lbw.core.family import Architecture

from .model_paths import diffusers_modules, modules
from .trainers import arguments, by_words

FLUX = ARCHITECTURES["flux"]
SD1 = ARCHITECTURES["sd1"]
SD2 = ARCHITECTURES["sd2"]
SDXL = ARCHITECTURES["sdxl"]


def learning_rates(weights: dict[str, float], architecture: Architecture, training: Training) -> str:
    return settings(weights, architecture, way_called("sd-scripts: learning rates", architecture), training)


def ranks(weights: dict[str, float], architecture: Architecture, training: Training) -> str:
    return settings(weights, architecture, way_called("sd-scripts: ranks", architecture), training)


# sd-scripts --------------------------------------------------------------------------------------


def test_the_weights_of_sd_1_are_twelve_one_and_twelve() -> None:
    weights = {block: place / 100 for place, block in enumerate(SD1.blocks)}
    found = arguments(learning_rates(weights, SD1, Training(rate=0.001)))
    assert found == {
        "network_module": "networks.lora",
        "unet_lr": "0.001",
        "network_train_unet_only": "",
        "down_lr_weight": "0.01,0.02,0.03,0.04,0.05,0.06,0.07,0.08,0.09,0.1,0.11,0.12",
        "mid_lr_weight": "0.13",
        "up_lr_weight": "0.14,0.15,0.16,0.17,0.18,0.19,0.2,0.21,0.22,0.23,0.24,0.25",
    }


def test_the_weights_of_sdxl_are_nine_three_and_nine() -> None:
    weights = {"BASE": 0.5, "IN08": 0.25, "M00": 0.75, "OUT00": 1.0, "OUT08": 1.5}
    assert arguments(learning_rates(weights, SDXL, Training(rate=1e-4))) == {
        "network_module": "networks.lora",
        "unet_lr": "0.0001",
        "text_encoder_lr": "5e-05",
        "down_lr_weight": "0,0,0,0,0,0,0,0,0.25",
        "mid_lr_weight": "0.75,0.75,0.75",
        "up_lr_weight": "1,0,0,0,0,0,0,0,1.5",
    }


def sd_index(name: str) -> int:
    """Return the place in `block_dims` of a module of SD 1.x, as computed by `get_block_index` of sd-scripts."""
    match = re.match(r"lora_unet_(up|down)_blocks_(\d+)_(resnets|upsamplers|downsamplers|attentions)_(\d+)_", name)
    if not match:
        assert "mid_block_" in name
        return 12
    side, stage, kind, place = match[1], int(match[2]), match[3], int(match[4])
    within = 3 * stage + (place if kind in ("resnets", "attentions") else 2)
    return 1 + within if side == "down" else 13 + within


def sdxl_index(name: str) -> int:
    """Return the place in `block_dims` of a module of SDXL, as computed by `get_block_index` of sd-scripts."""
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
        if path not in ("conv_in", "conv_out"):  # sd-scripts cannot train them
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
        "network_module": "networks.lora_flux",
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
        "network_module": "networks.lora_flux",
        "network_dim": "16",
        "network_alpha": "16",
        "network_train_unet_only": "",
        "train_double_block_indices": "none",
        "train_single_block_indices": "37",
        "in_dims": "4,4,4,4,4",
        "network_reg_dims": "single_blocks_(37)_=8",
    }


def test_a_share_of_the_learning_rate_leaves_the_inputs_of_flux_their_whole_rank() -> None:
    found = arguments(learning_rates({"IN": 0.5, "D00": 1.0}, FLUX, Training(rank=16, rate=1e-4)))
    assert found["in_dims"] == "16,16,16,16,16"
    assert found["network_reg_lrs"] == "(img_in|time_in|vector_in|guidance_in|txt_in)=5e-05"


def test_blocks_of_hunyuan_image_are_left_out_by_rank_0_alone_because_its_module_excludes_no_names() -> None:
    model = ARCHITECTURES["hunyuan-image"]
    trained = model.numbered_blocks[3]
    found = arguments(ranks({trained: 1.0}, model, Training(rank=8, alpha=4)))
    assert not {"exclude_patterns", "include_patterns"} & found.keys()
    pattern, _, rank = found["network_reg_dims"].partition("=")
    assert rank.startswith("0")
    assert not re.search(pattern, "lora_unet_double_blocks_3_img_attn_qkv")
    assert re.search(pattern, "lora_unet_double_blocks_2_img_attn_qkv")


@pytest.mark.parametrize("title", ["ai-toolkit", "LyCORIS"])
def test_blocks_without_attention_are_nothing_for_a_lora_without_convolutions(title: str) -> None:
    way = way_called(title, SDXL)
    with pytest.raises(WeightsError, match="no block above 0 has attention"):
        settings({"IN01": 1.0}, SDXL, way, Training())
    path = {"ai-toolkit": "lora_unet.down_blocks.0.resnets.0.", "LyCORIS": "input_blocks.1.0.*"}[title]
    assert f'"{path}"' in settings({"IN01": 1.0}, SDXL, way, Training(has_convolutions=True))


def test_what_the_settings_cannot_say_is_told() -> None:
    def told(weights: dict[str, float], architecture: Architecture, title: str) -> list[str]:
        return remarks(weights, architecture, way_called(title, architecture))

    for way in ways(SDXL):
        assert remarks({"IN04": 1.0, "OUT00": 1.0}, SDXL, way) == []
        negative = "weights below 0 cannot be trained and count as 0: IN04"
        assert remarks({"IN04": -0.5, "OUT00": 1.0}, SDXL, way) == [negative]
    assert told({"IN04": 0.5}, SDXL, "sd-scripts: ranks") == []
    assert told({"D00": 1.0}, FLUX, "sd-scripts") == []
    weights = {"T5": 0.5, "D00": 0.5, "OUT": 1.0}
    assert told(weights, FLUX, "sd-scripts: learning rates") == ["sd-scripts does not train OUT"]
    assert told(weights, FLUX, "sd-scripts: ranks") == [
        "sd-scripts does not train OUT",
        "sd-scripts has one rank for all text encoders; these count as 1: T5",
        "sd-scripts has one alpha for all blocks of Flux.1, whatever their ranks",
    ]
    assert told({"T5": 0.5, "D00": 1.0}, FLUX, "sd-scripts: ranks") == [
        "sd-scripts has one rank for all text encoders; these count as 1: T5"
    ]
    assert told(weights, FLUX, "LyCORIS") == ["LyCORIS does not train T5"]
    assert told(weights, FLUX, "musubi-tuner")[0] == "musubi-tuner trains Kontext alone of the models of Flux.1"


def test_every_way_of_a_model_has_a_title_of_its_own_that_finds_it() -> None:
    for architecture in ARCHITECTURES.values():
        found = ways(architecture)
        assert len({way.title for way in found}) == len(found)
        assert all(way_called(way.title.upper(), architecture) == way for way in found)


@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=lambda a: a.name)
def test_a_block_without_a_weight_is_as_one_at_0(architecture: Architecture) -> None:
    trained = {architecture.numbered_blocks[4]: 0.5, architecture.numbered_blocks[5]: 1.0}
    zeros = dict.fromkeys(architecture.blocks, 0.0)
    training = Training(has_convolutions=True)
    for way in ways(architecture):
        told = settings(trained, architecture, way, training)
        assert told == settings({**zeros, **trained}, architecture, way, training)


def test_an_unknown_trainer_is_told_with_those_that_there_are() -> None:
    with pytest.raises(WeightsError, match=r'"paint".*SDXL.*sd-scripts.*ai-toolkit'):
        way_called("paint", SDXL)


# ai-toolkit --------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", [SD1, SD2, SDXL])
@pytest.mark.parametrize("has_convolutions", [False, True])
def test_words_for_ai_toolkit_train_the_chosen_blocks_of_a_unet(
    architecture: Architecture, has_convolutions: bool
) -> None:
    names = {f"lora_unet.{path}": locate(path, architecture).block for path in diffusers_modules(architecture)}
    for block in set(names.values()):
        text = settings(
            {block: 1.0, "BASE": 1.0}, architecture, way_called("ai-toolkit", architecture),
            Training(rank=8, alpha=4, has_convolutions=has_convolutions),
        )  # fmt: skip
        found = yaml.safe_load(text)
        assert found["train"]["train_text_encoder"] is True
        assert found["network"].get("conv") == (8 if has_convolutions else None)
        expected = {n for n, b in names.items() if b == block and (has_convolutions or re.search("attn|proj_in", n))}
        assert by_words(text, names, ()) == expected
        assert by_words(text, ["lora_te.text_model.encoder.layers.0.mlp.fc1", "lora_te1.text_model"], ()) != set()


def test_a_unet_is_left_alone_where_the_text_encoder_is_all_that_is_trained() -> None:
    found = yaml.safe_load(settings({"BASE": 0.5}, SDXL, way_called("ai-toolkit", SDXL), Training(rate=2e-4)))
    assert found["train"] == {"lr": 2e-4, "train_unet": False, "train_text_encoder": True}
    assert found["network"]["network_kwargs"] == {"only_if_contains": ["lora_te"]}
