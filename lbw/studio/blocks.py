"""`lbw blocks`: the map of a model, from the name of an architecture or the header of a LoRA or a model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from textwrap import wrap

from lbw.analysis.groups import selector_text
from lbw.core.architectures import ARCHITECTURES
from lbw.core.family import Architecture
from lbw.files.block_map import BlockMap, map_of_architecture, map_of_lora, map_of_model

from .console import table

_WIDTH = 80
"""Maximum width of tables, in columns of a terminal."""


def run(options: argparse.Namespace) -> int:
    """Print the requested map, or the known models."""
    if options.lora is not None:
        found = map_of_lora(options.lora)
    elif options.model is not None:
        found = map_of_model(options.model)
    elif options.architecture is not None:
        found = map_of_architecture(options.architecture)
    else:
        return _known(options)
    if options.json:
        print(json.dumps(found.report(), ensure_ascii=False))
    else:
        _print(found)
    return 0


def _known(options: argparse.Namespace) -> int:
    if options.json:
        known = [{"architecture": a.name, "title": a.title, "layouts": list(a.layouts)} for a in ARCHITECTURES.values()]
        print(json.dumps(known, ensure_ascii=False))
        return 0
    table(
        ("name", "model", "numbers"),
        [(a.name, a.title, ", ".join(map(str, sorted(a.layouts)))) for a in ARCHITECTURES.values()],
    )
    return 0


def _print(found: BlockMap) -> None:
    architecture = found.architecture
    print(f"{architecture.title} ({architecture.name})")
    if found.counts is None:
        table(("block", "what it is", "path"), [_named(block, found) for block in architecture.blocks])
    else:
        rows = [
            (block, str(found.words[block]), f"{count.tensors:,}", f"{count.parameters:,}", f"{found.share(block):.2f}")
            for block, count in found.counts.items()
        ]
        rows.append(("all", "", f"{found.total.tensors:,}", f"{found.total.parameters:,}", "100.00"))
        numbers = [_right_aligned([row[place] for row in rows]) for place in (2, 3, 4)]
        shown = [(row[0], row[1], *columns) for row, *columns in zip(rows, *numbers)]
        table(("block", "what it is", "tensors", "parameters", "share %"), shown)
    _lists("layout", {str(count): blocks for count, blocks in architecture.layouts.items()}, architecture)
    _lists("group", architecture.groups, architecture)
    for remark in found.remarks:
        print(*wrap(f"warning: {remark}", _WIDTH, subsequent_indent="  ", break_long_words=False), sep="\n")


def _named(block: str, found: BlockMap) -> tuple[str, str, str]:
    words = found.words[block]
    room = _WIDTH - len(block) - 40
    path = words.path if len(words.path) <= room else f"{words.path[: room - 1]}…"
    return block, str(words), path


def _right_aligned(texts: list[str]) -> list[str]:
    width = max(map(len, texts))
    return [text.rjust(width) for text in texts]


def _lists(what: str, lists: Mapping[str, tuple[str, ...]], architecture: Architecture) -> None:
    """Print lists of blocks, one per line, with consecutive blocks as ranges."""
    width = max(map(len, lists), default=0)
    for name, blocks in lists.items():
        head = f"{what} {name.ljust(width)}  "
        own = [block for block in blocks if block in architecture.blocks]
        print(*wrap(f"{head}{selector_text(own, architecture)}", _WIDTH, subsequent_indent=" " * len(head)), sep="\n")
