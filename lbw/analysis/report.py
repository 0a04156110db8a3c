"""The figures of an analysis as JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lbw.files.atomic import write_text

from .effective_blocks import Analysis, BlockResult, Suggestion
from .xyz import Grid

_FIGURES = ("inside", "outside", "focus")


def _block(result: BlockResult, seeds: Sequence[int], with_mask: bool) -> dict[str, Any]:
    changes = [result.changes.get(seed) for seed in seeds]
    entry: dict[str, Any] = {
        "block": result.choice.label,
        "blocks": list(result.choice.blocks),
        "percent": [change.percent if change else None for change in changes],
        "mean": result.mean,
        "std": result.std,
    }
    if with_mask:
        for figure in _FIGURES:
            entry[figure] = [getattr(change, figure) if change else None for change in changes]
            entry[f"mean_{figure}"] = result.mean_of(figure)
    if result.errors:
        entry["errors"] = {str(seed): text for seed, text in result.errors.items()}
    return entry


def report(
    analysis: Analysis, settings: Mapping[str, Any], suggestion: Suggestion, name: str, grids: Sequence[str]
) -> dict[str, Any]:
    """Return every figure and every setting of `analysis`.

    settings: what the caller knows beside the analysis' own: prompt, model, size. name: of the suggested preset.
    grids: the names of the grids' files, one a seed.
    """
    own = analysis.settings
    with_mask = any(change and change.inside is not None for r in analysis.results for change in r.changes.values())
    return {
        "settings": {
            **settings,
            "range": list(own.span),
            "blocks": [choice.label for choice in own.choices],
            "seeds": list(own.seeds),
            "threshold": own.threshold,
            "background": own.background,
            "swap_axes": own.swap_axes,
            "mask": with_mask,
        },
        "blocks": [_block(result, own.seeds, with_mask) for result in analysis.results],
        "ranking": [result.choice.label for result in analysis.ranking()],
        "suggestion": {
            "not_needed_at_most": suggestion.low,
            "needed_at_least": suggestion.high,
            "blocks": dict(suggestion.verdicts),
            "preset": suggestion.preset(name),
        },
        "rendered": analysis.rendered,
        "reused": analysis.reused,
        "stopped": analysis.stop_reason,
        "grid": grids[0] if grids else None,
        "grids": list(grids),
    }


def to_csv(figures: Mapping[str, Any]) -> str:
    """Return the figures of the blocks as a table, one line a block; `report` gives `figures`."""
    seeds = figures["settings"]["seeds"]
    extra = [f"mean_{figure}" for figure in _FIGURES] if figures["settings"]["mask"] else []
    place = {label: number for number, label in enumerate(figures["ranking"], start=1)}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["place", "block", *(f"seed {seed}" for seed in seeds), "mean", "std", *extra])
    for block in figures["blocks"]:
        row = [place.get(block["block"], ""), block["block"], *block["percent"], block["mean"], block["std"]]
        writer.writerow(["" if value is None else value for value in (*row, *(block[name] for name in extra))])
    return text.getvalue()


def plot_figures(plot: Grid) -> dict[str, Any]:
    """Return the axes of a plot, and what each of its cells was rendered with."""
    axes = {axis: {"type": getattr(plot, axis).type.value, "values": getattr(plot, axis).values} for axis in "xyz"}
    cells = [
        {
            "x": plot.x.values[x],
            "y": plot.y.values[y],
            "z": plot.z.values[z],
            "weights": cell.weights,
            "elements": cell.elements,
            "seed": cell.seed,
        }
        for (z, y, x), cell in plot.cells.items()
    ]
    return {"axes": axes, "cells": cells}


def write_figures(stem: Path, figures: Mapping[str, Any]) -> None:
    """Write `figures` beside `stem`, as `.json` and `.csv`.

    Raises:
        FileError: they cannot be written.
    """
    write_text(stem.with_name(stem.name + ".json"), json.dumps(figures, ensure_ascii=False, indent=1) + "\n")
    write_text(stem.with_name(stem.name + ".csv"), to_csv(figures))
