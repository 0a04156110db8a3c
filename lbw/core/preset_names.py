"""Presets that are meant for one family of models: `NAME@flux`, of which several may share a name.

The key in a table of presets includes the model; `NAME` in a tag means the one that fits the LoRA.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from . import limits
from .architectures import ARCHITECTURES, FAMILIES
from .errors import PresetError, nearest, quote, unknown_preset
from .family import Architecture
from .texts import t

MODELS = frozenset({name for a in ARCHITECTURES.values() for name in (a.name, a.family.name, a.kind)})
"""What may follow the `@`: the name of a model or a family, or `unet` for all U-Nets."""


def split_model(name: str) -> tuple[str, str]:
    """Return a preset's name and the model that it is for, empty if it is for every model.

    An `@` that no known model follows is part of the name.
    """
    base, at, model = name.rpartition("@")
    if at and base.strip() and model.strip().lower() in MODELS:
        return base.strip(), model.strip().lower()
    return name, ""


def key_of(name: str) -> str:
    """Return `name` as a table of presets has it, with the model in lower case."""
    base, model = split_model(name)
    return f"{base}@{model}" if model else name


def misspelled_model(name: str) -> str:
    """Return the known model closest to the unknown one after the `@` of `name`, or ""."""
    base, at, model = name.rpartition("@")
    if not at or not base or split_model(name)[1]:
        return ""
    return next(iter(nearest(model, sorted(MODELS), 1)), "")


def shown_names(presets: Iterable[str]) -> list[str]:
    """Return the names that tags can use, each once, in the order of `presets`."""
    return list(dict.fromkeys(split_model(name)[0] for name in presets))


def is_for(model: str, architecture: Architecture) -> bool:
    """Tell whether a preset for `model`, empty for every model, is for `architecture`."""
    return not model or model in (architecture.name, architecture.family.name, architecture.kind)


def _keys(name: str, architecture: Architecture) -> tuple[str, ...]:
    return (f"{name}@{architecture.name}", f"{name}@{architecture.family.name}", f"{name}@{architecture.kind}", name)


def find_preset(name: str, presets: Mapping[str, str], architecture: Architecture) -> str | None:
    """Return the key in `presets` that `name` means for a LoRA of `architecture`, None if no preset has the name.

    Raises:
        PresetError: all presets of this name are for other models.
    """
    found = next((key for key in _keys(name, architecture) if key in presets), None)
    if found is None and "," not in name and (models := models_of(name, presets)):
        titles = ", ".join(_title(model) for model in models)
        theirs = {"name": quote(name), "models": titles, "model": architecture.title}
        raise PresetError(t("preset {name} is for {models}, but this LoRA is for {model}", **theirs))
    return found


def models_of(name: str, presets: Mapping[str, str]) -> list[str]:
    """Return the models that presets called `name` are for."""
    if len(name) > limits.PRESET_NAME_CHARACTERS:
        return []
    return [model for model in sorted(MODELS) if f"{name}@{model}" in presets]


def is_preset(name: str, presets: Mapping[str, str]) -> bool:
    """Tell whether `name` is the name of a preset, for whichever model."""
    return name in presets or bool(models_of(name, presets))


def check_exists(name: str, presets: Mapping[str, str]) -> None:
    """Raise the error for a preset that does not exist, for any model.

    Raises:
        PresetError: no preset has this name.
    """
    if not is_preset(name, presets):
        raise unknown_preset(name, shown_names(presets))


def variants(name: str, presets: Mapping[str, str]) -> list[str]:
    """Return the weights of every preset called `name`, for whichever model."""
    keys = [name, *(f"{name}@{model}" for model in models_of(name, presets))]
    return [presets[key] for key in keys if key in presets]


def _title(model: str) -> str:
    if model in ARCHITECTURES:
        return ARCHITECTURES[model].title
    return next((family.title for family in FAMILIES if family.name == model), model)
