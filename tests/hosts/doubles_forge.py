"""Doubles of the Forge family: patchers, clones, and objects that are swapped at each pass; and of Forge's loader."""

from __future__ import annotations

import copy
import functools
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from .doubles_mathematics import difference, split
from .doubles_model import copies, denoiser, encoder
from .doubles_webui import Networks, OnDisk, Weights, World

PARAMETERS = tuple[tuple[str, Any], ...]


def weight_of(model: nn.Module, key: str) -> torch.Tensor:
    """Return the parameter of `model` at the dotted path `key`."""
    return model.get_parameter(key)


def set_weight(model: nn.Module, key: str, value: torch.Tensor) -> None:
    """Put a new parameter in place."""
    path, _, name = key.rpartition(".")
    setattr(model.get_submodule(path), name, nn.Parameter(value, requires_grad=False))


def patches_for(model: nn.Module, tensors: Weights) -> dict[str, PARAMETERS]:
    """Return what a LoRA file adds to the parameters of `model`, by their names."""
    keys = {}
    for name, _ in model.named_parameters():
        path = name.removesuffix(".weight").replace(".", "_")
        prefix = "lora_unet_" if name.startswith("diffusion_model.") else "lora_te_"
        keys[prefix + path.removeprefix("diffusion_model_").removeprefix("transformer_")] = name
    found: dict[str, PARAMETERS] = {}
    for layer, parameters in split(tensors).items():
        if layer in keys:
            found[keys[layer]] = tuple(parameters.items())
            bias = parameters.get("diff_b", parameters.get("b_norm"))
            if bias is not None:
                found[keys[layer].removesuffix("weight") + "bias"] = (("diff", bias),)
    return found


def merge(patches: list[Any], weight: torch.Tensor) -> torch.Tensor:
    """Return `weight` with `patches`, each of which begins with its strength."""
    weight = weight.clone()
    for strength, parameters, *_ in patches:
        weight += strength * difference(dict(parameters), weight)[0]
    return weight


class ForgeObjects:
    """What a pass works with."""

    def __init__(self, unet: Any, clip: Any) -> None:
        self.unet, self.clip = unet, clip

    def shallow_copy(self) -> ForgeObjects:
        return copy.copy(self)


class Clip:
    """A text encoder's patcher, and what goes with it."""

    def __init__(self, patcher: Any) -> None:
        self.patcher = patcher
        self.cond_stage_model = patcher.model

    def clone(self) -> Clip:
        return Clip(self.patcher.clone())

    def add_patches(self, *args: Any, **kwargs: Any) -> Any:
        return self.patcher.add_patches(*args, **kwargs)


class ForgeNetworks(Networks):
    """`networks` of a host of this family: nothing is done while files and strengths are those of the last time."""

    def __init__(self, world: ForgeFamily) -> None:
        super().__init__(world)
        self.load_lora_state_dict = functools.lru_cache(maxsize=5)(self.read)

    def load_networks(self, names: list[str], te: list[float], unet: list[float], dyn: list[int | None]) -> None:
        model = self.world.model_data.sd_model
        self.loaded_networks.clear()
        files: list[OnDisk | None] = self.on_disk(names)
        targets = [[file.filename, *strengths] for file, *strengths in zip(files, unet, te)]
        if model.current_lora_hash == str(targets):
            return
        model.current_lora_hash = str(targets)
        model.forge_objects.unet = model.forge_objects_original.unet
        model.forge_objects.clip = model.forge_objects_original.clip
        for filename, for_unet, for_te in targets:
            tensors = self.load_lora_state_dict(filename)
            model.forge_objects.unet, model.forge_objects.clip = self.load_lora_for_models(
                model.forge_objects.unet, model.forge_objects.clip, tensors, for_unet, for_te, filename
            )
        model.forge_objects_after_applying_lora = model.forge_objects.shallow_copy()

    def load_lora_for_models(
        self, model: Any, clip: Any, lora: Weights, strength_model: float, strength_clip: float, filename: str = ""
    ) -> Any:
        """Return clones with the LoRA's patches, on the sides that it has tensors for."""
        owners = []
        for owner, inner, strength in ((model, model, strength_model), (clip, clip.patcher, strength_clip)):
            found = patches_for(inner.model, lora)
            owners.append(owner.clone() if found else owner)
            if found:
                self.add(owners[-1], filename, found, strength)
        return tuple(owners)

    def add(self, owner: Any, filename: str, patches: dict[str, PARAMETERS], strength: float) -> None:
        owner.add_patches(patches, strength)


class Model(SimpleNamespace):
    """`sd_model`: the objects of a checkpoint."""

    __hash__ = object.__hash__


