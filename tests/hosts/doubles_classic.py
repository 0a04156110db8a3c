"""A double of Forge Classic: all LoRAs' patches in one list per tensor, merged and restored all at once."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from .doubles_comfy import utilities
from .doubles_forge import ForgeFamily, ForgeNetworks, merge, set_weight, weight_of
from .doubles_webui import World


class ClassicPatcher:
    """Merges all in `patch_model`, restores all in `unpatch_model`; each clone has backups of its own."""

    weight_inplace_update = False

    def __init__(self, model: nn.Module, world: World) -> None:
        self.model, self.world = model, world
        self.patches: dict[str, list[Any]] = {}
        self.backup: dict[str, Any] = {}

    def clone(self) -> Any:
        clone = type(self)(self.model, self.world)
        clone.patches = {key: list(entries) for key, entries in self.patches.items()}
        return clone

    def add_patches(self, patches: Any, strength: float) -> None:
        for key, patch in patches.items():
            self.patches.setdefault(key, []).append((strength, patch, 1.0))

    def patch_model(self, device_to: Any = None, patch_weights: bool = True) -> nn.Module:
        for key in self.patches:
            weight = weight_of(self.model, key)
            inplace = self.weight_inplace_update
            self.world.merging(key)
            self.backup.setdefault(key, weight.detach().clone() if inplace else weight)
            merged = merge(self.patches[key], weight)
            if inplace:
                weight.data.copy_(merged)
            else:
                set_weight(self.model, key, merged)
        return self.model

    def unpatch_model(self) -> None:
        for key, weight in self.backup.items():
            self.world.restoring(key)
            if self.weight_inplace_update:
                weight_of(self.model, key).data.copy_(weight)
            else:
                set_weight(self.model, key, weight)
        self.backup = {}


class ClassicWorld(ForgeFamily):
    """A running Forge Classic."""

    title = "Classic"
    merges_by_tensor = False

    def start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ldm_patched.modules.model_patcher", SimpleNamespace())
        monkeypatch.setitem(sys.modules, "ldm_patched.modules.utils", utilities(self, with_parameters=False))
        self.networks = ForgeNetworks(self)
        self.change_checkpoint(0)

    def patcher(self, model: nn.Module) -> Any:
        return ClassicPatcher(model, self)

    def bring_up(self, patcher: Any) -> None:
        before = self.loaded.pop(id(patcher.model), None)
        if before is not None:
            before.unpatch_model()
        try:
            patcher.patch_model()
        except BaseException:
            patcher.unpatch_model()
            raise
