"""Doubles of reForge and of Forge Classic: all LoRAs' patches in one list a tensor."""

from __future__ import annotations

import sys
import uuid
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from .doubles_forge import ForgeFamily, ForgeNetworks, merge, set_weight, weight_of
from .doubles_webui import World


class Backup(NamedTuple):
    weight: torch.Tensor
    inplace_update: bool


def _utilities(with_parameters: bool) -> SimpleNamespace:
    """Return `ldm_patched.modules.utils`; reForge's `set_attr` takes a parameter as it is."""

    def set_attr(model: nn.Module, key: str, value: Any) -> None:
        if not with_parameters:
            set_weight(model, key, value)
            return
        path, _, name = key.rpartition(".")
        setattr(model.get_submodule(path), name, value)

    def copy_to_param(model: nn.Module, key: str, value: torch.Tensor) -> None:
        weight_of(model, key).data.copy_(value)

    utilities = SimpleNamespace(get_attr=weight_of, set_attr=set_attr, copy_to_param=copy_to_param)
    if with_parameters:
        utilities.set_attr_param = set_weight
    return utilities


class Patches:
    """What both hosts' `ModelPatcher` share."""

    def __init__(self, model: nn.Module, world: World) -> None:
        self.model, self.world = model, world
        self.patches: dict[str, list[Any]] = {}
        self.backup: dict[str, Any] = {}

    def clone(self) -> Any:
        clone = type(self)(self.model, self.world)
        clone.patches = {key: list(entries) for key, entries in self.patches.items()}
        return clone

    def merged(self, key: str, weight: torch.Tensor) -> torch.Tensor:
        self.world.merging(key)
        return merge(self.patches[key], weight)


# Forge Classic -----------------------------------------------------------------------------------


class ClassicPatcher(Patches):
    """Merges all in `patch_model`, restores all in `unpatch_model`; each clone has backups of its own."""

    weight_inplace_update = False

    def add_patches(self, patches: Any, strength: float) -> None:
        for key, patch in patches.items():
            self.patches.setdefault(key, []).append((strength, patch, 1.0))

    def patch_model(self, device_to: Any = None, patch_weights: bool = True) -> nn.Module:
        for key in self.patches:
            weight = weight_of(self.model, key)
            inplace = self.weight_inplace_update
            self.backup.setdefault(key, weight.detach().clone() if inplace else weight)
            utils = sys.modules["ldm_patched.modules.utils"]
            (utils.copy_to_param if inplace else utils.set_attr)(self.model, key, self.merged(key, weight))
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
    patcher_class: type[Patches] = ClassicPatcher

    def start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ldm_patched.modules.model_patcher", SimpleNamespace())
        monkeypatch.setitem(sys.modules, "ldm_patched.modules.utils", _utilities(self.title == "reForge"))
        self.networks = ForgeNetworks(self)
        self.change_checkpoint(0)

    def patcher(self, model: nn.Module) -> Any:
        return self.patcher_class(model, self)

    def bring_up(self, patcher: Any) -> None:
        before = self.loaded.pop(id(patcher.model), None)
        if before is not None:
            before.unpatch_model()
        try:
            patcher.patch_model()
        except BaseException:
            patcher.unpatch_model()
            raise


# reForge -----------------------------------------------------------------------------------------


class ReForgePatcher(Patches):
    """Tells by a mark whether what is merged is what a patcher wants; backups belong to the model."""

    weight_inplace_update = False

    def __init__(self, model: nn.Module, world: World) -> None:
        super().__init__(model, world)
        self.patches_uuid = uuid.uuid4()
        for name, value in (("current_weight_patches_uuid", None), ("model_lowvram", False), ("loaded", False)):
            if not hasattr(model, name):
                setattr(model, name, value)

    def clone(self) -> ReForgePatcher:
        clone = super().clone()
        clone.patches_uuid, clone.backup = self.patches_uuid, self.backup
        return clone

    def add_patches(self, patches: Any, strength: float) -> None:
        for key, patch in patches.items():
            self.patches.setdefault(key, []).append((strength, patch, 1.0, None, None))
        self.patches_uuid = uuid.uuid4()

    def patch_weight_to_device(self, key: str, device_to: Any = None, inplace_update: bool = False) -> None:
        if key not in self.patches:
            return
        weight = weight_of(self.model, key)
        self.backup.setdefault(key, Backup(weight, False))
        set_weight(self.model, key, self.merged(key, weight))

    def unpatch_model(self) -> None:
        for key, backup in self.backup.items():
            self.world.restoring(key)
            set_weight(self.model, key, backup.weight)
        self.backup.clear()
        self.model.current_weight_patches_uuid, self.model.loaded = None, False

    def load(self) -> None:
        if self.model.current_weight_patches_uuid not in (None, self.patches_uuid):
            self.unpatch_model()
        if self.model.loaded:
            return
        try:
            for key in [name for name, _ in self.model.named_parameters()]:
                self.patch_weight_to_device(key)
        except BaseException:
            self.unpatch_model()
            raise
        self.model.current_weight_patches_uuid, self.model.loaded = self.patches_uuid, True


class ReForgeNetworks(ForgeNetworks):
    """reForge makes clones whether or not the LoRA has tensors for them."""

    def load_lora_for_models(
        self, model: Any, clip: Any, lora: Any, strength_model: float, strength_clip: float, filename: str = ""
    ) -> Any:
        model, clip = super().load_lora_for_models(model, clip, lora, strength_model, strength_clip, filename)
        return model.clone(), clip.clone()


class ReForgeWorld(ClassicWorld):
    """A running reForge."""

    title = "reForge"
    patcher_class = ReForgePatcher

    def start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().start(monkeypatch)
        self.networks = ReForgeNetworks(self)

    def _load(self, patcher: Any) -> None:
        patcher.load()
