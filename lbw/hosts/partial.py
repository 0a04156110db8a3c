"""Patchers made like ComfyUI's, of reForge and Forge Neo: the tensors alone are merged anew whose patches changed.

Such a patcher has a mark, `patches_uuid`, and its model the mark of the patcher that it was loaded by. Where they
differ the host restores every tensor and merges all again. `PartialLoader` comes before it: it renews the tensors
that differ, with the host's own functions, and sets the mark; the host then finds nothing to do.

A tensor has its patches merged, with its base in `backup`; or added at each forward, by a `LowVramPatch` among the
layer's `weight_function` or `bias_function`, where the layer did not fit into the device's memory, or where the patch
is marked for it. Such a function reads the table that it was made with, so a table that was handed out is never
changed: another one takes its place.
"""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from .entries import Table, same, same_table
from .patch import Patch

_FUNCTIONS = ("weight_function", "bias_function")


@dataclass(frozen=True)
class Names:
    """What a layer's fields are called.

    cast: whether its parameters are cast, and functions applied, at each forward; with `prev_` before it, what that
        was before. loaded: whether the host has brought it onto the device, with all patches.
    """

    cast: str
    loaded: str


@dataclass(frozen=True)
class _Loaded:
    """What the host has loaded a model with."""

    mark: Any
    patches: Table
    wrappers: Table
    is_cast: bool


def _loaded_by(patcher: Any) -> _Loaded:
    wrappers = {key: tuple(own) for key, own in getattr(patcher, "weight_wrapper_patches", {}).items()}
    patches = {key: tuple(own) for key, own in patcher.patches.items()}
    return _Loaded(patcher.patches_uuid, patches, wrappers, bool(getattr(patcher, "force_cast_weights", False)))


