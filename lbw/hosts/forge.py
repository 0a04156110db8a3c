"""Forge, and Forge Neo up to 2025-10.

On a clone of each model's patcher the host keeps `lora_patches`: for each LoRA file an identifier (file, strength, …)
and its patches, each of which begins with its strength. Its loader merges when the text of the list of identifiers has
changed. Here those patches are copied with our multiplier as the strength, under an identifier that contains the digest
of the block weights, and set on a clone of the patcher; the host's own patcher is kept unchanged beside it.

At each change the host's loader restores and merges every tensor. It is wrapped so that it does so only for tensors
whose patches differ from the merged ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from lbw.core.blocks import locate
from lbw.core.plan import ResolvedLora

from .base import Host, bypass, bypassed, does_not_fit, inner, parameters_of, pristine_of, put_on, shared_model
from .entries import same
from .patch import Patch

Identifier = tuple[Any, ...]
Patches = dict[str, list[Any]]
LoraPatches = dict[Identifier, Patches]


def weighted(patches: Patches, resolved: ResolvedLora) -> Patches:
    """Return `patches` with the multipliers of `resolved` as their strengths; those at zero are omitted."""
    result: Patches = {}
    for key, entries in patches.items():
        multiplier = resolved.multiplier(locate(key, resolved.architecture))
        if multiplier != 0:
            result[key] = [type(entry)((multiplier, *entry[1:])) for entry in entries]
    return result


def plan_patches(pristine: LoraPatches, loras: Sequence[tuple[str, ResolvedLora]], encoder: bool) -> LoraPatches:
    """Return the host's `lora_patches` with block weights.

    pristine: as the host made them. loras: file and request of each tag, in prompt order. encoder: whether these
        are the patches of the text encoders, not of the denoiser. In the host, tags with the same file and strength
        share an entry; here each gets its own.
    """
    result: LoraPatches = {}
    for identifier, patches in pristine.items():
        filename, strength = identifier[0], identifier[1]
        own = [r for f, r in loras if f == filename and (r.request.te if encoder else r.request.unet) == strength]
        if (len(own) == 1 and own[0].is_plain) or not own:
            result[identifier] = patches
            continue
        for index, resolved in enumerate(own):
            entry = weighted(patches, resolved)
            digest = resolved.encoder_digest if encoder else resolved.digest
            if entry:
                result[(f"{filename} [{index} {digest}]", *identifier[1:])] = entry
    return result


def replace(owner: Any, loras: Sequence[tuple[str, ResolvedLora]], encoder: bool) -> Any:
    """Return `owner` with block weights: itself if it has them already, the host's object if there are none."""
    pristine = pristine_of(owner)
    if pristine is None:
        return None
    wanted = plan_patches(inner(pristine).lora_patches, loras, encoder)
    if list(wanted) == list(inner(owner).lora_patches):
        return owner
    if list(wanted) == list(inner(pristine).lora_patches):
        return pristine
    ours = pristine.clone()
    inner(ours).lora_patches = wanted
    ours.lbw_pristine = pristine
    return ours


