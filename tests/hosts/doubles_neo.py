"""Doubles of Forge Neo since 2025-11, in both generations: what differs is how a LoRA is added on the fly."""

from __future__ import annotations

import sys
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from .doubles_comfy import ComfyWorld, utilities
from .doubles_forge import PARAMETERS, ForgeNetworks, merge, patches_for
from .doubles_mathematics import split
from .doubles_model import OUT03
from .doubles_webui import Weights


class NeoNetworks(ForgeNetworks):
    """Drops a LoRA of whose tensors more than half match nothing, or the side of which more than a quarter is missing.

    A model of nunchaku's takes files by itself.
    """

    world: NeoWorld

    def load_lora_for_models(
        self, model: Any, clip: Any, lora: Weights, strength_model: float, strength_clip: float, filename: str = ""
    ) -> Any:
        if self.world.dynamic_args.nunchaku:
            self.world.taken_by_nunchaku.append((filename, strength_model))
            return model, clip
        layers = split(lora)
        missing = [layer for layer in layers if layer in self.world.names_of_models_before]
        matched = len(missing) + len(patches_for(model.model, lora)) + len(patches_for(clip.patcher.model, lora))
        if len(layers) - matched > len(layers) / 2:
            return model, clip
        new_model, new_clip = super().load_lora_for_models(model, clip, lora, strength_model, strength_clip, filename)
        return (model if len(missing) > len(layers) / 4 else new_model), new_clip

    def add(self, owner: Any, filename: str, patches: dict[str, PARAMETERS], strength: float) -> None:
        patcher = getattr(owner, "patcher", owner)
        for key, patch in patches.items():
            self.world.add_entry(patcher, key, (strength, patch, 1.0, None, None), filename)
        patcher.patches_uuid = uuid.uuid4()


class DynamicArgs:
    """`backend.args.dynamic_args`: a class whose fields are asked for by name."""

    def __init__(self) -> None:
        self.nunchaku = False
        self.ops = "ForgeOperations"

    def get(self, name: str, default: Any = None) -> Any:
        return getattr(self, name, default)


class NeoWorld(ComfyWorld):
    """A running Forge Neo 2.26. `online`: LoRAs are added on the fly."""

    title = "Neo"
    module_name = "backend.patcher.base"
    cast, loaded_flag = "parameters_manual_cast", "forge_patched_weights"
    takes_converters = online_by_flag = True
    online = False

    def start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dynamic_args = DynamicArgs()
        self.taken_by_nunchaku: list[Any] = []
        self.names_of_models_before: set[str] = set()
        monkeypatch.setitem(sys.modules, "backend.args", SimpleNamespace(dynamic_args=self.dynamic_args))
        monkeypatch.setitem(sys.modules, "backend.utils", utilities(self, with_parameters=False))
        monkeypatch.setitem(sys.modules, "backend.patcher.lora", SimpleNamespace())
        super().start(monkeypatch)

    def make_networks(self) -> ForgeNetworks:
        return NeoNetworks(self)

    def add_entry(self, patcher: Any, key: str, entry: tuple[Any, ...], filename: str) -> None:
        patcher.patches.setdefault(key, []).append((*entry, self.online))


class OnlineNeoWorld(NeoWorld):
    title = "Neo on the fly"
    online = True


class PlainLayerNeoWorld(OnlineNeoWorld):
    """One of the layers applies no functions: nothing can be added to it on the fly, and nothing is merged into it."""

    title = "Neo on the fly with a plain layer"
    plain_layer = OUT03


class PartlyLoadedNeoWorld(NeoWorld):
    """Half of the denoiser fits onto the device."""

    title = "Neo partly loaded"
    budget = 4000.0
    merges_by_tensor = False


class PartlyLoadedOnlineNeoWorld(PartlyLoadedNeoWorld):
    title = "Neo on the fly partly loaded"
    online = True


class WrappersNeoWorld(NeoWorld):
    """The other generation, on the fly: an entry is a function of its own, beside the table of patches."""

    title = "Neo with wrappers"
    merges_by_tensor = False
    takes_converters = online_by_flag = False
    online = True

    def start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().start(monkeypatch)
        self._module.OnlineLoRAPatch = OnlineLoRAPatch

    def add_entry(self, patcher: Any, key: str, entry: tuple[Any, ...], filename: str) -> None:
        known = patcher.weight_wrapper_patches.get(key, [])
        patcher.weight_wrapper_patches[key] = [*known, OnlineLoRAPatch(filename, key, list(entry))]

    def applies_functions(self, layer: Any) -> bool:
        return True


class OnlineLoRAPatch:
    """Adds one LoRA to a tensor at each forward."""

    def __init__(self, name: str, key: str, patch: list[Any]) -> None:
        self.name, self.key, self.patch = name, key, [patch]

    def __call__(self, weight: torch.Tensor) -> torch.Tensor:
        return merge(self.patch, weight)
