"""What the rest of the program needs from a host, and what all WebUI hosts have in common."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from lbw.core.detect import detect_lora, detect_model
from lbw.core.errors import FileError, quote
from lbw.core.family import Architecture
from lbw.core.plan import ResolvedLora
from lbw.core.texts import t
from lbw.files.header import read_header


class Host(ABC):
    """A WebUI whose LoRA code accepts multipliers.

    For each activation: `find` for every tag, `before`, `forget` for files that changed, the host's own activation,
    `apply`. During sampling, `switch` whenever a LoRA starts or stops being active. `close` restores the host.
    """

    title: str

    def __init__(self, networks: Any) -> None:
        self.networks = networks
        self._architectures: WeakKeyDictionary[Any, Architecture | None] = WeakKeyDictionary()

    @abstractmethod
    def model(self) -> Any:
        """Return the loaded model, as an object with the same lifetime; None if none is loaded."""

    @abstractmethod
    def tensors(self) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of the loaded model's tensors by name."""

    @abstractmethod
    def before(self) -> None:
        """Prepare for the host's own activation: it must find what its last one left."""

    @abstractmethod
    def apply(self, loras: Sequence[ResolvedLora]) -> list[str]:
        """Make the host scale the LoRAs that it has activated by the multipliers of `loras`, in prompt order.

        Only touches tensors whose multiplier has changed. Returns a message for each LoRA that was not loaded or does
        not fit.
        """

    @abstractmethod
    def switch(self, loras: Sequence[ResolvedLora]) -> None:
        """Like `apply`, for the denoiser that is currently sampling."""

    @abstractmethod
    def close(self) -> None:
        """Undo what was changed in the host."""

    def forget(self, filename: str) -> None:
        """Make the host read a LoRA's file again at its next activation, because it was replaced.

        The Forge family does nothing if the names and strengths are the same as last time, and caches what it has
        read.
        """
        model = self.model()
        if hasattr(model, "current_lora_hash"):
            model.current_lora_hash = "[another file]"
        load = getattr(self.networks, "load_lora_state_dict", None)
        while load is not None and not hasattr(load, "cache_clear"):
            load = getattr(load, "__wrapped__", None)  # inside the wrappers of others
        if load is not None:
            load.cache_clear()

    def load(self) -> None:
        """Let the WebUI load its selected model, if it has not yet."""
        sd_models = sys.modules.get("modules.sd_models")
        if hasattr(sd_models, "forge_model_reload"):
            sd_models.forge_model_reload()  # type: ignore[union-attr]
        else:
            getattr(sys.modules.get("modules.shared"), "sd_model", None)  # a property that loads the model

    def architecture(self) -> Architecture | None:
        """Return the loaded model's architecture, None if it is unknown."""
        model = self.model()
        if model is None:
            return None
        if model not in self._architectures:
            self._architectures[model] = detect_model(self.tensors())
        return self._architectures[model]

    def lora_files(self) -> dict[str, str]:
        """Return the files of all LoRAs that the host knows, by name."""
        return {str(name): str(entry.filename) for name, entry in list(self.networks.available_networks.items())}

    def find(self, name: str) -> str | None:
        """Return the file of the LoRA that a tag calls `name`, None if the host knows none."""
        networks = self.networks
        for refresh in (None, "update_available_networks_by_names", "list_available_networks"):
            if refresh == "update_available_networks_by_names" and hasattr(networks, refresh):
                networks.update_available_networks_by_names([name])
            elif refresh == "list_available_networks":
                networks.list_available_networks()
            forbidden = name.lower() in networks.forbidden_network_aliases
            known = networks.available_networks if forbidden else networks.available_network_aliases
            if known.get(name) is not None:
                return str(known[name].filename)
        return None


def shared_model() -> Any:
    """Return the WebUI's loaded model, without loading one; None if none is loaded."""
    sd_models = sys.modules.get("modules.sd_models")
    data = getattr(sd_models, "model_data", None)
    return getattr(data, "sd_model", None)


def parameters_of(objects: Any) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters of denoiser and text encoders in a Forge host's `forge_objects`."""
    models = [objects.unet.model, getattr(objects.clip, "cond_stage_model", None)]
    return {
        name: tuple(parameter.shape)
        for model in models
        if model is not None
        for name, parameter in model.named_parameters()
    }


def put_on(model: Any, owners: Mapping[str, Any]) -> None:
    """Set patchers with LoRAs on `model`, of a Forge host, for this pass and the next, unless they are set already."""
    applied = model.forge_objects_after_applying_lora
    if all(getattr(applied, side) is owner for side, owner in owners.items()):
        return
    applied = applied.shallow_copy()
    for side, owner in owners.items():
        setattr(applied, side, owner)
    model.forge_objects_after_applying_lora = applied
    model.forge_objects = applied.shallow_copy()


def inner(owner: Any) -> Any:
    """Return the patcher of `owner`, which is a patcher or a CLIP that has one."""
    return getattr(owner, "patcher", owner)


def pristine_of(owner: Any) -> Any:
    """Return the host's object if `owner` is our clone of it."""
    return getattr(owner, "lbw_pristine", owner)


def does_not_fit(name: str, architecture: Architecture, path: str = "", of_denoiser: bool = False) -> str:
    """Return the message for a LoRA none of whose tensors, or none of those `of_denoiser`, exist in the loaded model.

    path: of its file, whose header may tell the model that it is for.
    """
    part = t("its part for the denoiser has no effect") if of_denoiser else t("it has no effect")
    message = t(
        "LoRA {name} does not fit the loaded model ({model}): {part}",
        name=quote(name),
        model=architecture.title,
        part=part,
    )
    try:
        header = read_header(path) if path.endswith(".safetensors") else None
    except FileError:
        header = None
    own = detect_lora(header.shapes, header.metadata).architecture if header else None
    if own is None or own.family is architecture.family:
        return message
    return t("{message}; it is for {model}", message=message, model=own.title)


def not_loaded(name: str) -> str:
    """Return the message for a LoRA whose file the host could not load."""
    return t("LoRA {name} could not be loaded: see the console", name=quote(name))


def bypass() -> str:
    """Return the kind of the loaded model if a Forge host merges LoRAs into it in its own way, otherwise ""."""
    arguments = getattr(sys.modules.get("backend.args"), "dynamic_args", {})
    if arguments.get("nunchaku"):
        return "nunchaku"
    return "int8" if str(arguments.get("ops") or "").endswith("Int8") else ""


def bypassed(title: str, kind: str, loras: Iterable[ResolvedLora]) -> list[str]:
    """Return a message for each of `loras` with block weights, which have no effect on a model of `kind`."""
    return [
        t(
            "LoRA {name} is applied without block weights: {webui} merges LoRAs into {kind} models by itself and "
            "supports no multipliers there",
            name=quote(lora.request.name),
            webui=title,
            kind=kind,
        )
        for lora in loras
        if not lora.is_plain
    ]


def split_by_name(loras: Iterable[ResolvedLora]) -> dict[str, list[ResolvedLora]]:
    """Return `loras` by the name that their tags use, each list in prompt order."""
    result: dict[str, list[ResolvedLora]] = {}
    for lora in loras:
        result.setdefault(lora.request.name, []).append(lora)
    return result