class PartialLoader:
    """Wraps `ModelPatcher.partially_load`.

    module: the host's, with `ModelPatcher`, `LowVramPatch` and `get_key_weight`. utilities: the host's, which put a
    tensor into a model.
    """

    def __init__(self, module: Any, utilities: Any, names: Names) -> None:
        self._module, self._utilities, self._names = module, utilities, names
        self._takes_converters = len(inspect.signature(module.LowVramPatch).parameters) > 2
        self._known: WeakKeyDictionary[Any, _Loaded] = WeakKeyDictionary()
        self._patch = Patch(module.ModelPatcher, "partially_load", self._partially_load)

    def close(self) -> None:
        """Give the host back its own way."""
        self._patch.remove()

    def refresh(self, patcher: Any) -> None:
        """Make the weights of the loaded `patcher` those that its patches ask for now."""
        patcher.patches_uuid = uuid.uuid4()
        if self._is_partial(patcher):
            self._update(patcher)
        else:
            # No more of the model comes onto the device than was there.
            patcher.partially_load(patcher.load_device, 0 if patcher.model.model_lowvram else 1e32)

    def _partially_load(self, original: Callable[..., Any], patcher: Any, *args: Any, **kwargs: Any) -> Any:
        model = patcher.model
        if self._is_partial(patcher, *args, **kwargs):
            self._update(patcher)
        result = original(patcher, *args, **kwargs)
        if model.current_weight_patches_uuid == patcher.patches_uuid:
            known = self._known.get(model)
            if known is None or known.mark != patcher.patches_uuid:
                self._known[model] = _loaded_by(patcher)
            # Where it loads more of a model, or has failed before, the host leaves functions that it should have taken
            # away, takes some away that it should have left, and adds some to what is merged.
            if self._is_ordinary(patcher):
                self._update(patcher)
        return result

    def _is_partial(self, patcher: Any, device: Any = None, extra: Any = 0, force_patch_weights: bool = False) -> bool:
        """Tell whether it is known what the model is loaded with, and the patches are all that differs."""
        known = self._known.get(patcher.model)
        mark = patcher.model.current_weight_patches_uuid
        if known is None or known.mark != mark or mark == patcher.patches_uuid or force_patch_weights:
            return False
        wanted = _loaded_by(patcher)
        return (
            self._is_ordinary(patcher)
            and wanted.is_cast == known.is_cast
            and same_table(wanted.wrappers, known.wrappers)
        )

    def _is_ordinary(self, patcher: Any) -> bool:
        """Tell whether the weights of `patcher` are loaded as described above, and by nothing else."""
        return type(patcher).load is self._module.ModelPatcher.load and not getattr(patcher, "hook_backup", None)

    def _update(self, patcher: Any) -> None:
        """Renew the tensors whose patches in force are not those of `patcher`."""
        model = patcher.model
        merged: Mapping[str, Any] = self._known[model].patches
        attached: dict[str, list[Any]] = {}
        for key, function in self._attached(model):
            attached.setdefault(key, []).append(function.patches.get(key, ()))
        # Should the host fail in between, nobody must take what is merged for what they want.
        model.current_weight_patches_uuid = uuid.uuid4()
        for key in {**patcher.patches, **attached, **patcher.backup}:
            in_force = [*attached.get(key, ()), *([merged.get(key, ())] if key in patcher.backup else [])]
            wanted = [patcher.patches[key]] if key in patcher.patches else []
            if len(in_force) != len(wanted) or not all(map(same, in_force, wanted)):
                self._renew(patcher, key)
        model.current_weight_patches_uuid = patcher.patches_uuid
        if self._known[model].mark != patcher.patches_uuid:
            self._known[model] = _loaded_by(patcher)

    def _attached(self, model: Any) -> Iterator[tuple[str, Any]]:
        """Yield the host's functions that add patches at each forward, with the names of their tensors."""
        for layer in model.modules():
            for name in _FUNCTIONS:
                for function in vars(layer).get(name, ()):
                    if isinstance(function, self._module.LowVramPatch):
                        yield function.key, function

    def _renew(self, patcher: Any, key: str) -> None:
        """Give the tensor `key` the patches of `patcher`, merged or at each forward, as the host would have."""
        path, _, name = key.rpartition(".")
        layer = self._utilities.get_attr(patcher.model, path) if path else patcher.model
        is_loaded = getattr(layer, self._names.loaded, False) is True
        can_cast = hasattr(layer, self._names.cast)
        wanted = key in patcher.patches
        # What lies on the device counts as patched on the fly even where its layer applies no functions.
        attach = wanted and (self._on_the_fly(patcher, key) if is_loaded else can_cast)
        merge = wanted and is_loaded and not attach
        device = self._utilities.get_attr(patcher.model, key).device
        self._restore(patcher, key, None if merge else device)
        self._set_function(patcher, layer, "weight_function" if name == "weight" else "bias_function", key, attach)
        if can_cast:
            self._set_cast(layer, is_loaded, patcher)
        if merge:
            patcher.patch_weight_to_device(key, device_to=device)

    def _on_the_fly(self, patcher: Any, key: str) -> bool:
        return hasattr(patcher, "use_online_lora") and bool(patcher.use_online_lora(key))

    def _restore(self, patcher: Any, key: str, device: Any) -> None:
        """Give the tensor its base back. device: where it is to lie; None where it is going to be merged anew."""
        kept = patcher.backup.get(key)
        if kept is None:
            return
        if kept.inplace_update:
            self._utilities.copy_to_param(patcher.model, key, kept.weight)
        else:
            put = getattr(self._utilities, "set_attr_param", self._utilities.set_attr)
            put(patcher.model, key, kept.weight if device is None else kept.weight.to(device))
        if device is not None:
            del patcher.backup[key]

    def _set_function(self, patcher: Any, layer: Any, name: str, key: str, attach: bool) -> None:
        kind = self._module.LowVramPatch
        before = list(getattr(layer, name, ()))
        functions = [f for f in before if not (isinstance(f, kind) and f.key == key)]
        if attach:
            _, put, convert = self._module.get_key_weight(patcher.model, key)
            converters = (convert, put) if self._takes_converters else ()
            functions.insert(0, kind(key, patcher.patches, *converters))
        if functions != before:
            setattr(layer, name, functions)  # another list: that of a layer without functions of its own is its class's

    def _set_cast(self, layer: Any, is_loaded: bool, patcher: Any) -> None:
        """Let the layer apply its functions; one that has none any more is as before, if it lies on the device."""
        cast, before = self._names.cast, f"prev_{self._names.cast}"
        if any(getattr(layer, name, ()) for name in _FUNCTIONS):
            if not hasattr(layer, before):
                setattr(layer, before, getattr(layer, cast))
            setattr(layer, cast, True)
        elif is_loaded and hasattr(layer, before) and not getattr(patcher, "force_cast_weights", False):
            setattr(layer, cast, getattr(layer, before))
            delattr(layer, before)
