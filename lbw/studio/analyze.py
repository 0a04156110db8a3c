"""The commands that render grids: analyze, xyz, demo."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lbw.analysis.cells import Cell, choose, parse_span, whole_number
from lbw.analysis.effective_blocks import Analysis, Settings, Suggestion, suggest
from lbw.analysis.measure import Mask, picture_mask, rectangle_mask
from lbw.analysis.png import write_png
from lbw.analysis.prompt import cell_elements, cell_presets, tag_to_analyze, tags_for_cells
from lbw.analysis.report import plot_figures, report, write_figures
from lbw.analysis.runner import CannotKeepError, Outcome, StoppedError, run
from lbw.analysis.sheet import Sheet, analysis_grid, analysis_head, bar_chart, first_rendered, plot_sheets
from lbw.analysis.store import CellStore, Rendered, forget_oldest
from lbw.analysis.xyz import Axis, Grid, build, parse_axis, random_seed, touched_cells
from lbw.core.errors import FileError, LbwError
from lbw.core.limits import SEEDS
from lbw.core.tag import requests_in
from lbw.files.atomic import write_text

from .commands import job_of, renderer
from .console import bar, table
from .renderer import Job, Renderer
from .sampling import stoppable

CELLS = "cells"


@dataclass
class CellRenderer:
    """Renders cells on the standalone host.

    progress: shows how far it is. stopped: tells whether the user wants no more pictures.
    """

    maker: Renderer
    job: Job
    show: Callable[[int, int, float | None], None] = lambda done, total, left: None
    stopped: Callable[[], bool] = lambda: False
    told: dict[str, None] = field(default_factory=dict)

    def render(self, cell: Cell) -> Rendered:
        if self.stopped():
            raise StoppedError
        with self.maker.turn, stoppable(self.maker.host.pipeline, self.stopped):
            made = self.cell_maker(cell).render(replace(self.job, seed=cell.seed))
        for problem in made.problems:
            if problem not in self.told:
                self.told[problem] = None
                print(f"lbw: {problem}", file=sys.stderr)
        return Rendered(np.asarray(made.image.convert("RGB"))[None], made.infotext)

    def cell_maker(self, cell: Cell) -> Renderer:
        """Return the renderer for which the cell's names are presets."""
        presets = {**self.maker.presets, **cell_presets(cell)}
        elements = {**self.maker.elements, **cell_elements(cell, self.maker.elements)}
        return replace(self.maker, presets=presets, elements=elements)

    def progress(self, done: int, total: int, seconds_left: float | None) -> None:
        self.show(done, total, seconds_left)


def context(maker: Renderer, job: Job) -> dict[str, Any]:
    """Return everything that the pictures follow from, beside the cells."""
    model = maker.model or Path()
    files = [path for path in (model.rglob("*") if model.is_dir() else [model]) if path.is_file()]
    loras = [maker.host.library.find(request.name) for request in requests_in(job.prompt, {})]
    return {
        "job": {**asdict(job), "seed": None},
        "model": [_mark(path) for path in sorted(files)],
        "loras": [_mark(path) for path in loras if path is not None],
        "presets": dict(maker.presets),
        "elements": dict(maker.elements),
        "device": str(getattr(maker.host.pipeline, "device", "")),
    }


def _mark(path: Path) -> tuple[str, int, int]:
    state = path.stat()
    return str(path), state.st_size, state.st_mtime_ns


# Analyze -----------------------------------------------------------------------------------------


def run_analyze(options: argparse.Namespace) -> int:
    """`lbw analyze`."""
    settings_of(options)
    maker = renderer(options)
    job = job_of(options, maker)
    return analyze(maker, job, options)


def settings_of(options: argparse.Namespace) -> tuple[tuple[float, float], int, int]:
    """Return range, number of seeds and threshold; checked before a model is loaded."""
    return (
        parse_span(options.range, "--range"),
        whole_number(options.seeds, "--seeds", 1, SEEDS),
        whole_number(options.threshold, "--threshold", 0, 255),
    )


def prepare(maker: Renderer, job: Job, options: argparse.Namespace, root: Path) -> tuple[Analysis, str, list[str]]:
    """Return the analysis that the options describe, the LoRA's name, and remarks.

    Raises:
        LbwError: something in the options is wrong; nothing was rendered.
    """
    span, seeds, threshold = settings_of(options)
    name = tag_to_analyze(job.prompt).name
    architecture = maker.host.architecture
    tensors = maker.host.tensors(name)
    remarks: list[str] = []
    mask = read_mask(options.mask, job.width, job.height, remarks) if options.mask else None
    settings = Settings(
        choices=tuple(choose(options.blocks, architecture, tensors)),
        seeds=tuple(range(job.seed, job.seed + seeds)),
        span=span,
        threshold=threshold,
        background=options.diff,
        swap_axes=options.swap_axes,
    )
    forget_oldest(root)
    store = CellStore(root, context(maker, job))
    if options.fresh:
        store.forget()
    return Analysis(settings, architecture, tensors, store, mask), name, remarks


