"""Doubles of the hosts whose patchers are made like ComfyUI's: marks, models that are loaded part by part.

A layer's patches are merged where it lies on the device, and added at each forward where it does not. Memory is counted
in numbers of a tensor.
"""

from __future__ import annotations

import sys
import uuid
import weakref
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import pytest
import torch
from torch import nn

from .doubles_forge import ForgeFamily, ForgeNetworks, merge, set_weight, weight_of
from .doubles_webui import Weights, World

DEVICE = torch.device("cpu")
EVERYTHING = 1e32


class Backup(NamedTuple):
    weight: torch.Tensor
    inplace_update: bool


class Castable:
    """What the host's own kinds of layers have beside torch's; the lists are the class's until a layer gets its own."""

    weight_function: ClassVar[list[Any]] = []
    bias_function: ClassVar[list[Any]] = []


def utilities(world: World, with_parameters: bool) -> SimpleNamespace:
    """Return the host's functions for tensors of a model; reForge's `set_attr` takes a parameter as it is.

    The doubles of the patchers do not use them: what they put into the model counts as restored.
    """

    def get_attr(model: nn.Module, key: str) -> Any:
        found: Any = model
        for name in key.split("."):
            found = getattr(found, name)
        return found

    def set_attr_param(model: nn.Module, key: str, value: Any) -> None:
        world.restoring(key)
        set_weight(model, key, value)

    def set_attr(model: nn.Module, key: str, value: Any) -> None:
        if not with_parameters:
            set_attr_param(model, key, value)
            return
        path, _, name = key.rpartition(".")
        setattr(model.get_submodule(path), name, value)

    def copy_to_param(model: nn.Module, key: str, value: torch.Tensor) -> None:
        weight_of(model, key).data.copy_(value)

    found = SimpleNamespace(get_attr=get_attr, set_attr=set_attr, copy_to_param=copy_to_param)
    if with_parameters:
        found.set_attr_param = set_attr_param
    return found


def host_module(world: ComfyWorld, name: str) -> Any:
    """Return the host's module of patchers, with classes of this world's own."""
    module = ModuleType(name)

    class LowVramPatch:
        """Adds the patches that a table holds for a tensor, at the moment of the forward."""

        def __init__(self, key: str, patches: Any) -> None:
            world.attaching(key)
            self.key, self.patches = key, patches

        def __call__(self, weight: torch.Tensor) -> torch.Tensor:
            return merge(self.patches[self.key], weight)

    class LowVramPatchWithConverters(LowVramPatch):
        def __init__(self, key: str, patches: Any, convert_func: Any = None, set_func: Any = None) -> None:
            super().__init__(key, patches)

    module.LowVramPatch = LowVramPatchWithConverters if world.takes_converters else LowVramPatch
    module.get_key_weight = lambda model, key: (weight_of(model, key), None, None)
    module.ModelPatcher = type("ModelPatcher", (Patcher,), {"world": world, "module": module})
    return module