class ForgeHost(Host):
    """Forge's `extensions-builtin/sd_forge_lora` with `backend.patcher`."""

    title = "Forge"

    def __init__(self, networks: Any, lora: Any) -> None:
        super().__init__(networks)
        self._loader = PartialRefresh(lora.LoraLoader)

    def model(self) -> Any:
        model = shared_model()
        return (
            model if hasattr(model, "forge_objects") else None
        )  # before the first picture there is only a placeholder

    def tensors(self) -> Mapping[str, tuple[int, ...]]:
        return parameters_of(self.model().forge_objects)

    def before(self) -> None:
        """Nothing to do: the host's own patchers are unchanged."""

    def apply(self, loras: Sequence[ResolvedLora]) -> list[str]:
        model = self.model()
        applied = getattr(model, "forge_objects_after_applying_lora", None)
        if applied is None:
            return []
        tags = self._with_files(loras)
        put_on(model, {"unet": replace(applied.unet, tags, False), "clip": replace(applied.clip, tags, True)})
        return self._problems(applied, tags)

    def switch(self, loras: Sequence[ResolvedLora]) -> None:
        model = self.model()
        applied = model.forge_objects_after_applying_lora.unet
        pristine = pristine_of(applied)
        sampling = model.forge_objects.unet
        if sampling is pristine:
            return
        planned = plan_patches(pristine.lora_patches, self._with_files(loras), encoder=False)
        # The denoiser's patcher may be a clone that another extension has made of ours, with patches of its own.
        was_planned = getattr(sampling, "lbw_planned", None) or applied.lora_patches
        strangers = {own: patches for own, patches in sampling.lora_patches.items() if own not in was_planned}
        sampling.lora_patches, sampling.lbw_planned = {**planned, **strangers}, planned
        try:
            sampling.refresh_loras()
        except BaseException:
            # The host assumes that a loaded patcher is merged: the next picture needs a new one.
            put_on(model, {"unet": pristine})
            raise

    def _with_files(self, loras: Sequence[ResolvedLora]) -> list[tuple[str, ResolvedLora]]:
        return [(self.find(resolved.request.name) or "", resolved) for resolved in loras]

    def _problems(self, applied: Any, tags: Sequence[tuple[str, ResolvedLora]]) -> list[str]:
        """Return messages for LoRAs that had no effect on the model."""
        if kind := bypass():
            return bypassed(self.title, kind, [resolved for _, resolved in tags])
        owners = [pristine_of(owner) for owner in (applied.unet, applied.clip) if owner is not None]
        # The host may use names of previously loaded models, and makes an entry without patches.
        loaded = {entry[0] for owner in owners for entry, patches in inner(owner).lora_patches.items() if patches}
        return [does_not_fit(r.request.name, r.architecture, f) for f, r in tags if f not in loaded]

    def close(self) -> None:
        model = self.model()
        applied = getattr(model, "forge_objects_after_applying_lora", None)
        if applied is not None:
            put_on(model, {"unet": pristine_of(applied.unet), "clip": pristine_of(applied.clip)})
        self._loader.close()


class PartialRefresh:
    """Wraps `LoraLoader.refresh`, so that the host restores and merges only tensors whose patches changed."""

    def __init__(self, loader_class: Any) -> None:
        self._merged: WeakKeyDictionary[Any, tuple[str, dict[Any, tuple[Any, ...]]]] = WeakKeyDictionary()
        self._patch = Patch(loader_class, "refresh", self._refresh)

    def close(self) -> None:
        self._patch.remove()

    def _refresh(
        self, original: Callable[..., Any], loader: Any, lora_patches: LoraPatches, *args: Any, **kwargs: Any
    ) -> Any:
        wanted_hash = str(list(lora_patches.keys()))
        if wanted_hash == loader.loaded_hash and not kwargs.get("force_refresh") and len(args) < 2:
            return original(loader, lora_patches, *args, **kwargs)
        wanted = signature(lora_patches)
        known_hash, merged = self._merged.pop(loader, ("", {}))
        online = any(identifier[3] for identifier in lora_patches) or bool(loader.online_backup)
        whole = known_hash != loader.loaded_hash or online or kwargs.get("force_refresh") or len(args) >= 2
        # If the host fails in between, the next refresh must not believe that the right patches are merged.
        loader.loaded_hash = "interrupted"
        if whole:
            result = original(loader, lora_patches, *args, **kwargs)
        else:
            touched = {
                key for key in merged.keys() | wanted.keys() if not same(merged.get(key, ()), wanted.get(key, ()))
            }
            with only(loader, touched):
                result = original(loader, {i: restricted(p, touched) for i, p in lora_patches.items()}, *args, **kwargs)
        loader.loaded_hash = wanted_hash
        self._merged[loader] = (loader.loaded_hash, wanted)
        return result


@contextmanager
def only(loader: Any, touched: Set[Any]) -> Iterator[None]:
    """Let the host's loader restore only the tensors `touched`; the others are hidden from it."""
    kept = {key: weight for key, weight in loader.backup.items() if key not in touched}
    loader.backup = {key: weight for key, weight in loader.backup.items() if key in touched}
    try:
        yield
    finally:
        loader.backup = {**kept, **loader.backup}


def restricted(patches: Patches, touched: Set[Any]) -> Patches:
    """Return those of `patches` that are for the tensors `touched`."""
    return {key: entries for key, entries in patches.items() if key in touched}


def signature(lora_patches: LoraPatches) -> dict[str, tuple[Any, ...]]:
    """Return, by tensor, what should be merged into it: strengths and patches."""
    result: dict[str, list[Any]] = {}
    for patches in lora_patches.values():
        for key, entries in patches.items():
            result.setdefault(key, []).extend(tuple(entry) for entry in entries)
    return {key: tuple(entries) for key, entries in result.items()}