def read_mask(text: str, width: int, height: int, remarks: list[str]) -> Mask:
    """Return the mask of a file, or of a rectangle in percent; what there is to say about it goes to `remarks`."""
    path = Path(text)
    if not path.is_file() and not path.suffix:
        return rectangle_mask(text, width, height)
    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("L"))
    except (OSError, ValueError) as error:
        raise FileError(f"--mask {path} is no picture that can be read: {error}") from error
    mask, remark = picture_mask(pixels, width, height)
    if remark:
        remarks.append(remark)
    return mask


def analyze(maker: Renderer, job: Job, options: argparse.Namespace) -> int:
    """Render the grid of the LoRA whose tag says `lbw=XYZ`, and write it and its figures."""
    output: Path = options.output
    analysis, name, remarks = prepare(maker, job, options, output / CELLS)
    for remark in remarks:
        print(f"lbw: {remark}", file=sys.stderr)
    with bar("analyzing") as show:
        cells = CellRenderer(maker, job, show)
        try:
            for _ in analysis.run(cells):
                pass
        except KeyboardInterrupt:
            kept = sum(cell in analysis.store for cell in analysis.cells)
            print(
                f"lbw: stopped; {kept} of {len(analysis.cells)} pictures are kept, the same command goes on from there",
                file=sys.stderr,
            )
            return 1
    if analysis.stop_reason:
        print(f"lbw: {analysis.stop_reason}", file=sys.stderr)
    suggestion = suggest(analysis.results, options.not_needed, options.needed)
    figures = write_results(analysis, job, name, output / f"{name}-blocks", suggestion, str(maker.model))
    if options.json:
        print(json.dumps(figures, ensure_ascii=False))
    else:
        print_ranking(analysis, suggestion)
        print(f"grid:    {output / figures['grid']}\nfigures: {output / f'{name}-blocks.json'}")
        print(f"pictures: {analysis.rendered} rendered, {analysis.reused} kept from before")
    failed = bool(analysis.stop_reason or analysis.source_errors or any(r.errors for r in analysis.results))
    for seed, error in analysis.source_errors.items():
        print(f"lbw: the source of seed {seed} failed: {error}", file=sys.stderr)
    return int(failed)


def print_ranking(analysis: Analysis, suggestion: Suggestion) -> None:
    """Print the blocks, those that change most first."""
    ranked = analysis.ranking()
    largest = max((result.mean or 0 for result in ranked), default=0) or 1e-9
    seeds = len(analysis.settings.seeds)
    masked = any(result.mean_of("inside") is not None for result in ranked)
    headings = ["place", "block", "changed, mean of seeds"]
    headings += ["deviation"] * (seeds > 1) + ["inside", "outside", "focus"] * masked + ["", "suggestion"]
    rows = []
    for place, result in enumerate(ranked, 1):
        row = [str(place), result.choice.label, f"{result.mean:.3f} %"]
        row += [f"{result.std:.3f}"] * (seeds > 1)
        if masked:
            values = [(result.mean_of(figure), form) for figure, form in _FORMS]
            row += ["-" if value is None else form.format(value) for value, form in values]
        verdicts = {suggestion.verdicts.get(block, "") for block in result.choice.blocks}
        row += ["█" * round((result.mean or 0) / largest * 30), " / ".join(sorted(verdicts))]
        rows.append(row)
    table(headings, rows)


_FORMS = (("inside", "{:.3f} %"), ("outside", "{:.3f} %"), ("focus", "{:.2f}"))


def head_of(name: str, analysis: Analysis, job: Job, seed: int) -> str:
    """Return what stands above a grid: the LoRA, and the settings."""
    how = f"{job.steps} steps, CFG scale {job.cfg:g}, {job.width}x{job.height}"
    return analysis_head(name, analysis.settings, seed, how)


