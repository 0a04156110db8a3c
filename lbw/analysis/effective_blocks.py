"""The Effective Block Analyzer: which blocks of a LoRA change the picture, how much, and where.

The *source* has all blocks at the second number of the range; each changed picture has a single block at the first
number. The difference between the two is the effect of the block.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from lbw.core.family import Architecture
from lbw.core.numbers import format_number
from lbw.core.texts import t

from .cells import Cell, Choice, check_count, uniform_cell
from .measure import Change, Mask, measure
from .request import BLACK
from .runner import CannotKeepError, CellRenderer, Outcome, run
from .store import CellStore, Rendered


class Sample(NamedTuple):
    """A source picture that others are compared with: its seed, and the index of its prompt."""

    seed: int
    prompt: int = 0


@dataclass(frozen=True)
class Settings:
    """What to compare.

    choices: the analyzed blocks, or groups of blocks. seeds, prompts: one source for each seed of each prompt; an empty
    prompt is the renderer's own. span: the weight of the analyzed block, and that of all others. threshold: color
    values that differ by more than this, 0 to 255, count as changed. diff_color: background of the difference image.
    swap_axes: blocks in columns.
    """

    choices: tuple[Choice, ...]
    seeds: tuple[int, ...]
    span: tuple[float, float] = (0.0, 1.0)
    threshold: int = 20
    diff_color: str = BLACK
    swap_axes: bool = False
    prompts: tuple[str, ...] = ("",)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All sources, grouped by prompt."""
        return tuple(Sample(seed, number) for number in range(len(self.prompts)) for seed in self.seeds)

    def label(self, sample: Sample) -> str:
        """Return how files call `sample`, and lists of them."""
        if len(self.prompts) > 1:
            return t("prompt {prompt}, seed {seed}", prompt=sample.prompt + 1, seed=sample.seed)
        return t("seed {seed}", seed=sample.seed)

    def source(self, sample: Sample, architecture: Architecture) -> Cell:
        """Return the cell of a source: every block at the range's second number."""
        cell = uniform_cell(architecture, self.span[1], sample.seed)
        return replace(cell, prompt=self.prompts[sample.prompt])


@dataclass
class BlockResult:
    """What is known about one choice: a change for each sample, None if its cell failed or was not reached."""

    choice: Choice
    changes: dict[Sample, Change | None] = field(default_factory=dict)
    errors: dict[Sample, str] = field(default_factory=dict)

    def percents(self) -> list[float]:
        """The known percentages of the samples."""
        return [change.percent for change in self.changes.values() if change is not None]

    @property
    def mean(self) -> float | None:
        """Mean of the percentages over the samples."""
        return float(np.mean(self.percents())) if self.percents() else None

    @property
    def std(self) -> float | None:
        """Standard deviation of the percentages over the samples (of the population: 0 for one sample)."""
        return float(np.std(self.percents())) if self.percents() else None

    def mean_of(self, figure: str) -> float | None:
        """Mean over the samples of a figure of `Change`: "inside", "outside" or "focus"."""
        values = [getattr(change, figure) for change in self.changes.values() if change is not None]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None