class ForgeFamily(World):
    """A running host of the Forge family; a patcher that is loaded is not loaded again."""

    networks: ForgeNetworks

    def patcher(self, model: nn.Module) -> Any:
        raise NotImplementedError

    def bring_up(self, patcher: Any) -> None:
        """Make the weights those that `patcher` wants; another patcher of the same model was in use before."""
        raise NotImplementedError

    def change_checkpoint(self, seed: int) -> None:
        self.loaded: dict[int, Any] = {}
        objects = ForgeObjects(self.patcher(denoiser(seed)), Clip(self.patcher(encoder(seed))))
        self.model_data.sd_model = Model(
            forge_objects=objects,
            forge_objects_original=objects.shallow_copy(),
            forge_objects_after_applying_lora=objects.shallow_copy(),
            current_lora_hash="[]",
        )
        self._conditioned = None

    def begin_pass(self) -> None:
        model = self.model_data.sd_model
        model.forge_objects = model.forge_objects_after_applying_lora.shallow_copy()

    def _load(self, patcher: Any) -> None:
        if self.loaded.get(id(patcher.model)) is not patcher:
            self.bring_up(patcher)
            self.loaded[id(patcher.model)] = patcher

    def encode(self) -> None:
        self._load(self.model_data.sd_model.forge_objects.clip.patcher)

    def begin_sampling(self) -> None:
        self._load(self.model_data.sd_model.forge_objects.unet)

    def denoise(self) -> None:
        """Do nothing: the weights are what they are."""

    def weights(self) -> Weights:
        original = self.model_data.sd_model.forge_objects_original
        return copies(original.clip.cond_stage_model, original.unet.model)


# Forge -------------------------------------------------------------------------------------------


class Patcher:
    """`backend.patcher.base.ModelPatcher`: the patches of each LoRA under an identifier."""

    def __init__(self, model: nn.Module, loader_class: Any) -> None:
        self.model, self.loader_class = model, loader_class
        self.lora_patches: dict[tuple[Any, ...], dict[str, list[Any]]] = {}
        if not hasattr(model, "lora_loader"):
            object.__setattr__(model, "lora_loader", loader_class(model))

    def clone(self) -> Patcher:
        clone = Patcher(self.model, self.loader_class)
        clone.lora_patches = dict(self.lora_patches)
        return clone

    def add_patches(self, *, filename: str, patches: Any, strength_patch: float, online_mode: bool) -> None:
        self.lora_patches[(filename, strength_patch, 1.0, online_mode)] = {
            key: [[strength_patch, patch, 1.0, None, None]] for key, patch in patches.items()
        }

    def refresh_loras(self) -> None:
        self.model.lora_loader.refresh(lora_patches=self.lora_patches, offload_device=torch.device("cpu"))


def loader_class(world: World) -> type:
    """Return `backend.patcher.lora.LoraLoader`: restores and merges everything when the identifiers have changed."""

    class LoraLoader:
        def __init__(self, model: nn.Module) -> None:
            self.model = model
            self.backup: dict[str, torch.Tensor] = {}
            self.online_backup: list[nn.Module] = []
            self.loaded_hash = "[]"

        def refresh(self, lora_patches: Any, offload_device: Any = None, force_refresh: bool = False) -> None:
            if str(list(lora_patches)) == self.loaded_hash and not force_refresh:
                return
            wanted: dict[tuple[str, bool], list[Any]] = {}
            for (*_, online), patches in lora_patches.items():
                for key, entries in patches.items():
                    wanted[key, online] = wanted.get((key, online), []) + entries
            for layer in set(self.online_backup):
                del layer.forge_online_loras
            self.online_backup = []
            for key, weight in self.backup.items():
                world.restoring(key)
                set_weight(self.model, key, weight)
            self.backup = {}
            for (key, online), entries in wanted.items():
                weight = weight_of(self.model, key)
                if online:
                    path, _, name = key.rpartition(".")
                    layer = self.model.get_submodule(path)
                    layer.forge_online_loras = {**getattr(layer, "forge_online_loras", {}), name: entries}
                    self.online_backup.append(layer)
                    continue
                self.backup.setdefault(key, weight)
                world.merging(key)
                set_weight(self.model, key, merge(entries, weight))
            self.loaded_hash = str(list(lora_patches))

    return LoraLoader


class ForgeWorld(ForgeFamily):
    """A running Forge. `online`: LoRAs are added on the fly, as to quantized weights."""

    title = "Forge"
    online = False

    def start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lora = ModuleType("backend.patcher.lora")
        lora.LoraLoader = loader_class(self)
        self.dynamic_args: dict[str, Any] = {}
        monkeypatch.setitem(sys.modules, "backend.patcher.lora", lora)
        monkeypatch.setitem(sys.modules, "backend.args", SimpleNamespace(dynamic_args=self.dynamic_args))
        self._lora = lora
        self.networks = NetworksOfForge(self)
        self.change_checkpoint(0)

    def patcher(self, model: nn.Module) -> Patcher:
        return Patcher(model, self._lora.LoraLoader)

    def bring_up(self, patcher: Patcher) -> None:
        patcher.refresh_loras()

    def weights(self) -> Weights:
        found = super().weights()
        original = self.model_data.sd_model.forge_objects_original
        for model in (original.clip.cond_stage_model, original.unet.model):
            for path, layer in model.named_modules():
                for name, entries in getattr(layer, "forge_online_loras", {}).items():
                    key = f"{path}.{name}".removeprefix("diffusion_model.")
                    found[key] = merge(entries, found[key])
        return found


class NetworksOfForge(ForgeNetworks):
    world: ForgeWorld

    def add(self, owner: Any, filename: str, patches: dict[str, PARAMETERS], strength: float) -> None:
        owner.add_patches(filename=filename, patches=patches, strength_patch=strength, online_mode=self.world.online)
