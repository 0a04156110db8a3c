"""Draws grids of pictures with labels, and bar charts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from .cells import Cell
from .effective_blocks import Analysis, BlockResult, Sample, Settings, Suggestion
from .fonts import font_for, line_height, width_of, wrap
from .measure import Pixels, difference, heat_map
from .request import WHITE
from .store import CellStore, Rendered
from .xyz import Grid, labels

LARGEST = 30_000_000
"""Pixels of the largest sheet; a larger one is scaled down."""
_SMALLEST_CELL = 128
_GAP = 4
_INK, _PAPER, _GREY, _RED = (20, 20, 20), (255, 255, 255), (225, 225, 225), (170, 30, 30)


@dataclass(frozen=True)
class Tile:
    """One place of a grid: what loads its picture, or the words that stand there instead."""

    load: Callable[[], Pixels | None]
    words: str = ""


@dataclass(frozen=True)
class Sheet:
    """A drawn grid, and a remark where it had to be scaled down."""

    image: Image.Image
    remark: str = ""


def beside(pictures: Pixels) -> Pixels:
    """Return a batch (count, height, width, 3) as one picture, side by side."""
    return np.concatenate(list(pictures), axis=1) if pictures.ndim == 4 else pictures


def grid(
    tiles: Sequence[Sequence[Tile]],
    size: tuple[int, int],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    head: str,
    font: str | None = None,
    largest: int = LARGEST,
    check: Callable[[], None] = lambda: None,
) -> Sheet:
    """Return `tiles`, rows of pictures of `size` (width, height), with labels at the left and top, and a head.

    Tiles are loaded one at a time. font: a file to draw the labels with, where its letters suffice. check: is called
    before each tile; what it raises ends the drawing.
    """
    width, height = size
    enlarged = -(-_SMALLEST_CELL // min(width, height)) if min(width, height) < _SMALLEST_CELL else 1
    width, height = width * enlarged, height * enlarged
    columns, rows = len(column_labels), len(row_labels)
    shrink = min(1.0, (largest / max(1, (width + _GAP) * (columns + 1) * (height + _GAP) * (rows + 1))) ** 0.5)
    width, height = max(1, int(width * shrink)), max(1, int(height * shrink))
    letters = "".join((*row_labels, *column_labels, head))
    face = font_for(letters, max(12, min(40, min(width, height) // 9)), font)
    high = line_height(face)

    label_width = max(width * 3 // 4, 9 * high)
    left_lines = [wrap(label, face, label_width) for label in row_labels]
    left = max((width_of(line, face) for lines in left_lines for line in lines), default=0) + 3 * _GAP
    cell_width = max(width, 5 * high)
    top_lines = [wrap(label, face, cell_width) for label in column_labels]
    total_width = left + columns * (cell_width + _GAP)
    head_lines = wrap(head, face, total_width - 2 * _GAP) if head else []
    head_height = len(head_lines) * high + 2 * _GAP
    top = head_height + max((len(lines) for lines in top_lines), default=0) * high + 2 * _GAP
    row_heights = [max(height, len(lines) * high) + _GAP for lines in left_lines]

    sheet = Image.new("RGB", (total_width, top + sum(row_heights)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, line in enumerate(head_lines):
        pen.text((_GAP, _GAP + number * high), line, _INK, font=face)
    for column, lines in enumerate(top_lines):
        x = left + column * (cell_width + _GAP) + cell_width // 2
        for number, line in enumerate(lines):
            pen.text((x - width_of(line, face) // 2, head_height + _GAP + number * high), line, _INK, font=face)
    y = top
    for row, lines in enumerate(left_lines):
        for number, line in enumerate(lines):
            pen.text((_GAP, y + number * high), line, _INK, font=face)
        for column, tile in enumerate(tiles[row]):
            check()
            box = (left + column * (cell_width + _GAP) + (cell_width - width) // 2, y)
            pixels = None if tile.words else tile.load()
            if pixels is None:
                _words(pen, tile.words or "missing", (*box, box[0] + width, box[1] + height))
                continue
            picture = Image.fromarray(pixels)
            if picture.size != (width, height):
                way = Image.Resampling.NEAREST if shrink == 1 and enlarged > 1 else Image.Resampling.LANCZOS
                picture = picture.resize((width, height), way)
            sheet.paste(picture, box)
        y += row_heights[row]
    if sheet.width * sheet.height > largest:
        part = (largest / (sheet.width * sheet.height)) ** 0.5
        sheet = sheet.resize((max(1, int(sheet.width * part)), max(1, int(sheet.height * part))))
        shrink *= part
    remark = ""
    if shrink < 1:
        remark = f"the grid would have more than {largest // 1_000_000} megapixels; its pictures are scaled to "
        remark += f"{shrink * enlarged:.0%}, the original pictures are kept at full size"
    return Sheet(sheet, remark)


def _words(pen: ImageDraw.ImageDraw, words: str, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    pen.rectangle((left, top, right - 1, bottom - 1), fill=_GREY, outline=_RED)
    face = font_for(words, 12)
    high = line_height(face)
    lines = wrap(words, face, right - left - 2 * _GAP)[: max(1, (bottom - top) // high)]
    for number, line in enumerate(lines):
        pen.text((left + _GAP, top + _GAP + number * high), line, _RED, font=face)


# The analyzer's ----------------------------------------------------------------------------------

HEADINGS = ("diff", "heat map", "changed", "source")


def _label(result: BlockResult, sample: Sample) -> str:
    change = result.changes.get(sample)
    lines = [result.choice.label, f"Diff : {change.percent:.3f}%" if change else "no picture"]
    if len(result.percents()) > 1:
        lines.append(f"mean {result.mean:.3f}% ± {result.std:.3f}")
    if change and change.inside is not None:
        lines.append(f"in {change.inside:.2f}% out {change.outside:.2f}%")
    return "\n".join(lines)


def analysis_grid(
    analysis: Analysis,
    sample: Sample,
    head: str,
    font: str | None = None,
    largest: int = LARGEST,
    check: Callable[[], None] = lambda: None,
) -> Sheet:
    """Return the grid of one source: raw difference, heat map, changed picture and source of each block.

    check: see `grid`.
    """
    settings = analysis.settings
    source = analysis.store.load(analysis.sources[sample])
    size = (beside(source.pictures).shape[1], source.pictures.shape[1]) if source else (256, 256)

    def tile(result: BlockResult, part: str) -> Tile:
        def load() -> Pixels | None:
            before, after = analysis.pictures(result.choice, sample)
            if part == "source":
                return beside(before.pictures) if before else None
            if before is None or after is None:
                return None
            if part == "changed":
                return beside(after.pictures)
            if part == "heat map":
                return beside(heat_map(before.pictures, after.pictures))
            raw = difference(before.pictures, after.pictures)
            return beside(255 - raw if settings.diff_color == WHITE else raw)

        words = result.errors.get(sample, "") if part != "source" or source is None else ""
        return Tile(load, words)

    low, _ = settings.span
    headings = [f"block at {low:g}" if part == "changed" else part for part in HEADINGS]
    labels = [_label(result, sample) for result in analysis.results]
    tiles = [[tile(result, part) for part in HEADINGS] for result in analysis.results]
    if settings.swap_axes:
        tiles = [list(line) for line in zip(*tiles)][::-1]
        return grid(tiles, size, headings[::-1], labels, head, font, largest, check)
    return grid(tiles, size, labels, headings, head, font, largest, check)


def analysis_head(name: str, settings: Settings, sample: Sample, how: str) -> str:
    """Return what stands above a grid: the LoRA `name`, the settings, and `how` the pictures are sampled."""
    low, high = settings.span
    return (
        f"{name}, {settings.label(sample)}\n"
        f"Range {low:g},{high:g}: each block alone at {low:g}, all others at {high:g}; "
        f"threshold {settings.threshold}; {how}"
    )


def bar_chart(
    results: Sequence[BlockResult],
    suggestion: Suggestion,
    head: str,
    font: str | None = None,
    unit: str = "of the color values",
) -> Image.Image:
    """Return a bar for each block, with the seeds' deviation, and the thresholds of the suggestion as lines.

    unit: what the figures are percents of.
    """
    labels = [result.choice.label for result in results]
    face = font_for("".join((*labels, head)), 16, font)
    high = line_height(face)
    left = min(240, max((width_of(label, face) for label in labels), default=0)) + 3 * _GAP
    plot, right = 480, 220
    lines = wrap(head, face, left + plot + right - 2 * _GAP) if head else []
    top = (len(lines) + 1) * high + 3 * _GAP
    row = high + 6
    chart = Image.new("RGB", (left + plot + right, top + row * len(results) + 2 * _GAP), _PAPER)
    pen = ImageDraw.Draw(chart)
    for number, line in enumerate(lines):
        pen.text((_GAP, _GAP + number * high), line, _INK, font=face)
    ends = [(result.mean or 0) + (result.std or 0) for result in results]
    largest = max([*ends, suggestion.high, 1e-9])
    scale = plot / largest
    pen.text((left, top - high - _GAP), f"0 to {largest:.3g} % {unit}", (110, 110, 110), font=face)
    for number, result in enumerate(results):
        y = top + number * row
        pen.text((_GAP, y), (wrap(labels[number], face, left - 2 * _GAP) or [""])[0], _INK, font=face)
        mean, std = result.mean or 0.0, result.std or 0.0
        verdicts = suggestion.verdicts_of(result.choice)
        pen.rectangle((left, y + 2, left + mean * scale, y + high), fill=(70, 110, 175))
        if std:
            middle = y + 2 + high // 2
            pen.line((left + max(0, mean - std) * scale, middle, left + (mean + std) * scale, middle), _INK, 2)
        words = [] if result.mean is None else [f"{mean:.3f} %"]
        words += verdicts if len(verdicts) == 1 else []
        pen.text((left + plot + 2 * _GAP, y), "  ".join(words), _INK, font=face)
    for threshold in (suggestion.low, suggestion.high):
        x = left + threshold * scale
        for y in range(top, chart.height - _GAP, 8):
            pen.line((x, y, x, y + 4), (150, 90, 40), 1)
    return chart


# The XYZ plot's ----------------------------------------------------------------------------------


def plot_sheets(
    plot: Grid,
    errors: Mapping[Cell, str],
    store: CellStore,
    name: str,
    font: str | None = None,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Sheet]:
    """Yield a grid for each value of Z, in its order; nothing where no cell was rendered.

    errors: why cells failed. name: of the LoRAs, above the grid. check: see `grid`.
    """
    first = first_rendered(plot, store)
    if first is None:
        return
    size = (beside(first.pictures).shape[1], first.pictures.shape[1])

    def tile(cell: Cell) -> Tile:
        def load() -> Pixels | None:
            kept = store.load(cell)
            return beside(kept.pictures) if kept else None

        return Tile(load, errors.get(cell, ""))

    for z, label in enumerate(labels(plot.z)):
        rows = [[tile(plot.cells[z, y, x]) for x in range(len(plot.x.values))] for y in range(len(plot.y.values))]
        head = f"{name}\n{plot.z.type.value}: {label}" if label else name
        yield grid(rows, size, labels(plot.y), labels(plot.x), head, font, check=check)


def first_rendered(plot: Grid, store: CellStore) -> Rendered | None:
    """Return the first cell of a plot that is there."""
    return next((kept for cell in plot.cells.values() if (kept := store.load(cell))), None)
