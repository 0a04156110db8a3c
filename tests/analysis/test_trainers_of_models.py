"""Settings of trainers against the trainers' own reading of them, on the names of every weight of every model."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbw.analysis import trainer as of_trainer
from lbw.analysis.trainer import Training, Way, remarks, way_called, ways
from lbw.core.architectures import ARCHITECTURES
from lbw.core.errors import WeightsError
from lbw.core.family import Architecture
from tests.core.names import models

from . import trainers

RANK, RATE = 16, 1e-4
TRAINING = Training(rank=RANK, alpha=8, rate=RATE)
SHARES = (0.0, 0.0, 0.25, 0.5, 1.0)

# What a name of a weight is called in the catalogue where it is not the architecture's.
CATALOGUE = {"hunyuan-video": "hunyuan-image", "anima-40": ""}


def linear(architecture: str, naming: str) -> dict[str, str]:
    """Return the names of the linear layers of an architecture, and the block of each."""
    weights = models()[CATALOGUE.get(architecture, architecture)].namings
    found = weights.get(naming) or weights["original"]
    return {w.name: w.block for w in found if len(w.shape) == 2 and not w.is_parameter}


class Reads(NamedTuple):
    """How a trainer reads names of a model. trained: those that it can train at all."""

    program: str
    module: str
    trained: str
    targets: str = ""
    default: str = ""
    naming: str = "original"


FLUX_BLOCKS = r"(double|single)_blocks\."
NOTHING = r"(?!)"

# By architecture: `targets` are the classes, `default` the exclusions of the trainer's own module for the model.
NETWORKS = {
    "flux": (
        Reads("sd-scripts", "networks.lora_flux", rf"{FLUX_BLOCKS}|\w+_in\b"),
        Reads(
            "musubi-tuner", "networks.lora_flux", rf"{FLUX_BLOCKS}(?!.*(mod\.lin|modulation))", FLUX_BLOCKS,
            ".*(norm).*",
        ),
    ),
    "chroma": (Reads("sd-scripts", "networks.lora_flux", rf"{FLUX_BLOCKS}|(img|txt)_in\b"),),
    "flux2-klein-4b": (Reads("musubi-tuner", "networks.lora_flux_2", FLUX_BLOCKS, FLUX_BLOCKS, ".*(norm).*"),),
    "flux2-klein-9b": (Reads("musubi-tuner", "networks.lora_flux_2", FLUX_BLOCKS, FLUX_BLOCKS, ".*(norm).*"),),
    "flux2-dev": (Reads("musubi-tuner", "networks.lora_flux_2", FLUX_BLOCKS, FLUX_BLOCKS, ".*(norm).*"),),
    "sd3-medium": (Reads("sd-scripts", "networks.lora_sd3", ""),),
    "sd3.5-large": (Reads("sd-scripts", "networks.lora_sd3", ""),),
    "hunyuan-image": (Reads("sd-scripts", "networks.lora_hunyuan_image", FLUX_BLOCKS),),
    "hunyuan-video": (
        Reads(
            "musubi-tuner", "networks.lora", rf"{FLUX_BLOCKS}(?!.*mod)", FLUX_BLOCKS,
            ".*(img_mod|txt_mod|modulation).*",
        ),
    ),
    "anima": (
        Reads(
            "sd-scripts", "networks.lora_anima",
            r"blocks\.\d+\.(?!adaln)|[xt]_embedder|final_layer|llm_adapter\.blocks",
            r"blocks\.|x_embedder|t_embedder|final_layer|llm_adapter\.blocks",
            ".*(_modulation|_norm|_embedder|final_layer).*",
        ),
    ),
    "wan-14b": (
        Reads(
            "musubi-tuner", "networks.lora_wan", r"blocks\.", r"blocks\.",
            ".*(patch_embedding|text_embedding|time_embedding|time_projection|norm|head).*",
        ),
    ),
    "qwen-image": (
        Reads("musubi-tuner", "networks.lora_qwen_image", "transformer_blocks", "transformer_blocks", ".*(_mod_).*"),
    ),
    "z-image": (
        Reads(
            "musubi-tuner", "networks.lora_zimage", r"(layers|\w+_refiner)\.\d+\.(?!adaLN)", r"layers|\w+_refiner",
            ".*(_modulation|_refiner).*", "diffusers",
        ),
    ),
    "krea2": (Reads("musubi-tuner", "networks.lora_krea2", "", "", NOTHING),),
    "ideogram4": (
        Reads(
            "musubi-tuner", "networks.lora_ideogram4", r"layers\.\d+\.(?!adaln)", r"layers\.",
            ".*adaln_modulation.*",
        ),
    ),
}  # fmt: skip
NETWORKS["wan-5b"] = NETWORKS["wan-1.3b"] = NETWORKS["wan-14b"]
CASES = [pytest.param(name, reads, id=f"{name}-{reads.program}") for name, all_ in NETWORKS.items() for reads in all_]


def weights_of(architecture: Architecture, data: st.DataObject, values: tuple[float, ...] = SHARES) -> dict[str, float]:
    """Draw a weight for each block, one of them at 1 at least."""
    drawn = data.draw(
        st.lists(st.sampled_from(values), min_size=len(architecture.blocks), max_size=len(architecture.blocks))
    )
    weights = dict(zip(architecture.blocks, drawn))
    return weights | {data.draw(st.sampled_from(architecture.numbered_blocks)): 1.0}


def ranks_of(reads: Reads, given_: dict[str, str], names: dict[str, str]) -> dict[str, float]:
    assert given_["network_module"] == reads.module
    if reads.targets or reads.default:
        if "train_llm_adapter" not in given_:  # then lora_anima.py does not look at the adapter's classes
            names = {name: block for name, block in names.items() if block != "ADP"}
        return trainers.by_fullmatch(given_, names, reads.targets, reads.default)
    embedders = trainers.SD3_EMBEDDERS if "emb_dims" in given_ else trainers.FLUX_EMBEDDERS
    return trainers.by_search(given_, names, embedders)


@pytest.mark.parametrize(("name", "reads"), CASES)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_network_arguments_train_the_chosen_blocks_and_no_other(name: str, reads: Reads, data: st.DataObject) -> None:
    architecture = ARCHITECTURES[name]
    weights = weights_of(architecture, data)
    names = linear(name, reads.naming)
    chosen = {n: weights[block] for n, block in names.items() if weights[block] > 0 and re.match(reads.trained, n)}
    for way in (way for way in ways(architecture) if way.trainer.program == reads.program):
        found = trainers.arguments(of_trainer.settings(weights, architecture, way, TRAINING))
        ranks = ranks_of(reads, found, names)
        assert ranks.keys() == chosen.keys()
        expected = {n: RANK * share if way.says == "ranks" else RANK for n, share in chosen.items()}
        assert ranks == expected
        if way.says == "learning rates":
            is_whole = bool(reads.targets)
            rates = trainers.learning_rates(found, chosen, is_whole)
            assert rates == {n: pytest.approx(RATE * share) for n, share in chosen.items()}


@pytest.mark.parametrize(("name", "reads"), CASES)
def test_what_is_said_not_to_be_trained_is_what_no_argument_trains(name: str, reads: Reads) -> None:
    architecture = ARCHITECTURES[name]
    names = linear(name, reads.naming)
    way = way_called(reads.program, architecture)
    trained = {block for n, block in names.items() if re.match(reads.trained, n)}
    denoiser = [block for block in architecture.blocks if block in set(names.values()) | {"IN", "OUT"}]
    untold = [b for b in denoiser if not any("does not train" in r for r in remarks({b: 1.0}, architecture, way))]
    assert set(untold) == trained


def test_text_encoders_are_trained_where_the_trainer_can() -> None:
    flux, anima, sd3 = (ARCHITECTURES[name] for name in ("flux", "anima", "sd3-medium"))

    def found(weights: dict[str, float], architecture: Architecture, title: str) -> dict[str, str]:
        way = way_called(title, architecture)
        return trainers.arguments(of_trainer.settings(weights, architecture, way, TRAINING))

    assert found({"T5": 0.5, "D00": 1}, flux, "sd-scripts")["text_encoder_lr"] == "0 5e-05"
    assert found({"T5": 0.5, "D00": 1}, flux, "sd-scripts")["train_t5xxl"] == "True"
    assert found({"CLIP": 1, "J00": 1}, sd3, "sd-scripts")["text_encoder_lr"] == "0.0001 0.0001 0"
    assert "train_t5xxl" not in found({"CLIP": 1, "J00": 1}, sd3, "sd-scripts")
    encoder = found({"TE": 1, "B00": 1}, anima, "sd-scripts")
    assert encoder["text_encoder_lr"] == "0.0001"
    # lora_anima.py also matches the patterns against the text encoder's names: none of ours may exclude it.
    assert trainers.by_fullmatch(encoder, ["layers.0.self_attn.q_proj"], "", NOTHING)
    assert "train_llm_adapter" not in found({"TE": 1, "B00": 1}, anima, "sd-scripts")
    adapter = found({"ADP": 0.5, "B00": 1}, anima, "sd-scripts: ranks")
    assert adapter["train_llm_adapter"] == "True"
    assert adapter["network_train_unet_only"] == ""
    assert adapter["network_reg_dims"] == "llm_adapter([.].*)?=8"
    told = remarks(
        {"TE": 1.0, "B00": 1.0}, ARCHITECTURES["wan-14b"], way_called("musubi-tuner", ARCHITECTURES["wan-14b"])
    )
    assert told == ["musubi-tuner does not train TE"]


def test_a_trainer_that_has_one_strength_for_all_says_so() -> None:
    z_image = ARCHITECTURES["z-image"]
    for title in ("musubi-tuner", "ai-toolkit"):
        told = remarks({"B00": 0.5, "B01": 1.0}, z_image, way_called(title, z_image))
        assert told == [f"{title} trains all chosen blocks in full; these count as 1: B00"]


# ai-toolkit --------------------------------------------------------------------------------------

# By architecture: the naming of its model in ai-toolkit, the prefix of each name, and what
# `get_transformer_block_names` of its model returns (for Flux.1, SD 3 and Lumina 2 what lora_special.py contains).
AI_TOOLKIT = {
    "flux": ("diffusers", "transformer.", ("transformer_blocks",)),
    "sd3-medium": ("diffusers", "transformer.", ("transformer_blocks",)),
    "sd3.5-large": ("diffusers", "transformer.", ("transformer_blocks",)),
    "lumina2": ("diffusers", "transformer.", ("layers.", "noise_refiner.", "context_refiner.")),
    "chroma": ("original", "transformer.", ("single_blocks", "double_blocks")),
    "flux2-klein-4b": ("original", "transformer.", ("double_blocks", "single_blocks")),
    "flux2-dev": ("original", "transformer.", ("double_blocks", "single_blocks")),
    "anima": ("diffusers", "transformer.transformer.", ("transformer_blocks",)),
    "wan-1.3b": ("diffusers", "transformer.", ("blocks",)),
    "wan-14b": ("diffusers", "transformer.transformer_2.", ("blocks",)),
    "qwen-image": ("original", "transformer.", ("transformer_blocks",)),
    "z-image": ("diffusers", "transformer.", ("layers",)),
    "krea2": ("original", "transformer.", ("blocks",)),
    "ernie-image": ("original", "transformer.", ("layers",)),
    "hidream-i1": ("original", "transformer.", ("double_stream_blocks", "single_stream_blocks")),
    "ideogram4": ("original", "transformer.", ("layers",)),
}


@pytest.mark.parametrize("name", AI_TOOLKIT)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_words_for_ai_toolkit_train_the_chosen_blocks_and_no_other(name: str, data: st.DataObject) -> None:
    architecture = ARCHITECTURES[name]
    naming, root, stacks = AI_TOOLKIT[name]
    weights = weights_of(architecture, data)
    names = {root + n: block for n, block in linear(name, naming).items() if block != "ADP"}
    text = of_trainer.settings(weights, architecture, way_called("ai-toolkit", architecture), TRAINING)
    chosen = {n for n, block in names.items() if weights[block] > 0}
    assert trainers.by_words(text, names, stacks) == chosen


# LyCORIS -----------------------------------------------------------------------------------------


def with_layers() -> list[str]:
    return [name for name, a in ARCHITECTURES.items() if a.kind != "unet" and CATALOGUE.get(name) != ""]


@pytest.mark.parametrize("name", with_layers())
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_a_preset_of_lycoris_gives_each_chosen_block_of_every_model_its_share(name: str, data: st.DataObject) -> None:
    tomllib = pytest.importorskip("tomllib")
    architecture = ARCHITECTURES[name]
    weights = weights_of(architecture, data)
    names = linear(name, "original")
    text = of_trainer.settings(weights, architecture, way_called("LyCORIS", architecture), TRAINING)
    expected = {
        n: None if weights[block] == 1 else RANK * weights[block] for n, block in names.items() if weights[block] > 0
    }
    assert trainers.by_file_patterns(tomllib.loads(text), names) == expected


# Which there are ---------------------------------------------------------------------------------


def test_every_model_but_the_refiner_has_a_trainer_and_all_that_have_one_are_tested() -> None:
    without = [name for name, a in ARCHITECTURES.items() if not ways(a)]
    assert without == ["sdxl-refiner"]
    for name, architecture in ARCHITECTURES.items():
        programs = [way.trainer.program for way in ways(architecture)]
        networks = {reads.program for reads in NETWORKS.get(name.replace("anima-40", "anima"), ())}
        if architecture.kind != "unet":
            assert {program for program in programs if program in ("sd-scripts", "musubi-tuner")} == networks
        others = {a.family.name for a in map(ARCHITECTURES.get, AI_TOOLKIT) if a}
        assert ("ai-toolkit" in programs) == (
            architecture.family.name in others or architecture.name in ("sd1", "sd2", "sdxl")
        )


def test_a_trainer_that_cannot_train_a_model_is_answered_with_those_that_can() -> None:
    with pytest.raises(WeightsError, match='"sd-scripts" has no settings for single blocks of Lumina 2; choose ai-to'):
        way_called("sd-scripts", ARCHITECTURES["lumina2"])
    with pytest.raises(WeightsError, match="choose sd-scripts, ai-toolkit, LyCORIS"):
        way_called("musubi-tuner", ARCHITECTURES["sdxl"])
    with pytest.raises(WeightsError, match="no known trainer can train single blocks of SDXL refiner"):
        way_called("sd-scripts", ARCHITECTURES["sdxl-refiner"])


@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=lambda a: a.name)
def test_every_way_of_a_model_is_found_by_its_title_and_says_when_nothing_is_trained(
    architecture: Architecture,
) -> None:
    for way in ways(architecture):
        assert way_called(way.title, architecture) == way
        for nothing in ({}, dict.fromkeys(architecture.blocks, 0.0), dict.fromkeys(architecture.blocks, -1.0)):
            with pytest.raises(WeightsError, match="every block is at 0"):
                of_trainer.settings(nothing, architecture, way, TRAINING)


def test_a_choice_of_blocks_that_a_trainer_does_not_train_is_refused_by_name() -> None:
    wan = ARCHITECTURES["wan-14b"]
    way: Way = way_called("musubi-tuner", wan)
    with pytest.raises(WeightsError, match="nothing to train: musubi-tuner does not train TE, OUT"):
        of_trainer.settings({"TE": 1.0, "OUT": 1.0}, wan, way, TRAINING)
