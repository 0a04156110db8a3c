"""The preset of LyCORIS against LyCORIS itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lbw.analysis.trainer import Training, settings, way_called
from lbw.core.architectures import ARCHITECTURES
from lbw.core.blocks import locate
from lbw.core.errors import WeightsError
from lbw.core.family import Architecture
from tests.core.names import models

from .model_paths import MODELS, modules

FLUX = ARCHITECTURES["flux"]
SD1 = ARCHITECTURES["sd1"]
SDXL = ARCHITECTURES["sdxl"]

Network = Callable[..., Any]


def lycoris_preset(weights: dict[str, float], architecture: Architecture, training: Training) -> str:
    return settings(weights, architecture, way_called("LyCORIS", architecture), training)


def paths_of(architecture: Architecture) -> list[str]:
    """Return the paths of layers as the models of trainers have them."""
    if architecture.name in MODELS:
        return modules(architecture)
    weights = models()[architecture.name].namings["original"]
    return [w.name for w in weights if len(w.shape) == 2 and not w.is_parameter and ".experts." not in w.name]


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
def lycoris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Network:
    """What makes LyCORIS' network of a preset, as sd-scripts lets it; its settings are put back afterwards."""
    from lycoris.kohya import LycorisNetworkKohya, create_network

    for name in dir(LycorisNetworkKohya):
        if name.isupper():
            monkeypatch.setattr(LycorisNetworkKohya, name, getattr(LycorisNetworkKohya, name))

    def made(preset: str, architecture: Architecture) -> Any:
        file = tmp_path / "preset.toml"
        file.write_text(preset)
        denoiser = model(paths_of(architecture))
        encoder = nn.Sequential(CLIPAttention())
        with torch.random.fork_rng():
            return create_network(1.0, 16, 8, None, [encoder], denoiser, preset=str(file), algo="lora")

    return made


WITH_CONVOLUTIONS = [pytest.param(a, has, id=f"{a.name}-{has}") for a in (SD1, SDXL, FLUX) for has in (False, True)]
LINEAR_ONLY = [pytest.param(ARCHITECTURES[name], False, id=name) for name in ("krea2", "flux2-klein-4b")]


@pytest.mark.parametrize(("architecture", "has_convolutions"), [*WITH_CONVOLUTIONS, *LINEAR_ONLY])
def test_lycoris_trains_the_chosen_blocks_and_no_other(
    lycoris: Network, architecture: Architecture, has_convolutions: bool
) -> None:
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
            for path in paths_of(architecture)
            if locate(path, architecture).block in chosen
            and (has_convolutions or architecture.kind != "unet" or re.search("attn|proj_in", path))
        }
        has_encoder = bool(chosen & {"BASE", "CLIP"})  # the encoder of this test is a CLIP
        if chosen == {"TE"}:
            continue
        if not expected and not has_encoder:
            with pytest.raises(WeightsError):
                lycoris_preset(weights, architecture, training)
            continue
        network = lycoris(lycoris_preset(weights, architecture, training), architecture)
        assert {lora.lora_name for lora in network.unet_loras} == expected
        assert bool(network.text_encoder_loras) == has_encoder


def test_lycoris_gives_each_block_its_share_of_the_rank(lycoris: Network) -> None:
    preset = lycoris_preset({"BASE": 0.25, "IN08": 0.5, "OUT01": 1.0}, SDXL, Training(rank=16, alpha=8))
    network = lycoris(preset, SDXL)
    found = {locate(lora.lora_name, SDXL).block: (lora.lora_dim, float(lora.alpha)) for lora in network.loras}
    assert found == {"BASE": (4, 2.0), "IN08": (8, 4.0), "OUT01": (16, 8.0)}
