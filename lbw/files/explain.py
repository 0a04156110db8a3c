"""What a tag does to a LoRA file, from the file's header alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lbw.core.architectures import ARCHITECTURES, USUAL
from lbw.core.blocks import locate
from lbw.core.detect import Detection, detect_lora, not_known
from lbw.core.errors import FileError, quote
from lbw.core.family import Architecture
from lbw.core.fitting import fits
from lbw.core.lora_names import meant_name
from lbw.core.plan import ResolvedLora, resolve_request
from lbw.core.steps import Step
from lbw.core.tag import LoraRequest, parse_tag
from lbw.core.texts import t

from .header import read_header
from .lora import module_keys, remarks


def explain(
    tag: str,
    path: Path,
    presets: Mapping[str, str],
    elements: Mapping[str, str],
    seed: int,
    loaded: Architecture | None = None,
) -> dict[str, Any]:
    """Return what `tag` does to the LoRA file at `path`; `problems` say why it is applied without block weights.

    loaded: the model that it will be applied to; it decides if the file alone does not.

    Raises:
        FileError: the file cannot be read, or is of no known architecture.
        TagError: `tag` is none.
    """
    header = read_header(path)
    keys = module_keys(header)
    modules = list(keys)
    request = parse_tag(tag, presets)
    found = decided_by(request, detect_lora(header.shapes, header.metadata, loaded), presets)
    architecture = found.architecture
    if architecture is None or not modules:
        raise FileError(not_known(path))
    resolved = resolve_request(request, architecture, presets, elements, seed)
    multipliers = resolved.multipliers(modules)
    return {
        "lora": request.name,
        "architecture": architecture.name,
        "title": architecture.title,
        "layout": resolved.weights.layout,
        "te": request.te,
        "unet": request.unet,
        "start": step_value(request.span.start),
        "stop": step_value(request.span.stop),
        "blocks": dict(resolved.weights.blocks),
        "modules": [
            {"name": name, "block": locate(name, architecture).block, "multiplier": multipliers[name]}
            for name in modules
        ],
        "problems": [str(problem) for problem in resolved.problems],
        "warnings": [
            *_other_file(request.name, path, header.metadata),
            *map(str, resolved.problems),
            *request.remarks,
            *found.remarks,
            *remarks(path, header, keys),
            *unused(resolved, modules),
        ],
    }


def problems_without_file(
    request: LoraRequest,
    presets: Mapping[str, str],
    elements: Mapping[str, str],
    loaded: Architecture | None = None,
) -> list[str]:
    """Return what is wrong with `request` whatever its LoRA is for: its file is not there to say.

    loaded: the model that it is to be applied to; problems are told in its terms, SDXL's if it is None.
    """

    def problems(architecture: Architecture) -> list[str]:
        return [str(problem) for problem in resolve_request(request, architecture, presets, elements).problems]

    found = problems(loaded or USUAL)
    if not all(map(problems, ARCHITECTURES.values())):
        found = []  # it is right for some model
    return [*found, *request.remarks]


def _other_file(name: str, path: Path, metadata: Mapping[str, str]) -> list[str]:
    """Return a warning if a tag names another LoRA than the file at `path`."""
    own = {path.stem, metadata.get("ss_output_name", path.stem)}
    if meant_name(name, own) is not None:
        return []
    return [t("the tag names the LoRA {name}, but the file is {file}", name=quote(name), file=path.name)]


def decided_by(request: LoraRequest, found: Detection, presets: Mapping[str, str]) -> Detection:
    """Return `found`; if the file may be for several models, the block weights of `request` decide."""
    weights = request.weights
    return found.decided(lambda architecture: fits(weights, architecture, presets)) if weights else found


def step_value(step: Step | None) -> int | str | None:
    """Return a step as a number, or as text if it is a percentage."""
    if step is None:
        return None
    return str(step) if step.percent else int(step.value)


def unused(resolved: ResolvedLora, modules: list[str]) -> list[str]:
    """Return warnings for rules that match nothing in the file."""
    sites = [locate(name, resolved.architecture) for name in modules]
    return [
        t("elemental rule {rule} matches no module of this LoRA", rule=rule.text().replace(";", ":"))
        for rule in resolved.rules
        if not any(rule.matches(site, resolved.architecture) for site in sites)
    ]
