"""`lbw explain`: what a tag does to a LoRA file, from its header alone."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lbw.core.architectures import ARCHITECTURES
from lbw.core.blocks import detect, is_module, locate, module_name
from lbw.core.elements import parse_elements
from lbw.core.errors import FileError
from lbw.core.plan import ResolvedLora, plan_lora, resolve_request
from lbw.core.presets import merged, parse_presets
from lbw.core.steps import Step
from lbw.core.tag import parse_tag
from lbw.core.weights import format_number
from lbw.files.header import read_header
from lbw.files.user_presets import ELEMENTS, SHIPPED, WEIGHTS, PresetStore, read_text


def run(options: argparse.Namespace) -> int:
    """Print what the tag does to the file."""
    presets = load_presets(options.presets)
    elements = load_elements(options.elements)
    report = explain(options.tag, options.lora, presets, elements, options.seed)
    print(json.dumps(report, ensure_ascii=False) if options.json else as_text(report))
    return 0


def load_presets(path: Path | None) -> Mapping[str, str]:
    """Return the presets of the file at `path`, or the shipped ones and the user's own."""
    if path is not None:
        return parse_presets(read_text(path)).presets
    return merged(parse_presets(read_text(SHIPPED / WEIGHTS)).presets, PresetStore().presets())


def load_elements(path: Path | None) -> Mapping[str, str]:
    """Return the elemental presets of the file at `path`, or the shipped ones and the user's own."""
    if path is not None:
        return parse_elements(read_text(path))
    return {**parse_elements(read_text(SHIPPED / ELEMENTS)), **PresetStore().elements()}


def explain(tag: str, path: Path, presets: Mapping[str, str], elements: Mapping[str, str], seed: int) -> dict[str, Any]:
    """Return what `tag` does to the LoRA file at `path`.

    Raises:
        FileError: the file cannot be read, or is of no known architecture.
        TagError: `tag` is none.
    """
    header = read_header(path)
    modules = list(dict.fromkeys(module_name(key) for key in header.shapes if is_module(key)))
    request = parse_tag(tag, presets)
    architecture = detect(header.shapes, header.shapes, header.metadata)
    if architecture is None or not modules:
        known = ", ".join(a.title for a in ARCHITECTURES.values())
        raise FileError(f"{path} holds no LoRA of a model that is known; known are {known}")
    resolved = resolve_request(request, architecture, presets, elements, seed)
    multipliers = plan_lora(resolved, modules).multipliers
    return {
        "lora": request.name,
        "architecture": architecture.name,
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
        "warnings": [str(problem) for problem in resolved.problems] + unused(resolved, modules),
    }


def step_value(step: Step | None) -> int | str | None:
    """Return a step as a number, or as text where it is a percentage."""
    if step is None:
        return None
    return str(step) if step.percent else int(step.value)


def unused(resolved: ResolvedLora, modules: list[str]) -> list[str]:
    """Return warnings for rules that match nothing in the file."""
    sites = [locate(name, resolved.architecture) for name in modules]
    return [
        f"elemental rule {rule.text().replace(';', ':')} matches no module of this LoRA"
        for rule in resolved.rules
        if not any(rule.matches(site, resolved.architecture) for site in sites)
    ]


def as_text(report: Mapping[str, Any]) -> str:
    """Return the report for a person: a line a block, with the modules that the LoRA has there."""
    counts: dict[str, list[float]] = {}
    for module in report["modules"]:
        counts.setdefault(module["block"], []).append(module["multiplier"])
    title = ARCHITECTURES[report["architecture"]].title
    layout = f", layout {report['layout']}" if report["layout"] else ""
    lines = [
        f"{report['lora']}: {title}{layout}, text encoder {format_number(report['te'])}, "
        f"denoiser {format_number(report['unet'])}",
        "block  weight  modules  multiplier",
    ]
    for block, weight in report["blocks"].items():
        values = counts.get(block, [])
        spread = " … ".join(format_number(v) for v in sorted({min(values), max(values)})) if values else "-"
        lines.append(f"{block:<5}  {format_number(weight):>6}  {len(values):>7}  {spread}")
    if report["start"] is not None or report["stop"] is not None:
        lines.append(f"steps: from {report['start'] or 'the first'} to before {report['stop'] or 'the end'}")
    lines += [f"warning: {warning}" for warning in report["warnings"]]
    return "\n".join(lines)
