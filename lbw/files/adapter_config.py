"""What PEFT and diffusers store beside the tensors of a LoRA: alpha, rsLoRA, the form of an OFT rotation.

PEFT writes `adapter_config.json` beside the tensors, diffusers a copy of it into the file's metadata, under
`lora_adapter_metadata`, with the component before each name ("transformer.r"). Neither writes alpha as a tensor.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lbw.core.texts import t

CONFIG_NAME = "adapter_config.json"
METADATA_KEY = "lora_adapter_metadata"
_Number = TypeVar("_Number", int, float)
_MOST_BYTES = 4 << 20
_COMPONENT = re.compile(r"^(unet|transformer(?:_2)?|text_encoder(?:_[23])?)\.", re.ASCII)
_LITERAL = re.compile(r"^\^?((?:[\w-]|\\?\.)+)\$?$", re.ASCII)
# Initializations that change the model: the file's change is relative to that model, not to the user's.
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq")


class ConfigError(ValueError):
    """A configuration that is not valid; its text completes a sentence that begins with what was read."""


@dataclass(frozen=True)
class AdapterConfig:
    """The part of PEFT's configuration that affects the computed change.

    source: where it was found, for messages. type: PEFT's, "LORA", "LOHA", "LOKR", "OFT" …. rank, alpha: of all
    modules except those in the patterns, whose keys are endings of module names. rotation_terms: for OFT, the number of
    terms of the series for the rotation, 0 for the exact rotation.
    """

    source: str
    type: str = "LORA"
    rank: int = 8
    alpha: float = 8.0
    is_rank_stabilized: bool = False
    initialization: str = ""
    rotation_terms: int = 0
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)

    def rank_of(self, module: str) -> int:
        """Return the rank that the module of this name should have."""
        return _by_end(self.rank_pattern, module, self.rank)

    def alpha_of(self, module: str) -> float:
        """Return the alpha of the module of this name."""
        return _by_end(self.alpha_pattern, module, self.alpha)

    def scale(self, module: str) -> float:
        """Return the scale of the product of the module's factors: alpha / r, or alpha / √r for rsLoRA."""
        rank = max(1, self.rank_of(module))
        return self.alpha_of(module) / (math.sqrt(rank) if self.is_rank_stabilized else rank)

    @property
    def changes_base(self) -> bool:
        """Whether the changes are relative to a model that the initialization has changed."""
        return self.initialization.lower().startswith(_CHANGES_BASE)


def _by_end(pattern: Mapping[str, _Number], module: str, default: _Number) -> _Number:
    return next((value for key, value in pattern.items() if module == key or module.endswith("." + key)), default)


def config_beside(path: Path) -> AdapterConfig | None:
    """Return the configuration beside the LoRA file at `path`; None if there is none.

    Raises:
        ConfigError: it cannot be read or is not valid.
    """
    beside = path.with_name(CONFIG_NAME)
    try:
        if not beside.is_file():
            return None
        with beside.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(t("cannot be read")) from error
    return _config(_table(content), t("{name} beside the file", name=CONFIG_NAME))


def configs_in(metadata: Mapping[str, str]) -> dict[str, AdapterConfig]:
    """Return the configurations in a file's metadata, by component; the key is empty for one that is for all.

    Raises:
        ConfigError: they are not valid.
    """
    if METADATA_KEY not in metadata:
        return {}
    parts: dict[str, dict[str, Any]] = {}
    for key, value in _table(metadata[METADATA_KEY]).items():
        match = _COMPONENT.match(key)
        component = match[1] if match else ""
        parts.setdefault(component, {})[key[match.end() :] if match else key] = value
    return {component: _config(values, t("the file's metadata")) for component, values in parts.items()}


def _table(content: str | bytes) -> dict[str, Any]:
    if len(content) > _MOST_BYTES:
        raise ConfigError(t("is too large"))
    try:
        table = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(t("is not valid JSON")) from error
    if not isinstance(table, dict):
        raise ConfigError(t("is not a JSON object"))
    return table


def _config(table: Mapping[str, Any], source: str) -> AdapterConfig:
    type_ = str(table.get("peft_type") or "LORA").rpartition(".")[2].upper()
    initialization = table.get("init_lora_weights")
    alpha = table.get("lora_alpha", table.get("alpha"))
    return AdapterConfig(
        source=source,
        type=type_,
        rank=_rank(table.get("r", 8), "r"),
        alpha=_number(8 if alpha is None else alpha, "lora_alpha"),
        is_rank_stabilized=table.get("use_rslora") is True,
        initialization=initialization if isinstance(initialization, str) else "",
        rotation_terms=_terms(table),
        rank_pattern={key: _rank(value, key) for key, value in _pattern(table, "rank_pattern").items()},
        alpha_pattern={key: _number(value, key) for key, value in _pattern(table, "alpha_pattern").items()},
    )


def _pattern(table: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a pattern with endings of names as keys; PEFT treats keys as regular expressions, but few are."""
    pattern = table.get(name) or {}
    if not isinstance(pattern, dict):
        raise ConfigError(t("has a {name} that is not a JSON object", name=name))
    found = {}
    for key, value in pattern.items():
        match = _LITERAL.match(key)
        if match is None:
            raise ConfigError(t("has a regular expression in its {name}, which is not supported", name=name))
        found[match[1].replace("\\.", ".")] = value
    return found


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e9:
        raise ConfigError(t("has no valid number for {name}", name=name))
    return float(value)


def _terms(table: Mapping[str, Any]) -> int:
    if table.get("use_cayley_neumann") is not True:
        return 0
    terms = table.get("num_cayley_neumann_terms", 5)
    if type(terms) is not int or not 1 <= terms <= 64:
        raise ConfigError(t("has no valid number for {name}", name="num_cayley_neumann_terms"))
    return terms


def _rank(value: Any, name: str) -> int:
    # For OFT and others r may be 0 and has no meaning.
    if type(value) is not int or not 0 <= value <= 1 << 20:
        raise ConfigError(t("has no valid rank for {name}", name=name))
    return value
