"""The commands that render grids: analyze, xyz, demo, analyses."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from lbw.analysis.analysis_session import AnalysisSession
from lbw.analysis.effective_blocks import ranking
from lbw.analysis.groups import selector_text
from lbw.analysis.plot_session import PlotSession
from lbw.analysis.request import AnalysisRequest, PlotRequest
from lbw.analysis.session import DONE, INFO, Session
from lbw.analysis.sessions import Earlier, earlier, find_earlier
from lbw.core.errors import FileError

from .commands import defaults, read_request, renderer
from .console import bar, table
from .host import StudioHost
from .renderer import PictureRenderer

CELLS = "cells"
"""The folder of finished pictures, in the output folder."""


def run_analyze(options: argparse.Namespace) -> int:
    """`lbw analyze`."""
    asked = analysis_request(options)  # before the model is loaded, so that errors are reported at once
    maker = renderer(options)
    request = read_request(AnalysisRequest, options, defaults(AnalysisRequest, maker, options))
    session = AnalysisSession(_host(maker, options), replace(request, mask=asked.mask, region=asked.region))
    if not finished(session, "analyzing"):
        return 1
    if options.json:
        print(json.dumps(session.figures(), ensure_ascii=False))
    else:
        print_ranking(session)
        print_files(session)
    return int(session.state != DONE or any(result.errors for result in session.results))


def analysis_request(options: argparse.Namespace) -> AnalysisRequest:
    """Return the request in the options, as far as it is known without a model.

    Raises:
        LbwError: one of them is not valid.
    """
    mask = None
    if options.mask:
        path = Path(options.mask)
        if path.is_file() or path.suffix:
            mask = read_mask(path)
        else:
            options.region = options.mask
    return replace(read_request(AnalysisRequest, options), mask=mask)


def read_mask(path: Path) -> np.ndarray:
    """Return a picture in grayscale, (height, width).

    Raises:
        FileError: it cannot be read as a picture.
    """
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("L"))
    except (OSError, ValueError) as error:
        raise FileError(f"--mask {path} cannot be read as a picture: {error}") from error


def _host(maker: PictureRenderer, options: argparse.Namespace) -> StudioHost:
    return StudioHost(lambda: maker, options.model is None, options.output, options.output / CELLS)


def finished(session: Session, what: str) -> bool:
    """Run a session and print its messages; return False if the user interrupted it."""
    try:
        with bar(what) as show:
            session.progress = show
            session.run()
    except KeyboardInterrupt:
        kept = f"{session.done} of {session.total} pictures are kept; run the same command again to continue"
        print(f"lbw: stopped; {kept}", file=sys.stderr)
        return False
    for message in session.messages:
        if message.level != INFO:
            print(f"lbw: {message}", file=sys.stderr)
    return True


def print_files(session: Session) -> None:
    """Print a summary and the files that were written."""
    for message in session.messages:
        if message.level == INFO:
            print(message)
    for path in session.files:
        print(path)


def print_ranking(session: AnalysisSession) -> None:
    """Print the blocks, those with the largest change first."""
    ranked = ranking(session.results)
    suggestion = session.suggestion
    largest = max((result.mean or 0 for result in ranked), default=0) or 1e-9
    several = len(session.settings.samples) > 1
    masked = any(result.mean_of("inside") is not None for result in ranked)
    headings = ["rank", "block", "changed, mean" if several else "changed"]
    headings += ["deviation"] * several + ["inside", "outside", "focus"] * masked + ["", "suggestion"]
    rows = []
    for rank, result in enumerate(ranked, 1):
        row = [str(rank), result.choice.label, f"{result.mean:.3f} %"]
        row += [f"{result.std:.3f}"] * several
        if masked:
            values = [(result.mean_of(figure), form) for figure, form in _FORMS]
            row += ["-" if value is None else form.format(value) for value, form in values]
        verdicts = suggestion.verdicts_of(result.choice)
        row += ["█" * round((result.mean or 0) / largest * 30), " / ".join(sorted(verdicts))]
        rows.append(row)
    table(headings, rows)
    if session.not_measured:
        print("Not measured, so they stay at 1:", selector_text(session.not_measured, session.prepared.architecture))


_FORMS = (("inside", "{:.3f} %"), ("outside", "{:.3f} %"), ("focus", "{:.2f}"))


def run_xyz(options: argparse.Namespace) -> int:
    """`lbw xyz`."""
    for name in "xyz":
        kind, values = getattr(options, name) or ("none", "")
        setattr(options, f"{name}_type", kind)
        setattr(options, f"{name}_values", values)
    read_request(PlotRequest, options)  # before the model is loaded, so that errors are reported at once
    maker = renderer(options)
    request = read_request(PlotRequest, options, defaults(PlotRequest, maker, options))
    session = PlotSession(_host(maker, options), request)
    if not finished(session, "rendering"):
        return 1
    if options.json:
        print(json.dumps(session.figures(), ensure_ascii=False))
    else:
        print_files(session)
    return int(session.state != DONE or bool(session.errors))


def demo(options: argparse.Namespace) -> int:
    """`lbw demo`: the analysis of a bundled LoRA."""
    options.prompt = f"{options.prompt} <lora:{options.lora}:1:lbw=XYZ>"
    return run_analyze(options)


# Earlier analyses --------------------------------------------------------------------------------


def run_analyses(options: argparse.Namespace) -> int:
    """`lbw analyses`: list those in an output folder, or print the results of one."""
    if options.id is None:
        found = list(earlier(options.output))
        if options.json:
            print(json.dumps([_entry(one) for one in found], ensure_ascii=False))
        else:
            table(["analysis", "blocks that change most", "prompt"], [_row(one) for one in found])
        return 0
    one = find_earlier(options.output, options.id)
    if one is None:
        raise FileError(f"there is no analysis {options.id} in {options.output}; lbw analyses lists them")
    if options.json:
        print(json.dumps(one.report, ensure_ascii=False))
        return 0
    means = {str(block["block"]): block["mean"] for block in one.report["blocks"]}
    rows = [[str(rank), label, f"{means[label]:.3f} %"] for rank, label in enumerate(one.report["ranking"], 1)]
    table(["rank", "block", "changed"], rows)
    for path in sorted(one.folder.iterdir()):
        print(path)
    return 0


def _entry(one: Earlier) -> dict[str, object]:
    return {"id": one.id, "lora": one.lora, "prompt": one.prompt, "folder": str(one.folder)}


def _row(one: Earlier) -> list[str]:
    return [one.id, ", ".join(map(str, one.report.get("ranking", [])[:3])), one.prompt[:60]]
