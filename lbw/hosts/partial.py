"""ComfyUI-style patchers, of reForge and Forge Neo: only tensors whose patches changed are merged again.

Such a patcher has an id, `patches_uuid`, and its model has the id of the patcher that loaded it. If they differ, the
host restores every tensor and merges everything again. `PartialLoader` runs before that: it updates the tensors that
differ, with the host's own functions, and sets the id, so that there is nothing left for the host to do.

The patches of a tensor are either merged, with the base in `backup`, or added at each forward by a `LowVramPatch` in
the layer's `weight_function` or `bias_function`, if the layer did not fit into the device's memory or the patch is
marked for it. Such a function reads the table that it was made with, so a table that has been passed on is never
changed but replaced with a new one.
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
    """The names of a layer's fields.

    cast: whether its parameters are cast, and functions applied, at each forward; with the prefix `prev_`, the previous
        value. loaded: whether the host has moved it to the device, with all patches.
    """

    cast: str
    loaded: str


@dataclass(frozen=True)
class _Loaded:
    """What a model was loaded with by the host."""

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

    module: the host's, with `ModelPatcher`, `LowVramPatch` and `get_key_weight`. utilities: the host's, with functions
    that set tensors of a model.
    """

    def __init__(self, module: Any, utilities: Any, names: Names) -> None:
        self._module, self._utilities, self._names = module, utilities, names
        self._takes_converters = len(inspect.signature(module.LowVramPatch).parameters) > 2
        self._known: WeakKeyDictionary[Any, _Loaded] = WeakKeyDictionary()
        self._patch = Patch(module.ModelPatcher, "partially_load", self._partially_load)

    def close(self) -> None:
        """Restore the host's own method."""
        self._patch.remove()

    def refresh(self, patcher: Any) -> None:
        """Update the weights of the loaded `patcher` to its current patches."""
        patcher.patches_uuid = uuid.uuid4()
        if self._is_partial(patcher):
            self._update(patcher)
        else:
            # No more of the model is moved to the device than was there.
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
            # If it loads more of a model, or has failed before, the host leaves functions that it should have removed,
            # removes some that it should have left, and adds some to merged tensors.
            if self._is_ordinary(patcher):
                self._update(patcher)
        return result

    def _is_partial(self, patcher: Any, device: Any = None, extra: Any = 0, force_patch_weights: bool = False) -> bool:
        """Return whether it is known what the model was loaded with, and only the patches differ."""
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
        """Return whether the weights of `patcher` are loaded as described above, and in no other way."""
        return type(patcher).load is self._module.ModelPatcher.load and not getattr(patcher, "hook_backup", None)

    def _update(self, patcher: Any) -> None:
        """Update the tensors whose active patches differ from those of `patcher`."""
        model = patcher.model
        merged: Mapping[str, Any] = self._known[model].patches
        attached: dict[str, list[Any]] = {}
        for key, function in self._attached(model):
            attached.setdefault(key, []).append(function.patches.get(key, ()))
        # If the host fails in between, nothing may rely on what is merged.
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
        """Apply the patches of `patcher` to the tensor `key`, merged or at each forward, as the host would."""
        path, _, name = key.rpartition(".")
        layer = self._utilities.get_attr(patcher.model, path) if path else patcher.model
        is_loaded = getattr(layer, self._names.loaded, False) is True
        can_cast = hasattr(layer, self._names.cast)
        wanted = key in patcher.patches
        # Tensors on the device count as patched on the fly even if their layer applies no functions.
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
        """Restore the base of the tensor. device: where to put it; None if it will be merged again."""
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
            setattr(layer, name, functions)  # a new list: a layer without functions of its own uses its class's

    def _set_cast(self, layer: Any, is_loaded: bool, patcher: Any) -> None:
        """Make the layer apply its functions; a layer on the device without functions is reset."""
        cast, before = self._names.cast, f"prev_{self._names.cast}"
        if any(getattr(layer, name, ()) for name in _FUNCTIONS):
            if not hasattr(layer, before):
                setattr(layer, before, getattr(layer, cast))
            setattr(layer, cast, True)
        elif is_loaded and hasattr(layer, before) and not getattr(patcher, "force_cast_weights", False):
            setattr(layer, cast, getattr(layer, before))
            delattr(layer, before)
