"""`lbw presets`: list, check and show the presets of a file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from lbw.core.architectures import ARCHITECTURES
from lbw.core.errors import unknown_preset
from lbw.core.fitting import fitting_architectures
from lbw.core.preset_check import check_presets
from lbw.core.preset_names import is_preset, split_model
from lbw.core.presets import PresetFile, parse_presets
from lbw.core.weights import parse_block_weights
from lbw.files.user_presets import WEIGHTS, PresetStore, read_text

from .console import table


def run(options: argparse.Namespace) -> int:
    """Run `list`, `check` or `show`."""
    path: Path = options.file or PresetStore().path(WEIGHTS)
    file = parse_presets(read_text(path))
    actions = {"list": list_presets, "check": check, "show": show}
    return actions[options.action](file, options)


def list_presets(file: PresetFile, options: argparse.Namespace) -> int:
    """Print the names, in the order of the file."""
    print(json.dumps(file.names, ensure_ascii=False) if options.json else "\n".join(file.names))
    return 0


def findings(file: PresetFile) -> list[dict[str, object]]:
    """Return the remarks about each line."""
    return [
        {"line": line.number, "name": line.name, "message": line.problem or line.remark}
        for line in check_presets(str(file)).lines
        if line.problem or (line.remark and line.name)
    ]


def check(file: PresetFile, options: argparse.Namespace) -> int:
    """Print what is wrong; the exit status is 1 if anything is."""
    found = findings(file)
    if options.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        for entry in found:
            print(f"line {entry['line']}: {entry['name']}: {entry['message']}")
        print(f"{len(file.names)} presets, {len(found)} problems")
    return 1 if found else 0


def show(file: PresetFile, options: argparse.Namespace) -> int:
    """Print what one preset means, for each architecture that it fits."""
    if options.name is None or not is_preset(options.name, file.presets):
        raise unknown_preset(options.name or "", file.names)
    meaning = {
        a.name: dict(parse_block_weights(options.name).resolve(a, file.presets).blocks)
        for a in fitting_architectures(options.name, file.presets)
    }
    written = [(key, weights) for key, weights in file.presets.items() if split_model(key)[0] == options.name]
    if options.json:
        print(json.dumps({"name": options.name, "weights": dict(written), "blocks": meaning}))
        return 0
    for key, weights in written:
        print(f"{key}: {weights}")
    for name, blocks in meaning.items():
        print(f"\n{ARCHITECTURES[name].title}")
        table(("block", "weight"), [(block, f"{weight:g}") for block, weight in blocks.items()])
    return 0
