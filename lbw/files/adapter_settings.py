"""What PEFT's configuration adds to the tensors of a LoRA file, and what is to be said about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lbw.core.errors import FileError, quote
from lbw.core.texts import t

from .adapter_config import CONFIG_NAME, AdapterConfig, ConfigError, config_beside, configs_in
from .header import Header
from .parameters import change_kind, rank

Keys = Mapping[str, Mapping[str, str]]

_PREFIX = "base_model.model."
_SCALED = {"lora": "LORA", "loha": "LOHA", "lokr": "LOKR"}


@dataclass(frozen=True)
class Settings:
    """What is known about a file apart from its tensors.

    added: numbers for modules, by the module's name and the parameter's. remarks: sentences for the user. refusal: why
    nothing can be computed from the file, or empty.
    """

    added: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    refusal: str = ""


def settings(path: Path, header: Header, keys: Keys) -> Settings:
    """Return what PEFT's configuration says about the modules of the LoRA file at `path`.

    keys: of each module's parameters, by the module's name and the parameter's. Files in which every module has an
    alpha, or that are in no naming of PEFT's, have no such configuration.
    """
    every = [key for names in keys.values() for key in names.values()]
    is_of_peft = any(key.startswith(_PREFIX) for key in every)
    if not is_of_peft and not any(".lora_A" in key for key in every):
        return Settings()
    try:
        configs = configs_in(header.metadata)
    except ConfigError as error:
        return Settings(remarks=(t("its metadata {problem}; the scale is unknown, and 1 is used", problem=error),))
    try:
        if not configs and (beside := config_beside(path)):
            configs = {"": beside}
    except ConfigError as error:
        wrong = t(
            "the {file} beside it {problem}; the scale is unknown, and 1 is used", file=CONFIG_NAME, problem=error
        )
        return Settings(remarks=(wrong,))
    if not configs:
        unknown = t(
            "it was saved by PEFT, but its {file} is missing: alpha is unknown and assumed to equal the rank; "
            "if it was trained with another alpha or with rsLoRA, its strength is off by a constant factor",
            file=CONFIG_NAME,
        )
        return Settings(remarks=(unknown,) if is_of_peft else ())
    return _applied(configs, header, keys)


def _applied(configs: Mapping[str, AdapterConfig], header: Header, keys: Keys) -> Settings:
    added: dict[str, dict[str, float]] = {}
    scales: dict[float, str] = {}
    for module, names in keys.items():
        config = _of(configs, module)
        shapes = {name: header.shapes[key] for name, key in names.items()}
        try:
            kind, own = change_kind(shapes), rank(shapes)
        except FileError:
            continue  # told when the module is read
        if config is None or "alpha" in names or "scale" in names:
            continue
        if config.changes_base:
            return _refused(config)
        if kind == "oftv2" and config.type == "OFT":
            added[module] = {"oft_R.terms": float(config.rotation_terms)}
        elif _SCALED.get(kind) == config.type:
            wanted = config.rank_of(module)
            if own is not None and own != wanted:
                contradiction = t(
                    "{source} gives {module} rank {wanted}, but it has rank {rank}: "
                    "the configuration belongs to another file, and the scale 1 is used",
                    source=config.source,
                    module=module,
                    wanted=wanted,
                    rank=own,
                )
                return Settings(remarks=(contradiction,))
            scale = config.scale(module)
            added[module] = {"scale": scale}
            how = " / √" if config.is_rank_stabilized else " / "
            scales.setdefault(scale, f"{scale:g} (alpha {config.alpha_of(module):g}{how}rank {wanted})")
    told = [text for scale, text in sorted(scales.items()) if scale != 1]
    if not told:
        return Settings(added)
    source = _source(configs)
    if len(told) == 1:
        one = t(
            "its changes are scaled by {scale}, as {source} says; a WebUI does not read this and uses 1",
            scale=told[0],
            source=source,
        )
        return Settings(added, (one,))
    several = t(
        "its changes are scaled by {low} to {high}, as {source} says; a WebUI does not read this and uses 1",
        low=told[0],
        high=told[-1],
        source=source,
    )
    return Settings(added, (several,))


def _source(configs: Mapping[str, AdapterConfig]) -> str:
    return next(iter(configs.values())).source


def _of(configs: Mapping[str, AdapterConfig], module: str) -> AdapterConfig | None:
    """Return the configuration of the component that `module` belongs to; if there is only one, that one."""
    if len(configs) == 1:
        return next(iter(configs.values()))
    return configs.get(module.removeprefix(_PREFIX).partition(".")[0], configs.get(""))


def _refused(config: AdapterConfig) -> Settings:
    text = t(
        "according to {source}, it was trained on a model that its initialization ({name}) had changed, and gives "
        "wrong results on any other; let PEFT convert it: "
        "save_pretrained(…, path_initial_model_for_weight_conversion=…)",
        source=config.source,
        name=quote(config.initialization),
    )
    return Settings(remarks=(text,), refusal=text)
