"""What hosts with one list of patches per tensor, for all LoRAs, have in common.

Which LoRA an entry belongs to is only known while it is added, so the host's `load_lora_for_models` is wrapped to count
what each file adds. Then a clone of the patcher is made whose entries have our multipliers; the host's own patcher is
kept unchanged beside it.
"""

from __future__ import annotations

import operator
import uuid
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lbw.core.blocks import locate
from lbw.core.plan import ResolvedLora

from .base import Host, does_not_fit, inner, not_loaded, parameters_of, pristine_of, put_on, shared_model
from .entries import Added, Counts, Table, counts_of, difference, plan_table, same_table, with_strangers
from .patch import Patch

Owners = Sequence[tuple[Mapping[str, Counts], ResolvedLora | None]]  # what was added by table, and for which tag


@dataclass(frozen=True)
class _Call:
    """A call of `load_lora_for_models`: denoiser and text encoders as passed and as returned."""

    added: Added
    given: tuple[Any, ...]
    loaded: tuple[Any, ...]


class ListsHost(Host):
    """A host of the Forge family. tables: the fields of its patchers with entries."""

    tables: tuple[str, ...] = ("patches",)

    def __init__(self, networks: Any) -> None:
        super().__init__(networks)
        self._calls: list[_Call] | None = None  # of the current activation
        self._patch = Patch(networks, "load_lora_for_models", self._load)

    @abstractmethod
    def merge(self, patcher: Any, wanted: Mapping[str, dict[str, list[Any]]]) -> None:
        """Set the entries `wanted`, by table, on the loaded `patcher` and the weights."""

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
        """Let the host load a LoRA, and record what it has added."""
        names = tuple(map(str, lora))
        before = [counts_of(inner(owner), self.tables) for owner in (model, clip)]
        loaded = original(model, clip, lora, strength_model, strength_clip, *args, **kwargs)
        added = [difference(old, counts_of(inner(owner), self.tables)) for old, owner in zip(before, loaded)]
        filename = str(kwargs.get("filename", args[0] if args else "default"))
        if self._calls is not None:
            self._calls.append(_Call(Added(filename, *added, names), (model, clip), tuple(loaded)))
        return loaded

    def model(self) -> Any:
        model = shared_model()
        return (
            model if hasattr(model, "forge_objects") else None
        )  # before the first picture there may be only a placeholder

    def tensors(self) -> Mapping[str, tuple[int, ...]]:
        return parameters_of(self.model().forge_objects)

    def before(self) -> None:
        self._calls = []

    def apply(self, loras: Sequence[ResolvedLora]) -> list[str]:
        model = self.model()
        applied = getattr(model, "forge_objects_after_applying_lora", None)
        calls, self._calls = self._calls or [], None
        if applied is None:
            return []
        if made_by := _calls_that_made(applied, calls):
            # The host has just made these patchers; if not, they still record what they were made from.
            applied.unet.lbw_added = [call.added for call in made_by]
        owners, left = self._owners(applied, loras)
        put_on(
            model,
            {
                "unet": self._replaced(applied.unet, [(added.unet, resolved) for added, resolved in owners]),
                "clip": self._replaced(applied.clip, [(added.clip, resolved) for added, resolved in owners]),
            },
        )
        problems = [text for added, resolved in owners if resolved is not None for text in _problems(added, resolved)]
        return problems + [not_loaded(resolved.request.name) for resolved in left]

    def _owners(
        self, applied: Any, loras: Sequence[ResolvedLora]
    ) -> tuple[list[tuple[Added, ResolvedLora | None]], list[ResolvedLora]]:
        """Return what each file added, in order, with the tag that asked for it; and the other tags."""
        waiting = [(self.find(resolved.request.name), resolved) for resolved in loras]
        owners: list[tuple[Added, ResolvedLora | None]] = []
        for added in getattr(pristine_of(applied.unet), "lbw_added", ()):
            index = next((i for i, (filename, _) in enumerate(waiting) if filename == added.filename), None)
            owners.append((added, None if index is None else waiting.pop(index)[1]))
        return owners, [resolved for _, resolved in waiting]

    def _replaced(self, owner: Any, owners: Owners) -> Any:
        """Return `owner` with block weights: itself if it has them, the host's object if there are none."""
        pristine = pristine_of(owner)
        if pristine is None or all(resolved is None or resolved.is_plain for _, resolved in owners):
            return pristine
        planned = self._planned(pristine, owners)
        # The host's own patcher is never switched: a LoRA with a stop needs a clone although nothing differs yet.
        if owner is not pristine and all(same_table(getattr(inner(owner), name), own) for name, own in planned.items()):
            return owner
        ours = pristine.clone()
        for name, own in planned.items():
            setattr(inner(ours), name, own)
        if hasattr(inner(ours), "patches_uuid"):
            inner(ours).patches_uuid = uuid.uuid4()
        ours.lbw_pristine = pristine
        return ours

    def _planned(self, pristine: Any, owners: Owners) -> dict[str, dict[str, list[Any]]]:
        """Return the host's entries, by table, with the multipliers of each entry's owner."""
        return {
            name: plan_table(getattr(inner(pristine), name), [(added.get(name, {}), r) for added, r in owners])
            for name in self.tables
        }

    def switch(self, loras: Sequence[ResolvedLora]) -> None:
        model = self.model()
        applied = model.forge_objects_after_applying_lora
        pristine = pristine_of(applied.unet)
        sampling = model.forge_objects.unet
        if sampling is pristine:
            return
        owners, _ = self._owners(applied, loras)
        planned = self._planned(pristine, [(added.unet, resolved) for added, resolved in owners])
        # The denoiser's patcher may be a clone that another extension has made of ours, with patches of its own.
        was_planned: Mapping[str, Table] = getattr(sampling, "lbw_planned", None) or vars(applied.unet)
        wanted = {
            name: with_strangers(own, was_planned[name], getattr(sampling, name)) for name, own in planned.items()
        }
        try:
            self.merge(sampling, wanted)
        except BaseException:
            # The host may assume that a loaded patcher is merged: the next picture needs a new one.
            put_on(model, {"unet": pristine})
            raise
        sampling.lbw_planned = planned

    def close(self) -> None:
        model = self.model()
        applied = getattr(model, "forge_objects_after_applying_lora", None)
        if applied is not None:
            put_on(model, {"unet": pristine_of(applied.unet), "clip": pristine_of(applied.clip)})
        self._patch.remove()


def _calls_that_made(applied: Any, calls: Sequence[_Call]) -> list[_Call]:
    """Return those of `calls` that led to the patchers of `applied`; other extensions may load LoRAs for their own."""
    owners, chain = (applied.unet, applied.clip), []
    for call in reversed(calls):
        if all(map(operator.is_, call.loaded, owners)):
            chain.insert(0, call)
            owners = call.given
    return chain


def _problems(added: Added, resolved: ResolvedLora) -> list[str]:
    """Return messages for a LoRA if the host has dropped all of it, or all of its tensors for the denoiser."""
    name, architecture = resolved.request.name, resolved.architecture
    if not added.unet and not added.clip and (resolved.request.te or resolved.request.unet):
        return [does_not_fit(name, architecture, added.filename)]
    if not added.unet and resolved.request.unet and any(locate(key, architecture).encoder == 0 for key in added.names):
        return [does_not_fit(name, architecture, added.filename, of_denoiser=True)]
    return []
