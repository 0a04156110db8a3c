"""AUTOMATIC1111 1.6 to 1.10.

The host merges each layer at its next forward, whenever the tuple of (name, strengths) over `networks.loaded_networks`
differs from the tuple that the layer was merged with. A LoRA with block weights is in that list as a view: a copy of
the host's `Network` whose modules are copies that share the host's tensors and return a number of their own from
`multiplier()`. The name of a view contains the digest of its block weights, so that the host itself sees what a layer
is merged with, whatever happened in between. Layers whose multipliers have not changed are then marked as already
merged and left alone.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lbw.core.blocks import locate
from lbw.core.plan import ResolvedLora

from .base import Host, does_not_fit, not_loaded, shared_model, split_by_name
from .patch import Patch

_FUSED = ("MultiheadAttention", "QkvLinear")
_PROJECTIONS = ("_q_proj", "_k_proj", "_v_proj", "_out_proj")
_REMEMBERED = 16


class PlannedName(str):
    """The name of a LoRA with block weights: two are equal only if their multipliers are the same.

    It prints as the plain name, but is never equal to it: a layer merged without block weights is different.
    """

    digest: str

    def __new__(cls, name: str, digest: str) -> PlannedName:
        planned = super().__new__(cls, name)
        planned.digest = digest
        return planned

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlannedName) and self.digest == other.digest and str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((str(self), self.digest))


def _view(network: Any, resolved: ResolvedLora) -> Any:
    """Return a copy of `network` whose modules return the multipliers of `resolved`; tensors are shared."""
    view = copy.copy(network)
    view.name = PlannedName(network.name, resolved.digest)
    view.te_multiplier = resolved.request.te
    view.unet_multiplier = resolved.request.unet
    view.dyn_dim = resolved.request.dyn
    view.lbw_network = network
    view.lbw_file_version = resolved.file_version
    view.modules = {}
    for key, module in network.modules.items():
        multiplier = resolved.multiplier(locate(key, resolved.architecture))
        # The host merges all projections of a fused attention layer together or not at all.
        if multiplier == 0 and type(module.sd_module).__name__ not in _FUSED:
            continue
        twin = copy.copy(module)
        twin.network = view
        twin.multiplier = lambda value=multiplier: value
        view.modules[key] = twin
    return view


def _layer_keys(networks: Sequence[Any]) -> dict[str, tuple[Any, ...]]:
    """Return, by layer, what is merged into it: the file, multiplier and rank of each network."""
    keys: dict[str, list[Any]] = {}
    for network in networks:
        file = network.network_on_disk.filename, network.mtime, getattr(network, "lbw_file_version", "")
        mark = (*file, network.dyn_dim)
        for key, module in network.modules.items():
            entry = (*mark, key, module.multiplier())
            keys.setdefault(key, []).append(entry)
            for projection in _PROJECTIONS:
                if key.endswith(projection):
                    keys.setdefault(key[: -len(projection)], []).append(entry)
    return {layer: tuple(entries) for layer, entries in keys.items()}


def _names(networks: Sequence[Any]) -> tuple[Any, ...]:
    """Return the tuple that tells the host what a layer is merged with."""
    return tuple((n.name, n.te_multiplier, n.unet_multiplier, n.dyn_dim) for n in networks)


def _is_planned(names: tuple[Any, ...]) -> bool:
    """Return whether any LoRA merged into a layer has block weights."""
    return any(isinstance(name, PlannedName) for name, *_ in names)


def guarded(merge: Callable[[Any], Any], layer: Any) -> Any:
    """Let the host `merge` a layer; if that fails halfway, mark it as merged with something unknown.

    Otherwise the host would consider it untouched and never restore its base weights.
    """
    try:
        return merge(layer)
    except BaseException:
        if layer.__dict__.get("network_weights_backup") is not None:
            layer.network_current_names = (("interrupted",),)
        raise


class A1111Host(Host):
    """AUTOMATIC1111's `extensions-builtin/Lora`."""

    title = "AUTOMATIC1111"

    def __init__(self, networks: Any) -> None:
        super().__init__(networks)
        self._originals: list[Any] = []
        self._views: list[Any] = []
        self._made_from: tuple[Any, ...] = ()
        self._merged: OrderedDict[tuple[Any, ...], dict[str, tuple[Any, ...]]] = OrderedDict()
        self._patch = Patch(networks, "network_apply_weights", guarded)

    def model(self) -> Any:
        return shared_model()

    def tensors(self) -> Mapping[str, tuple[int, ...]]:
        model = self.model()
        layers = getattr(model, "network_layer_mapping", None)
        if layers is None:
            self.networks.assign_network_names_to_compvis_modules(model)
            layers = model.network_layer_mapping
        # The mapping has every module; those that only contain others are not layers.
        weights = {name: layer._parameters.get("weight") for name, layer in layers.items() if layer._parameters}
        return {
            f"{name}.weight" if weight is not None else name: tuple(weight.shape) if weight is not None else ()
            for name, weight in weights.items()
        }

    def before(self) -> None:
        """Put the host's own networks back into its list, where it looks for networks that are already loaded."""
        loaded = self.networks.loaded_networks
        loaded[:] = [getattr(network, "lbw_network", network) for network in loaded]

    def forget(self, filename: str) -> None:
        """Drop the networks of that file from the host's cache; the host itself only notices newer files."""
        loaded, kept = self.networks.loaded_networks, self.networks.networks_in_memory
        loaded[:] = [network for network in loaded if network.network_on_disk.filename != filename]
        for name in [name for name, network in kept.items() if network.network_on_disk.filename == filename]:
            del kept[name]

    def apply(self, loras: Sequence[ResolvedLora]) -> list[str]:
        loaded = self.networks.loaded_networks
        self.before()
        originals = list(loaded)
        waiting = split_by_name(loras)
        problems = []
        pairs: list[tuple[Any, ResolvedLora | None]] = []
        for network in originals:
            own = waiting.get(network.mentioned_name) or waiting.get(network.name) or [None]
            resolved = own.pop(0)
            pairs.append((network, resolved))
            if resolved is not None and not network.modules and not network.bundle_embeddings:
                path = str(network.network_on_disk.filename)
                problems.append(does_not_fit(resolved.request.name, resolved.architecture, path))
        for name, left in waiting.items():
            problems += [not_loaded(name) for _ in left[:1]]
        made_from = tuple((id(n), r and (r.digest, r.is_plain, r.request.dyn)) for n, r in pairs)
        if made_from != self._made_from or any(a is not b for a, b in zip(originals, self._originals)):
            twice = len(set(map(id, originals))) < len(originals)
            self._views = [
                network
                if resolved is None or (resolved.is_plain and not twice)
                else self._known_view(network, resolved)
                for network, resolved in pairs
            ]
            self._originals, self._made_from = originals, made_from
        loaded[:] = self._views
        self._mark()
        return problems

    def switch(self, loras: Sequence[ResolvedLora]) -> None:
        self.apply(loras)

    def _known_view(self, network: Any, resolved: ResolvedLora) -> Any:
        """Return the view of `network` for `resolved`, reusing the active one if it is the same."""
        for view in self._views:
            if (
                getattr(view, "lbw_network", None) is network
                and view.name.digest == resolved.digest
                and view.dyn_dim == resolved.request.dyn
            ):
                return view
        return _view(network, resolved)

    def _mark(self) -> None:
        """Mark the layers whose merged weights already match the active networks.

        Nothing is done between two prompts without block weights.
        """
        loaded = self.networks.loaded_networks
        wanted = _names(loaded)
        if not any(map(_is_planned, (wanted, next(reversed(self._merged), ())))):
            return
        if self._merged and next(reversed(self._merged)) == wanted:
            return
        new = _layer_keys(loaded)
        self._merged[wanted] = new
        self._merged.move_to_end(wanted)
        while len(self._merged) > _REMEMBERED:
            self._merged.popitem(last=False)
        for name, layer in getattr(self.model(), "network_layer_mapping", {}).items():
            current = layer.__dict__.get("network_current_names", ())
            if current == () or current == wanted:
                continue
            old = self._merged.get(current)
            if old is not None and old.get(name) == new.get(name) and wanted != ():
                layer.network_current_names = wanted

    def close(self) -> None:
        self.before()
        self._patch.remove()
        self._views, self._originals, self._made_from = [], [], ()
        self._merged.clear()