class Analysis:
    """One analysis: its cells, and their results so far."""

    def __init__(
        self,
        settings: Settings,
        architecture: Architecture,
        tensors: Mapping[str, int],
        store: CellStore,
        mask: Mask | Callable[[int, int], Mask] | None = None,
    ) -> None:
        """Prepare an analysis; nothing is rendered yet.

        tensors: how many tensors the LoRA has in each block. mask: the region to look at, or a function that
        returns it for a width and a height.

        Raises:
            WeightsError: there are too many pictures.
        """
        check_count((1 + len(settings.choices)) * len(settings.samples))
        self.settings = settings
        self.tensors = tensors
        self.store = store
        self.results = [BlockResult(choice) for choice in settings.choices]
        self.rendered = self.reused = 0
        self.source_errors: dict[Sample, str] = {}
        self.stop_reason = ""
        self._mask = mask
        low, high = settings.span
        self.sources = {sample: settings.source(sample, architecture) for sample in settings.samples}
        self._samples = {cell: sample for sample, cell in self.sources.items()}
        self._wanted: dict[Cell, list[tuple[BlockResult, Sample]]] = {}
        for result in self.results:
            touched = [block for block in result.choice.blocks if tensors.get(block)]
            for sample in settings.samples:
                if touched and low != high:
                    self._wanted.setdefault(self.cell(result.choice, sample), []).append((result, sample))
                else:
                    result.changes[sample] = Change(0.0, *((0.0, 0.0) if mask is not None else ()))

    def cell(self, choice: Choice, sample: Sample) -> Cell:
        """Return the cell in which the blocks of `choice` have the range's first number."""
        return self.sources[sample].with_entry(choice.blocks, format_number(self.settings.span[0]))

    @property
    def cells(self) -> list[Cell]:
        """Every cell, the sources first."""
        return list(dict.fromkeys([*self.sources.values(), *self._wanted]))

    def run(self, renderer: CellRenderer) -> Iterator[Outcome]:
        """Render and measure missing cells; yield each outcome as it arrives.

        If a cell cannot be saved to disk, `stop_reason` says so and the analysis ends with the results so far.
        """
        waiting: list[Outcome] = []
        try:
            for outcome in run(self.cells, renderer, self.store, self.tensors):
                self.reused += outcome.reused
                self.rendered += not outcome.reused and outcome.rendered is not None
                if outcome.cell in self._samples:
                    if outcome.rendered is None:
                        self.source_errors[self._samples[outcome.cell]] = outcome.error
                    self._take(outcome)
                    still = [late for late in waiting if not self._take(late)]
                    waiting = still
                elif not self._take(outcome):
                    waiting.append(outcome)
                yield outcome
        except CannotKeepError as error:
            self.stop_reason = str(error)

    def _take(self, outcome: Outcome) -> bool:
        """Measure `outcome`; return False if its source is not rendered yet."""
        wanted = self._wanted.get(outcome.cell, [])
        if not wanted:
            return True
        of = wanted[0][1]
        source = self.store.load(self.sources[of])
        error = self.source_errors.get(of, "")
        if source is None and not error:
            return False
        for result, sample in wanted:
            if outcome.rendered is None or source is None:
                result.changes[sample] = None
                result.errors[sample] = outcome.error or t("the source failed: {error}", error=error)
            else:
                result.changes[sample] = self._change(source, outcome.rendered)
        return True

    def _change(self, source: Rendered, changed: Rendered) -> Change:
        if source.pictures.shape != changed.pictures.shape:
            raise ValueError(f"pictures of {changed.pictures.shape} beside a source of {source.pictures.shape}")
        return measure(source.pictures, changed.pictures, self.settings.threshold, self.mask(source))

    def mask(self, source: Rendered) -> Mask | None:
        """Return the mask in the size of the pictures."""
        if callable(self._mask):
            height, width = source.pictures.shape[1:3]
            self._mask = self._mask(width, height)
        return self._mask

    def pictures(self, choice: Choice, sample: Sample) -> tuple[Rendered | None, Rendered | None]:
        """Return source and changed picture, None for missing ones; a block without tensors changes nothing."""
        source = self.store.load(self.sources[sample])
        cell = self.cell(choice, sample)
        return source, self.store.load(cell) if cell in self._wanted else source

    def ranking(self) -> list[BlockResult]:
        """Return the results with data, those with the largest change first."""
        return ranking(self.results)


def ranking(results: Sequence[BlockResult]) -> list[BlockResult]:
    """Return the results with data, those with the largest change first."""
    known = [result for result in results if result.mean is not None]
    return sorted(known, key=lambda result: -(result.mean or 0.0))


# The suggestion ----------------------------------------------------------------------------------

NEEDED, NOT_NEEDED, UNKNOWN = t("needed"), t("not needed"), t("unknown")
NOT_MEASURED = t("not measured")
"""The verdict on a block that was not looked at, or of which no picture could be compared."""


@dataclass(frozen=True)
class Suggestion:
    """The verdict for each block: `needed` if the mean percentage is at least `high`, `not needed` if at most `low`.

    verdicts: of the blocks that were measured.
    """

    low: float
    high: float
    verdicts: Mapping[str, str]

    def verdict(self, block: str) -> str:
        """Return how `block` is sorted."""
        return self.verdicts.get(block, NOT_MEASURED)

    def verdicts_of(self, choice: Choice) -> list[str]:
        """Return how the blocks of `choice` are sorted, each verdict once."""
        return list(dict.fromkeys(map(self.verdict, choice.blocks)))

    def preset(self, name: str) -> str:
        """Return a line of the preset file: blocks that are not needed at 0, unknown ones at 0.5, all others at 1.

        What was not measured stays as it is without block weights.
        """
        weights = {NOT_NEEDED: "0", UNKNOWN: "0.5"}
        reduced = [f"{block}={weights[verdict]}" for block, verdict in self.verdicts.items() if verdict in weights]
        # Characters that would make the line a comment, or end the name, are not allowed.
        name = re.sub(r"[#:\s]+", " ", name).strip() or "suggestion"
        return f"{name}:{','.join(['1', *reduced])}"


def suggest(results: Sequence[BlockResult], low: float | None = None, high: float | None = None) -> Suggestion:
    """Sort the blocks of `results` by their mean percentages.

    low, high: in percent of the picture's color values; a tenth and a half of the largest mean if not given. For a
    block in several choices the largest counts.
    """
    means: dict[str, float] = {}
    for result in results:
        for block in result.choice.blocks:
            if result.mean is not None:
                means[block] = max(means.get(block, 0.0), result.mean)
    largest = max(means.values(), default=0.0)
    low = largest / 10 if low is None else low
    high = max(largest / 2, low) if high is None else high
    verdicts = {
        block: NOT_NEEDED if mean <= low else NEEDED if mean >= high else UNKNOWN for block, mean in means.items()
    }
    return Suggestion(low, high, verdicts)
