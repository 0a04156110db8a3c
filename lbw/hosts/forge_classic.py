"""reForge, Forge Classic and older Forge: the hosts that keep all LoRAs' patches in one list a tensor.

`patcher.patches` is `{tensor: [(strength, patch, …), …]}`. Which LoRA an entry belongs to can be known only
while it is added, so the host's `load_lora_for_models` is wrapped to count what each file adds. Then a clone
of the patcher is made whose entries carry our multipliers; what the host made is kept untouched beside it.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lbw.core.blocks import locate
from lbw.core.plan import ResolvedLora

from .base import Host, does_not_fit, parameters_of, put_on, shared_model
from .patch import Patch

Patches = dict[str, list[Any]]


@dataclass(frozen=True)
class Added:
    """How many entries one LoRA file added to each tensor."""

    filename: str
    unet: Mapping[str, int]
    clip: Mapping[str, int]


def _difference(before: Patches, after: Patches) -> dict[str, int]:
    counts = {key: len(entries) - len(before.get(key, ())) for key, entries in after.items()}
    return {key: count for key, count in counts.items() if count}


def plan_patches(pristine: Patches, owners: Sequence[tuple[Mapping[str, int], ResolvedLora | None]]) -> Patches:
    """Return `pristine` with each owner's multipliers as the strengths of its entries; zeros are left out.

    owners: in the order in which they added entries, how many to which tensor, and what was asked for; None for
        a LoRA that no tag named.
    """
    result: Patches = {}
    for key, entries in pristine.items():
        place = 0
        kept: list[Any] = []
        for counts, resolved in owners:
            own = entries[place : place + counts.get(key, 0)]
            place += len(own)
            if resolved is None:
                kept += own
                continue
            multiplier = resolved.multiplier(locate(key, resolved.architecture)) if own else 0.0
            if multiplier != 0:
                kept += [(multiplier, *entry[1:]) for entry in own]
        kept += entries[place:]
        if kept:
            result[key] = kept
    return result


def _inner(owner: Any) -> Any:
    """Return the patcher of `owner`, which is one, or a CLIP that holds one."""
    return getattr(owner, "patcher", owner)


def _pristine(owner: Any) -> Any:
    """Return what the host made, where `owner` is our clone of it."""
    return getattr(owner, "lbw_pristine", owner)


def replace(owner: Any, owners: Sequence[tuple[Mapping[str, int], ResolvedLora | None]]) -> Any:
    """Return `owner` with block weights: itself if it has them already, what the host made if there are none."""
    pristine = _pristine(owner)
    if pristine is None or all(resolved is None or resolved.is_plain for _, resolved in owners):
        return pristine
    patches = plan_patches(_inner(pristine).patches, owners)
    # What the host made is never switched: a LoRA that stops at some step needs a clone though nothing differs yet.
    if owner is not pristine and _same_patches(_inner(owner).patches, patches):
        return owner
    ours = pristine.clone()
    _inner(ours).patches = patches
    if hasattr(_inner(ours), "patches_uuid"):
        _inner(ours).patches_uuid = uuid.uuid4()
    ours.lbw_pristine = pristine
    return ours


class ForgeClassicHost(Host):
    """Hosts with `ldm_patched`."""

    title = "Forge"

    def __init__(self, networks: Any) -> None:
        super().__init__(networks)
        self._calls: list[Added] = []
        self._patch = Patch(networks, "load_lora_for_models", self._load)

    def _load(
        self,
        original: Callable[..., Any],
        model: Any,
        clip: Any,
        lora: Any,
        strength_model: float,
        strength_clip: float,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Let the host load a LoRA, and note what it has added."""
        new_model, new_clip = original(model, clip, lora, strength_model, strength_clip, *args, **kwargs)
        filename = kwargs.get("filename", args[0] if args else "default")
        unet = _difference(model.patches, new_model.patches) if model is not None else {}
        text = _difference(clip.patcher.patches, new_clip.patcher.patches) if clip is not None else {}
        self._calls.append(Added(str(filename), unet, text))
        return new_model, new_clip

    def model(self) -> Any:
        return shared_model()

    def tensors(self) -> Mapping[str, tuple[int, ...]]:
        return parameters_of(self.model().forge_objects)

    def before(self) -> None:
        self._calls = []

    def apply(self, loras: Sequence[ResolvedLora]) -> list[str]:
        model = self.model()
        applied = getattr(model, "forge_objects_after_applying_lora", None)
        if applied is None:
            return []
        if self._calls:
            # The host has just made these patchers; where it has not, they still carry what they were made of.
            applied.unet.lbw_added = self._calls
        owners = self._owners(applied, loras)
        put_on(
            model,
            {
                "unet": replace(applied.unet, [(added.unet, resolved) for added, resolved in owners]),
                "clip": replace(applied.clip, [(added.clip, resolved) for added, resolved in owners]),
            },
        )
        return [
            does_not_fit(resolved.request.name, resolved.architecture)
            for added, resolved in owners
            if resolved is not None and not added.unet and not added.clip
        ]

    def _owners(self, applied: Any, loras: Sequence[ResolvedLora]) -> list[tuple[Added, ResolvedLora | None]]:
        """Return what each file added, in the order in which it did, with the tag that asked for it."""
        waiting = [(self.find(resolved.request.name), resolved) for resolved in loras]
        owners: list[tuple[Added, ResolvedLora | None]] = []
        for added in getattr(_pristine(applied.unet), "lbw_added", ()):
            place = next((i for i, (filename, _) in enumerate(waiting) if filename == added.filename), None)
            owners.append((added, None if place is None else waiting.pop(place)[1]))
        return owners

    def switch(self, loras: Sequence[ResolvedLora]) -> None:
        model = self.model()
        applied = model.forge_objects_after_applying_lora
        pristine = _pristine(applied.unet)
        sampling = model.forge_objects.unet
        if sampling is pristine:
            return
        owners = self._owners(applied, loras)
        wanted = plan_patches(pristine.patches, [(added.unet, resolved) for added, resolved in owners])
        keys = [
            key
            for key in sampling.patches.keys() | wanted.keys()
            if not _same_patches({key: sampling.patches.get(key, [])}, {key: wanted.get(key, [])})
        ]
        try:
            _merge_anew(sampling, wanted, keys)
        except BaseException:
            # The host takes a patcher that it has loaded for merged: the next picture needs another one.
            put_on(model, {"unet": pristine})
            raise

    def close(self) -> None:
        model = self.model()
        applied = getattr(model, "forge_objects_after_applying_lora", None)
        if applied is not None:
            put_on(model, {"unet": _pristine(applied.unet), "clip": _pristine(applied.clip)})
        self._patch.remove()


