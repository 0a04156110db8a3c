"""`lbw explain`: what a tag does to a LoRA file, from its header alone."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from lbw.core.numbers import format_number
from lbw.files.explain import explain

from .store import StudioPresets


def run(options: argparse.Namespace) -> int:
    """Print what the tag does to the file; the exit status is 2 if it can only be applied without its block weights."""
    store = StudioPresets(weights=options.presets, rules=options.elements)
    report = explain(options.tag, options.lora, store.presets(), store.elements(), options.seed)
    print(json.dumps(report, ensure_ascii=False) if options.json else as_text(report))
    return 2 if report["problems"] else 0


def as_text(report: Mapping[str, Any]) -> str:
    """Return the report as text: one line per block, with the LoRA's modules there."""
    counts: dict[str, list[float]] = {}
    for module in report["modules"]:
        counts.setdefault(module["block"], []).append(module["multiplier"])
    layout = f", layout {report['layout']}" if report["layout"] else ""
    lines = [f"warning: {warning}" for warning in report["warnings"]]
    lines += [
        f"{report['lora']}: {report['title']}{layout}, text encoder {format_number(report['te'])}, "
        f"denoiser {format_number(report['unet'])}",
        "block  weight  modules  multiplier",
    ]
    for block, weight in report["blocks"].items():
        values = counts.get(block, [])
        spread = " … ".join(format_number(v) for v in sorted({min(values), max(values)})) if values else "-"
        lines.append(f"{block:<5}  {format_number(weight):>6}  {len(values):>7}  {spread}")
    if report["start"] is not None or report["stop"] is not None:
        lines.append(f"steps: from {report['start'] or 'the first'} to before {report['stop'] or 'the end'}")
    return "\n".join(lines)
