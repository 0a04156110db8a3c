"""Running doubles of the hosts, with the LoRA files that most tests use."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from .doubles_a1111 import A1111World
from .doubles_classic import ClassicWorld
from .doubles_comfy import PartlyLoadedReForgeWorld, ReForgeWorld
from .doubles_forge import ForgeWorld
from .doubles_model import DENOISER, FC1, copies, denoiser, encoder
from .doubles_neo import (
    NeoWorld,
    OnlineNeoWorld,
    PartlyLoadedNeoWorld,
    PartlyLoadedOnlineNeoWorld,
    PlainLayerNeoWorld,
    WrappersNeoWorld,
)
from .doubles_webui import Weights
from .reference import EVERYWHERE, lora

torch.set_num_threads(1)  # the layers are too small to share

_REFORGE = (ReForgeWorld, PartlyLoadedReForgeWorld)
_NEO_ON_THE_FLY = (OnlineNeoWorld, PlainLayerNeoWorld, WrappersNeoWorld)
_NEO = (NeoWorld, *_NEO_ON_THE_FLY, PartlyLoadedNeoWorld, PartlyLoadedOnlineNeoWorld)
WORLDS = {kind.title: kind for kind in (A1111World, ForgeWorld, ClassicWorld, *_REFORGE, *_NEO)}


@lru_cache
def loras() -> dict[str, bytes]:
    """Return the LoRA files.

    a, b: with tensors everywhere. unet, text: with tensors on one side only. dora: with tensors everywhere.
    """
    tensors = {
        "a": lora("lora", EVERYWHERE, 1),
        "b": lora("locon", EVERYWHERE, 2),
        "unet": lora("lora", tuple(DENOISER), 3),
        "text": lora("lora", (FC1,), 4),
        "dora": lora("dora", EVERYWHERE, 5),
    }
    return {name: save({key: t.contiguous() for key, t in own.items()}) for name, own in tensors.items()}


def stranger() -> Weights:
    """Return the tensors of a LoRA for another kind of model."""
    names = {"lora_te_text_model_encoder_layers_0_mlp_fc1": "lora_unet_joint_blocks_0_x"}
    return {name.replace(*next(iter(names.items()))): tensor for name, tensor in lora("lora", (FC1,), 6).items()}


@lru_cache
def checkpoint(seed: int) -> Weights:
    """Return the weights of a checkpoint."""
    return copies(encoder(seed), denoiser(seed))


def make_world(host: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> Any:
    """Return a running double of `host`; fields: of the double's class."""
    world = type(host, (WORLDS[host],), fields)(folder, monkeypatch)
    for name, content in loras().items():
        (folder / f"{name}.safetensors").write_bytes(content)
    return world