def _same_patches(a: Patches, b: Patches) -> bool:
    """Tell whether two tables of patches hold the same strengths for the same patches."""
    if a.keys() != b.keys():
        return False
    return all(
        len(a[key]) == len(b[key]) and all(x[0] == y[0] and x[1] is y[1] for x, y in zip(a[key], b[key])) for key in a
    )


def _merge_anew(patcher: Any, wanted: Patches, keys: Sequence[str]) -> None:
    """Let the host undo and merge the tensors `keys` of the loaded `patcher`, so that it holds the patches `wanted`."""
    utils = sys.modules["ldm_patched.modules.utils"]
    by_tensor = hasattr(patcher, "patch_weight_to_device")
    devices = {}
    for key in keys:
        if key not in patcher.backup:
            continue
        kept = patcher.backup.pop(key) if by_tensor else patcher.backup[key]
        weight = getattr(kept, "weight", kept)
        device = devices[key] = utils.get_attr(patcher.model, key).device
        if getattr(kept, "inplace_update", getattr(patcher, "weight_inplace_update", False)):
            utils.copy_to_param(patcher.model, key, weight)
        else:
            set_weight = getattr(utils, "set_attr_param", utils.set_attr)
            set_weight(patcher.model, key, weight.to(device))
    if by_tensor:
        # Weights that do not fit on the device are merged when they are used, from this same dictionary.
        patcher.patches.clear()
        patcher.patches.update(wanted)
        loaded = not patcher.model.model_lowvram
        for key in keys:
            if key in wanted and (key in devices or loaded):
                patcher.patch_weight_to_device(key, device_to=devices.get(key))
        # By this mark the host tells whether what is merged is what a patcher wants: other clones must not take it.
        patcher.patches_uuid = patcher.model.current_weight_patches_uuid = uuid.uuid4()
        return
    patcher.patches = {key: wanted[key] for key in keys if key in wanted}
    try:
        patcher.patch_model(device_to=None)
    finally:
        patcher.patches = wanted