class Patcher:
    """`ModelPatcher`. Backups, and what is on the device, belong to the model; a clone's patches to the clone."""

    world: ComfyWorld
    module: Any

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.patches: dict[str, list[Any]] = {}
        self.weight_wrapper_patches: dict[str, list[Any]] = {}
        self.backup: dict[str, Backup] = {}
        self.patches_uuid = uuid.uuid4()
        self.load_device = self.offload_device = DEVICE
        self.parent: Any = None
        self.force_cast_weights = False
        if not hasattr(model, "current_weight_patches_uuid"):
            model.current_weight_patches_uuid, model.model_lowvram = None, False
            model.model_loaded_weight_memory = 0
            for path, layer in model.named_modules():
                kind = type(layer)
                if not layer._parameters or path.endswith(self.world.plain_layer):
                    continue
                layer.__class__ = type(kind.__name__, (Castable, kind), {self.world.cast: False})

    def layers(self) -> Iterator[nn.Module]:
        return (layer for layer in self.model.modules() if layer._parameters)

    def clone(self) -> Any:
        clone = type(self)(self.model)
        clone.patches = {key: list(entries) for key, entries in self.patches.items()}
        clone.weight_wrapper_patches = dict(self.weight_wrapper_patches)
        clone.patches_uuid, clone.backup, clone.parent = self.patches_uuid, self.backup, self
        return clone

    def use_online_lora(self, key: str) -> bool:
        return any(entry[-1] for entry in self.patches.get(key, ()))

    # Loading ------------------------------------------------------------------------------------

    def patch_weight_to_device(self, key: str, device_to: Any = None) -> None:
        if key not in self.patches:
            return
        weight = weight_of(self.model, key)
        self.backup.setdefault(key, Backup(weight, False))
        self.world.merging(key)
        set_weight(self.model, key, merge(self.patches[key], weight))

    def _by_size(self) -> list[tuple[float, str, nn.Module]]:
        """Return the layers, the largest first; one with patches counts three times."""
        sizes = []
        for path, layer in self.model.named_modules():
            if layer._parameters:
                size = sum(tensor.numel() for tensor in layer.parameters())
                patched = any(f"{path}.{name}" in self.patches for name in layer._parameters)
                sizes.append((size * (3 if patched else 1), size, path, layer))
        return [entry[1:] for entry in sorted(sizes, key=lambda entry: entry[:3], reverse=True)]

    def load(
        self,
        device_to: Any = None,
        lowvram_model_memory: float = 0,
        force_patch_weights: bool = False,
        full_load: bool = False,
    ) -> None:
        world, before = self.world, f"prev_{self.world.cast}"
        used, left_out, loaded = 0, False, []
        for size, path, layer in self._by_size():
            fits = full_load or used + size < lowvram_model_memory
            left_out |= not fits
            if not fits and hasattr(layer, before):
                continue
            if isinstance(layer, Castable):
                layer.weight_function, layer.bias_function = [], []
            if fits:
                if hasattr(layer, before):
                    setattr(layer, world.cast, getattr(layer, before))
                    delattr(layer, before)
                used += size
                loaded.append((path, layer))
            else:
                self._attach(path, layer)
            self._wrap(path, layer)
        for path, layer in loaded:
            if getattr(layer, world.loaded_flag, False):
                continue
            for name in list(layer._parameters):
                key = f"{path}.{name}"
                if world.online_by_flag and self.use_online_lora(key):
                    self._attach(path, layer, [name])
                else:
                    self.patch_weight_to_device(key, device_to)
            setattr(layer, world.loaded_flag, True)
        self.model.model_lowvram, self.model.model_loaded_weight_memory = left_out, used
        self.model.current_weight_patches_uuid = self.patches_uuid

    def _attach(self, path: str, layer: nn.Module, names: Any = ("weight", "bias")) -> None:
        for name in names:
            if f"{path}.{name}" in self.patches:
                setattr(layer, f"{name}_function", [self.module.LowVramPatch(f"{path}.{name}", self.patches)])
        if not isinstance(layer, Castable):
            return
        setattr(layer, f"prev_{self.world.cast}", getattr(layer, self.world.cast))
        setattr(layer, self.world.cast, True)

    def _wrap(self, path: str, layer: nn.Module) -> None:
        for name in ("weight", "bias"):
            own = self.weight_wrapper_patches.get(f"{path}.{name}", [])
            for _ in own:
                self.world.attaching(f"{path}.{name}")
            if own:
                setattr(layer, f"{name}_function", [*getattr(layer, f"{name}_function", ()), *own])

    def unpatch_model(self, device_to: Any = None, unpatch_weights: bool = True) -> None:
        if not unpatch_weights:
            return
        if self.model.model_lowvram:
            for layer in self.layers():
                layer.weight_function, layer.bias_function = [], []
                if hasattr(layer, f"prev_{self.world.cast}"):
                    setattr(layer, self.world.cast, getattr(layer, f"prev_{self.world.cast}"))
                    delattr(layer, f"prev_{self.world.cast}")
            self.model.model_lowvram = False
        for key, backup in self.backup.items():
            self.world.restoring(key)
            set_weight(self.model, key, backup.weight)
        self.backup.clear()
        self.model.current_weight_patches_uuid, self.model.model_loaded_weight_memory = None, 0
        for layer in self.layers():
            if hasattr(layer, self.world.loaded_flag):
                delattr(layer, self.world.loaded_flag)

    def detach(self) -> None:
        self.unpatch_model(self.offload_device)

    def partially_load(self, device_to: Any, extra_memory: float = 0, force_patch_weights: bool = False) -> None:
        model = self.model
        other = model.current_weight_patches_uuid not in (None, self.patches_uuid)
        extra_memory += model.model_loaded_weight_memory if other else 0
        self.unpatch_model(self.offload_device, other)
        if extra_memory < 0 and not other:
            self.partially_unload(self.offload_device, -extra_memory)
            return
        if not model.model_lowvram and model.model_loaded_weight_memory > 0:
            return
        memory = model.model_loaded_weight_memory + extra_memory
        try:
            self.load(device_to, memory, full_load=memory > sum(size for size, *_ in self._by_size()))
        except Exception:
            self.detach()
            raise

    def partially_unload(self, device_to: Any, memory_to_free: float = 0) -> None:
        """Take the smallest layers off the device until `memory_to_free` is free."""
        freed = 0
        for size, path, layer in reversed(self._by_size()):
            if freed > memory_to_free:
                break
            if not getattr(layer, self.world.loaded_flag, False):
                continue
            for name in ("weight", "bias"):
                key = f"{path}.{name}"
                if key in self.backup:
                    self.world.restoring(key)
                    set_weight(self.model, key, self.backup.pop(key).weight)
                if key in self.patches:
                    own = [*getattr(layer, f"{name}_function"), self.module.LowVramPatch(key, self.patches)]
                    setattr(layer, f"{name}_function", own)
            if not hasattr(layer, f"prev_{self.world.cast}"):
                setattr(layer, f"prev_{self.world.cast}", getattr(layer, self.world.cast))
            setattr(layer, self.world.cast, True)
            setattr(layer, self.world.loaded_flag, False)
            freed += size
        self.model.model_lowvram = True
        self.model.model_loaded_weight_memory -= freed


