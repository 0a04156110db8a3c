"""One analysis of the panel *Analyze*: it runs in a thread of its own, is asked how far it is, and writes its results.

The page may be closed or loaded anew while it runs: nothing that was rendered is lost.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lbw.analysis.cells import Cell
from lbw.analysis.effective_blocks import Analysis, BlockResult, Suggestion, suggest
from lbw.analysis.measure import Change
from lbw.analysis.noise_scan import NoiseChange
from lbw.analysis.png import write_png
from lbw.analysis.report import report, write_figures
from lbw.analysis.runner import StoppedError
from lbw.analysis.sheet import analysis_grid, bar_chart
from lbw.analysis.store import CellStore, Rendered
from lbw.core.errors import FileError, LbwError
from lbw.core.presets import check_name

from .analyzer_host import AnalyzerHost, Prepared, Question
from .markup import BAD, GOOD, GUESS, REMARK, Text

SMALL = 256
"""The longer side of the pictures of the grid on the page; the grid that is written to disk has them in full size."""
LARGEST_ON_PAGE = 8_000_000
"""Pixels of the grid on the page."""


class SmallCells:
    """The cells of a store in the size that the page shows, read from disk once."""

    def __init__(self, store: CellStore) -> None:
        self.store = store
        self._read: dict[Cell, Rendered] = {}

    def load(self, cell: Cell) -> Rendered | None:
        """Return the pictures of `cell`, reduced; None if they are not there."""
        if cell not in self._read:
            rendered = self.store.load(cell)
            if rendered is None:
                return None
            self._read[cell] = Rendered(reduced(rendered.pictures, SMALL), rendered.infotext)
        return self._read[cell]


def reduced(pictures: np.ndarray, side: int) -> np.ndarray:
    """Return a batch (count, height, width, 3) with the longer side `side` at most."""
    _, height, width, _ = pictures.shape
    part = side / max(height, width)
    if part >= 1:
        return pictures
    size = (max(1, round(width * part)), max(1, round(height * part)))
    return np.stack([np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BOX)) for one in pictures])


@dataclass
class Run:
    """An analysis, or a quick scan, from its start on. What it holds is for reading; its thread alone writes it.

    done, total: pictures. left: seconds, as they were `told` at a time of `time.monotonic()`. version: grows with each
    finished picture. said: words to the user, each with its kind. low, high: thresholds that the user set, None for
    automatic ones.
    """

    host: AnalyzerHost
    question: Question
    is_quick: bool = False
    prepared: Prepared | None = None
    results: list[BlockResult] = field(default_factory=list)
    done: int = 0
    total: int = 0
    left: float | None = None
    told: float = 0.0
    version: int = 0
    said: list[tuple[Text, str]] = field(default_factory=list)
    low: float | None = None
    high: float | None = None
    files: list[Path] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    asked_to_stop: threading.Event = field(default_factory=threading.Event)
    small: Analysis | None = None

    def start(self) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(target=self._run, name="lbw analysis", daemon=True).start()

    def stop(self) -> None:
        """Let it end after the picture that is being rendered."""
        self.asked_to_stop.set()

    @property
    def analysis(self) -> Analysis | None:
        """The analysis; None for a quick scan, and where the question was wrong."""
        return self.prepared.analysis if self.prepared and not self.is_quick else None

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return self.over.is_set() and self.done >= self.total

    @property
    def suggestion(self) -> Suggestion:
        """The blocks as they are sorted by the thresholds."""
        return suggest(self.results, self.low, self.high)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the last picture is there; None where that is not known."""
        return None if self.left is None else max(0.0, self.left - (time.monotonic() - self.told))

    def grid(self, seed: int) -> Image.Image | None:
        """Return the grid of `seed` as the page shows it; None for a quick scan."""
        if self.analysis is None or self.prepared is None:
            return None
        if self.small is None:
            self.small = copy.copy(self.analysis)
            self.small.store = SmallCells(self.analysis.store)  # type: ignore[assignment]
        return analysis_grid(self.small, seed, self._head(seed), largest=LARGEST_ON_PAGE).image

    def chart(self) -> Image.Image:
        """Return the bars of all blocks."""
        name = self.prepared.lora if self.prepared else ""
        unit = "of the predicted noise" if self.is_quick else "of the colour values"
        return bar_chart(self.results, self.suggestion, name, unit=unit)

    # The thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self.prepared = self.host.prepare(self.question, self._show, self.asked_to_stop.is_set)
            if self.prepared.analysis.architecture.family.is_guess:
                self.said.append((GUESS, REMARK))
            self.said += [(remark, REMARK) for remark in self.prepared.remarks]
            if self.is_quick:
                self._scan(self.prepared)
            else:
                self._render(self.prepared)
        except LbwError as error:
            self.said.append((str(error), BAD))
        except StoppedError:
            self.said.append(("Stopped. A quick scan keeps nothing: press Analyze to begin anew.", REMARK))
        except Exception as error:  # whatever the host raises: the person at the page is told
            self.said.append((("The analysis ended early:", f"{type(error).__name__}: {error}"), BAD))
        finally:
            self.left = None
            self.over.set()

    def _render(self, prepared: Prepared) -> None:
        analysis = prepared.analysis
        self.results = analysis.results
        self.total = len(analysis.cells)
        for _ in analysis.run(prepared.renderer):
            self.done += 1
            self.version += 1
        missing = self.total - self.done
        rendered, reused = analysis.rendered, analysis.reused
        failed = self.done - rendered - reused
        counts: Text
        if analysis.stop_reason:
            self.said.append((analysis.stop_reason, BAD))
        if missing:
            counts = ("Stopped:", rendered, "pictures rendered,", reused, "kept from before,", missing, "missing.")
            self.said.append(((*counts, "Press Analyze to go on."), REMARK))
        elif failed:
            counts = ("Done:", rendered, "pictures rendered,", reused, "kept from before,", failed, "failed.")
            self.said.append((counts, REMARK))
        else:
            self.said.append((("Done:", rendered, "pictures rendered,", reused, "kept from before."), GOOD))
        for seed, error in analysis.source_errors.items():
            self.said.append((("The source failed for seed", f"{seed}:", error), BAD))
        failures: dict[str, list[str]] = {}
        for result in analysis.results:
            for error in dict.fromkeys(result.errors.values()):
                failures.setdefault(error, []).append(result.choice.label)
        self.said += [(f"{', '.join(labels)}: {error}", REMARK) for error, labels in failures.items()]
        if analysis.ranking():
            self.write(with_grids=True)

    def _scan(self, prepared: Prepared) -> None:
        self.results = scan_results(prepared.scan(self._scanned), prepared.analysis.settings.seeds)
        self.version += 1
        self.done = self.total
        self.said.append(("Done: how much each block changes the predicted noise, no picture rendered.", GOOD))

    def _show(self, done: int, total: int, seconds_left: float | None) -> None:
        self.left, self.told = seconds_left, time.monotonic()

    def _scanned(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        if self.asked_to_stop.is_set():
            raise StoppedError

    def _head(self, seed: int) -> str:
        assert self.prepared
        first = self.prepared.analysis.settings.seeds[0]
        return self.prepared.head.replace(f"seed {first}", f"seed {seed}")

    # What is written -----------------------------------------------------------------------------

    def write(self, with_grids: bool) -> None:
        """Write the figures beside the analysis' stem, and `with_grids` the grids in full size."""
        analysis, prepared = self.analysis, self.prepared
        if analysis is None or prepared is None:
            return
        stem = prepared.stem
        seeds = [seed for seed in analysis.settings.seeds if analysis.sources[seed] in analysis.store]
        grids = [stem.with_name(stem.name + (f"-seed{s}" if n else "") + ".png") for n, s in enumerate(seeds)]
        try:
            if with_grids:
                for seed, path in zip(seeds, grids):
                    sheet = analysis_grid(analysis, seed, self._head(seed))
                    source = analysis.store.load(analysis.sources[seed])
                    write_png(sheet.image, source.infotext if source else "", path)
                    if sheet.remark:
                        self.said.append((sheet.remark, REMARK))
            chart = stem.with_name(f"{stem.name}-chart.png")
            write_png(self.chart(), "", chart)
            settings = {**_plain(self.question), "lora": prepared.lora}
            name = preset_name(prepared.lora)
            write_figures(stem, report(analysis, settings, self.suggestion, name, [path.name for path in grids]))
        except FileError as error:
            self.said.append((("Not saved:", str(error)), BAD))
            return
        self.files = [stem.with_name(stem.name + end) for end in (".json", ".csv")] + grids + [chart]


def going_on(question: Question, is_quick: bool, before: Run | None) -> Question:
    """Return `question`, its random seed replaced by the one of `before` where that asked the same and was stopped."""
    if before is None or before.is_complete or before.is_quick or is_quick or question.seed != -1:
        return question
    analysis = before.analysis
    if analysis is None or _plain(question) != {**_plain(before.question), "seed": -1}:
        return question
    return replace(question, seed=analysis.settings.seeds[0])


def scan_results(changes: Sequence[NoiseChange], seeds: Sequence[int]) -> list[BlockResult]:
    """Return what a quick scan found in the form of an analysis' results: percent of the predicted noise."""
    return [
        BlockResult(one.choice, {seed: Change(100 * change) for seed, change in zip(seeds, one.changes)})
        for one in changes
    ]


def preset_name(lora: str) -> str:
    """Return a name that a preset can have, made of the LoRA's."""
    name = "".join(sign for sign in lora if sign not in ":#<>,\r\n").strip()
    try:
        return check_name(name)
    except LbwError:
        return "SUGGESTION"


def _plain(question: Question) -> dict[str, Any]:
    return asdict(replace(question, mask=None))