def write_results(
    analysis: Analysis, job: Job, name: str, stem: Path, suggestion: Suggestion, model: str
) -> dict[str, Any]:
    """Write grids, chart, JSON and CSV beside `stem`; return the figures.

    Raises:
        FileError: one of them cannot be written.
    """
    seeds = analysis.settings.seeds
    names = []
    for number, seed in enumerate(seeds):
        made = analysis_grid(analysis, seed, head_of(name, analysis, job, seed))
        names.append(f"{stem.name}.png" if number == 0 else f"{stem.name}-seed{seed}.png")
        save_sheet(made, stem.with_name(names[-1]), _infotext(analysis, seed))
    chart = bar_chart(analysis.results, suggestion, f"{name}: {len(seeds)} seed{'s' if len(seeds) > 1 else ''}")
    save_sheet(Sheet(chart), stem.with_name(f"{stem.name}-chart.png"), "")
    figures = report(analysis, {**asdict(job), "lora": name, "model": model}, suggestion, name, names)
    write_figures(stem, figures)
    return figures


def _infotext(analysis: Analysis, seed: int) -> str:
    source = analysis.store.load(analysis.sources[seed])
    return source.infotext if source else ""


def save_sheet(sheet: Sheet, path: Path, infotext: str) -> None:
    """Write a grid as PNG, whole or not at all, and say so where it was scaled."""
    if sheet.remark:
        print(f"lbw: {path.name}: {sheet.remark}", file=sys.stderr)
    write_png(sheet.image, infotext, path)


# XYZ ---------------------------------------------------------------------------------------------


def run_xyz(options: argparse.Namespace) -> int:
    """`lbw xyz`."""
    maker = renderer(options)
    job = job_of(options, maker)
    found = tags_for_cells(job.prompt)
    axes = axes_of(options, maker)
    plot = build(*axes, maker.host.architecture, maker.presets, job.seed)
    tensors: dict[str, int] = {}
    for request in found:
        for block, count in maker.host.tensors(request.name).items():
            tensors[block] = tensors.get(block, 0) + count
    root = options.output / CELLS
    forget_oldest(root)
    store = CellStore(root, context(maker, job))
    if options.fresh:
        store.forget()
    outcomes: dict[Cell, Outcome] = {}
    with bar("rendering") as show:
        try:
            for outcome in run(touched_cells(plot), CellRenderer(maker, job, show), store, tensors):
                outcomes[outcome.cell] = replace(outcome, rendered=None)
        except CannotKeepError as error:
            print(f"lbw: {error}", file=sys.stderr)
    name = found[0].name
    paths = write_plot(plot, outcomes, store, name, job, options.output)
    errors = [outcome.error for outcome in outcomes.values() if outcome.error]
    for error in dict.fromkeys(errors):
        print(f"lbw: a cell failed: {error}", file=sys.stderr)
    if options.json:
        print(json.dumps({"grids": [str(path) for path in paths], "errors": errors}, ensure_ascii=False))
    else:
        for path in paths:
            print(path)
    return int(bool(errors) or len(outcomes) < len(touched_cells(plot)))


def axes_of(options: argparse.Namespace, maker: Renderer) -> tuple[Axis, Axis, Axis]:
    """Return the axes that `--x TYPE VALUES` and the like name."""
    chosen = []
    for name in "xyz":
        kind, values = getattr(options, name) or ("none", "")
        chosen.append(parse_axis(kind, values, name.upper(), maker.host.architecture, maker.presets, random_seed))
    return chosen[0], chosen[1], chosen[2]


def write_plot(
    plot: Grid, outcomes: dict[Cell, Outcome], store: CellStore, name: str, job: Job, output: Path
) -> list[Path]:
    """Write a grid for each value of Z, and the figures; return the grids' paths."""
    first = first_rendered(plot, store)
    errors = {cell: outcome.error for cell, outcome in outcomes.items()}
    if first is None:
        raise LbwError(f"no cell was rendered: {'; '.join(sorted(set(errors.values()))) or 'stopped'}")
    paths = []
    for number, sheet in enumerate(plot_sheets(plot, errors, store, name), 1):
        path = output / (f"{name}-xyz.png" if len(plot.z.values) == 1 else f"{name}-xyz-{number}.png")
        save_sheet(sheet, path, first.infotext)
        paths.append(path)
    figures = {"settings": {**asdict(job), "lora": name}, **plot_figures(plot), "grids": [p.name for p in paths]}
    for entry, cell in zip(figures["cells"], plot.cells.values()):
        entry["file"] = str(store.path(cell))
    write_text(output / f"{name}-xyz.json", json.dumps(figures, ensure_ascii=False, indent=1) + "\n")
    return paths


def demo(options: argparse.Namespace) -> int:
    """`lbw demo`: the analysis of a bundled LoRA."""
    options.prompt = f"{options.prompt} <lora:{options.lora}:1:lbw=XYZ>"
    return run_analyze(options)
