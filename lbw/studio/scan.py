"""The command `scan`: sizes, overlaps, and what each block does to the predicted noise."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from typing import Any

import torch

from lbw.analysis.analysis_session import AnalysisSession
from lbw.analysis.changes import BaseWeight, Changes, overlaps, read_changes, sizes
from lbw.analysis.effective_blocks import BlockResult, ranking
from lbw.analysis.request import QUICK, AnalysisRequest
from lbw.analysis.session import ERROR, FAILED
from lbw.core.blocks import Site
from lbw.core.errors import FileError, LbwError
from lbw.files.lora import open_lora

from .commands import defaults, read_request, renderer
from .console import bar, table
from .host import StudioHost
from .renderer import PictureRenderer


def run(options: argparse.Namespace) -> int:
    """`lbw scan`."""
    if options.prompt:
        read_request(AnalysisRequest, options)  # before the model is loaded, so that errors are reported at once
    maker = renderer(options) if options.model or options.prompt else None
    base = base_weights(maker) if maker else None
    files = [open_lora(path) for path in options.loras]
    found = [read_changes(file, base) for file in files]
    names = [file.path.stem for file in files]
    report: dict[str, Any] = {
        "remarks": {name: list(file.remarks) for name, file in zip(names, files)},
        "sizes": {name: [_size(size) for size in sizes(changes, base)] for name, changes in zip(names, found)},
        "overlaps": _overlaps(names, found),
    }
    noise: list[BlockResult] = []
    if options.prompt:
        assert maker is not None
        noise = scan_noise(maker, options).results
        report["noise"] = [
            {
                "block": one.choice.label,
                "changes": [change and change.percent / 100 for change in one.changes.values()],
                "mean": None if one.mean is None else one.mean / 100,
            }
            for one in noise
        ]
    if options.json:
        print(json.dumps(report, ensure_ascii=False))
        return 0
    for name in names:
        for remark in report["remarks"][name]:
            print(f"lbw: {name}: {remark}", file=sys.stderr)
        print(f"{name}: size of the change in each block")
        headings = ["block", "modules", "‖ΔW‖", *(["‖ΔW‖/‖W‖"] if base else []), ""]
        entries = report["sizes"][name]
        largest = max((entry["relative"] or entry["norm"] for entry in entries), default=0) or 1e-9
        rows = [
            [e["block"], str(e["modules"]), f"{e['norm']:.4g}"]
            + ([f"{e['relative']:.4g}" if e["relative"] is not None else "-"] if base else [])
            + ["█" * round((e["relative"] or e["norm"]) / largest * 30)]
            for e in entries
        ]
        table(headings, rows)
    for pair in report["overlaps"]:
        print(f"{pair['first']} and {pair['second']}: 1 the same change, 0 independent, -1 opposite")
        table(["block", "cosine", "weights both change"], [[b["block"], f"{b['cosine']:+.4f}", str(b["shared"])] for b in pair["blocks"]])  # fmt: skip # noqa: E501
    if noise:
        print("change of the predicted noise without each block")
        largest = noise[0].mean or 1e-9
        rows = [
            [str(rank), one.choice.label, f"{one.mean:.2f} %", "█" * round((one.mean or 0.0) / largest * 30)]
            for rank, one in enumerate(ranking(noise), 1)
        ]
        table(["rank", "block", "change", ""], rows)
    return 0


def _size(size: Any) -> dict[str, Any]:
    return {**asdict(size), "relative": size.relative}


def _overlaps(names: list[str], found: list[Changes]) -> list[dict[str, Any]]:
    pairs = [(i, j) for i in range(len(found)) for j in range(i + 1, len(found))]
    for i, j in pairs:
        if found[i].architecture.kind != found[j].architecture.kind:
            raise FileError(
                f"{names[i]} is for {found[i].architecture.title} and {names[j]} for {found[j].architecture.title}: "
                "nothing to compare"
            )
    return [
        {
            "first": names[i],
            "second": names[j],
            "blocks": [asdict(overlap) for overlap in overlaps(found[i], found[j])],
        }
        for i, j in pairs
    ]


def base_weights(maker: PictureRenderer) -> BaseWeight:
    """Return a function that returns the model's base weights."""

    def weight(site: Site) -> torch.Tensor | None:
        return maker.host.base_weight(site)

    return weight


def scan_noise(maker: PictureRenderer, options: argparse.Namespace) -> AnalysisSession:
    """Run the quick scan of the prompt's LoRA and return it.

    Raises:
        LbwError: an option is not valid, or the model does not support it.
    """
    host = StudioHost(lambda: maker, options.model is None)
    base = replace(defaults(AnalysisRequest, maker, options), mode=QUICK)
    session = AnalysisSession(host, read_request(AnalysisRequest, options, base))
    with bar("scanning") as show:
        session.progress = show
        session.run()
    if session.state == FAILED:
        raise LbwError("; ".join(str(message) for message in session.messages if message.level == ERROR))
    return session
