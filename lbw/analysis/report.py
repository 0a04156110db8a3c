"""The figures of an analysis as JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lbw.files.atomic import write_text

from .effective_blocks import BlockResult, Settings, Suggestion, ranking
from .xyz import Grid

_FIGURES = ("inside", "outside", "focus")


def _block(result: BlockResult, settings: Settings, with_mask: bool) -> dict[str, Any]:
    changes = [result.changes.get(sample) for sample in settings.samples]
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
        entry["errors"] = {settings.label(sample): text for sample, text in result.errors.items()}
    return entry


def report(
    settings: Settings,
    results: Sequence[BlockResult],
    suggestion: Suggestion,
    about: Mapping[str, Any],
    name: str,
    grids: Sequence[str],
) -> dict[str, Any]:
    """Return every figure and every setting of an analysis.

    about: what the caller knows beside the settings: prompt, model, size. name: of the suggested preset. grids: the
    names of the grids' files, one for each source.
    """
    with_mask = any(change and change.inside is not None for r in results for change in r.changes.values())
    return {
        "settings": {
            **about,
            "range": list(settings.span),
            "blocks": [choice.label for choice in settings.choices],
            "seeds": list(settings.seeds),
            "sources": [settings.label(sample) for sample in settings.samples],
            "threshold": settings.threshold,
            "diff_color": settings.diff_color,
            "swap_axes": settings.swap_axes,
            "mask": with_mask,
        },
        "blocks": [_block(result, settings, with_mask) for result in results],
        "ranking": [result.choice.label for result in ranking(results)],
        "suggestion": {
            "not_needed_at_most": suggestion.low,
            "needed_at_least": suggestion.high,
            "blocks": {block: suggestion.verdict(block) for result in results for block in result.choice.blocks},
            "preset": suggestion.preset(name),
        },
        "grid": grids[0] if grids else None,
        "grids": list(grids),
    }


def to_csv(figures: Mapping[str, Any]) -> str:
    """Return the figures of the blocks as a table, one line a block; `report` gives `figures`."""
    sources = figures["settings"]["sources"]
    extra = [f"mean_{figure}" for figure in _FIGURES] if figures["settings"]["mask"] else []
    ranks = {label: number for number, label in enumerate(figures["ranking"], start=1)}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rank", "block", *sources, "mean", "std", *extra])
    for block in figures["blocks"]:
        row = [ranks.get(block["block"], ""), block["block"], *block["percent"], block["mean"], block["std"]]
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