class ComfyWorld(ForgeFamily):
    """A running host with such patchers.

    cast, loaded_flag: fields of a layer. takes_converters: whether functions at each forward are made with more than a
    table. online_by_flag: whether an entry's last item tells that it is added on the fly. budget: how much of a
    model fits onto the device, None for all of it; while the text is encoded, part of it is taken away. plain_layer:
    one that applies no functions.
    """

    module_name: str
    cast: str
    loaded_flag: str
    takes_converters = False
    online_by_flag = False
    budget: float | None = None
    merges_by_tensor = True
    plain_layer = "none"

    def start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._module = host_module(self, self.module_name)
        monkeypatch.setitem(sys.modules, self.module_name, self._module)
        self._using: dict[int, tuple[Any, Any]] = {}
        self.networks = self.make_networks()
        self.change_checkpoint(0)

    def make_networks(self) -> ForgeNetworks:
        return ForgeNetworks(self)

    def patcher(self, model: nn.Module) -> Any:
        return self._module.ModelPatcher(model)

    def bring_up(self, patcher: Any) -> None:
        """Load as much of the model as fits; the host knows the patcher weakly, and its parent after its end."""
        model = patcher.model
        extra = EVERYTHING if self.budget is None else max(0.1, self.budget - model.model_loaded_weight_memory)
        patcher.partially_load(DEVICE, extra)
        self._using[id(model)] = weakref.ref(patcher), weakref.ref(patcher.parent) if patcher.parent else lambda: None

    def _load(self, patcher: Any) -> None:
        self.bring_up(patcher)

    def encode(self) -> None:
        if self.budget is not None:
            model = self.model_data.sd_model.forge_objects.unet.model
            known, parent = self._using.get(id(model), (lambda: None, lambda: None))
            using = known() or parent()
            if using is not None and model.model_loaded_weight_memory > 0:
                using.partially_unload(DEVICE, self.budget / 4)
        super().encode()

    def weights(self) -> Weights:
        """Return the weights as a forward finds them."""
        found = super().weights()
        original = self.model_data.sd_model.forge_objects_original
        for model in (original.clip.cond_stage_model, original.unet.model):
            for path, layer in model.named_modules():
                for name in list(layer._parameters):
                    if layer._parameters[name] is not None and self.applies_functions(layer):
                        key = f"{path}.{name}".removeprefix("diffusion_model.")
                        for function in getattr(layer, f"{name}_function", ()):
                            found[key] = function(found[key])
        return found

    def applies_functions(self, layer: nn.Module) -> bool:
        return bool(getattr(layer, self.cast, False))


class ReForgeNetworks(ForgeNetworks):
    """reForge makes clones whether or not the LoRA has tensors for them."""

    def load_lora_for_models(
        self, model: Any, clip: Any, lora: Any, strength_model: float, strength_clip: float, filename: str = ""
    ) -> Any:
        model, clip = super().load_lora_for_models(model, clip, lora, strength_model, strength_clip, filename)
        return model.clone(), clip.clone()

    def add(self, owner: Any, filename: str, patches: Any, strength: float) -> None:
        patcher = getattr(owner, "patcher", owner)
        for key, patch in patches.items():
            patcher.patches.setdefault(key, []).append((strength, patch, 1.0, None, None))
        patcher.patches_uuid = uuid.uuid4()


class ReForgeWorld(ComfyWorld):
    """A running reForge."""

    title = "reForge"
    module_name = "ldm_patched.modules.model_patcher"
    cast, loaded_flag = "ldm_patched_cast_weights", "ldm_patched_patched_weights"

    def start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ldm_patched.modules.utils", utilities(self, with_parameters=True))
        super().start(monkeypatch)

    def make_networks(self) -> ForgeNetworks:
        return ReForgeNetworks(self)


class PartlyLoadedReForgeWorld(ReForgeWorld):
    """Half of the denoiser fits onto the device."""

    title = "reForge partly loaded"
    budget = 4000.0
    merges_by_tensor = False
