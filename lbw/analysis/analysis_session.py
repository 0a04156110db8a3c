"""An analysis or a quick scan, from a request to figures and files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from lbw.core.errors import LbwError
from lbw.core.presets import check_name
from lbw.core.texts import t

from .cells import choose
from .effective_blocks import Analysis, BlockResult, Sample, Settings, Suggestion, ranking, suggest
from .measure import Change
from .noise_scan import NoiseChange, noise_scan
from .png import write_png
from .prompt import tag_to_analyze
from .report import report, write_figures
from .request import AnalysisRequest
from .runner import StoppedError
from .session import ERROR, FAILED, RUNNING, STOPPED, WARNING, Host, Session
from .sheet import analysis_grid, analysis_head, bar_chart

CHART = "chart.png"
NOT_FINITE = t("the predicted noise contains NaN or infinity; the model may need higher precision")


class AnalysisSession(Session):
    """An analysis, or a quick scan: which blocks of a LoRA change the picture."""

    name = "analysis"
    asked: AnalysisRequest
    request: AnalysisRequest

    def __init__(self, host: Host, request: AnalysisRequest) -> None:
        """Prepare an analysis; see `Session`."""
        super().__init__(host, request, [tag_to_analyze(request.prompt)])

    def _plan(self) -> None:
        request, made, step = self.request, self.prepared, self.prepared.seed_step
        self.settings = Settings(
            choices=tuple(choose(request.blocks, made.architecture, made.tensors)),
            seeds=tuple(made.seed + number * step for number in range(request.seeds)),
            span=request.span,
            threshold=request.threshold,
            diff_color=request.diff_color,
            swap_axes=request.swap_axes,
            prompts=request.prompts,
        )
        self._remarks: list[str] = []
        mask = request.mask_of(self._remarks)
        if mask is not None and request.mask is not None:
            mask(request.width, request.height)  # reports an empty region before anything is rendered
        self.analysis = Analysis(self.settings, made.architecture, made.tensors, made.store, mask)
        self.total = len(self.analysis.cells)

    @property
    def results(self) -> list[BlockResult]:
        """What is known about each choice of blocks."""
        return self.analysis.results

    @property
    def suggestion(self) -> Suggestion:
        """The blocks, sorted by the thresholds."""
        return suggest(self.results, self.request.not_needed, self.request.needed)

    @property
    def touched(self) -> list[str]:
        """The model's blocks that the LoRA has tensors in."""
        return [block for block in self.prepared.architecture.blocks if self.prepared.tensors.get(block)]

    @property
    def not_measured(self) -> list[str]:
        """The blocks that the LoRA has tensors in, and of which nothing is known."""
        verdicts = self.suggestion.verdicts
        return [block for block in self.touched if block not in verdicts]

    @property
    def preset_name(self) -> str:
        """A valid preset name, made from the LoRA's name."""
        name = "".join(sign for sign in self.lora if sign not in ":#<>,\r\n").strip()
        try:
            return check_name(name)
        except LbwError:
            return "SUGGESTION"

    def heading(self, sample: Sample) -> str:
        """Return the heading of the grid of a source."""
        lora = self.loras[0]
        strength = f"{lora.unet:g}" if lora.te == lora.unet else f"{lora.te:g}:{lora.unet:g}"
        return analysis_head(lora.name, self.settings, sample, f"strength {strength}, {self.prepared.sampling}")

    def chart(self) -> Image.Image:
        """Return the bar chart of all blocks."""
        count = len(self.settings.samples)
        head = f"{self.lora}: {count} sources" if count > 1 else self.lora
        unit = "of the predicted noise" if self.request.is_quick else "of the color values"
        return bar_chart(self.results, self.suggestion, head, self.prepared.font, unit)

    def figures(self) -> dict[str, Any]:
        """Return all figures and settings, as in the JSON file."""
        about = {**self.prepared.about, **self.request.plain(), "lora": self.lora}
        grids = [path.name for path in self.files if path.stem.startswith("grid")]
        analysis = self.analysis
        counts = {"rendered": analysis.rendered, "reused": analysis.reused, "stopped": analysis.stop_reason}
        return {
            **report(self.settings, self.results, self.suggestion, about, self.preset_name, grids),
            **counts,
            "request": self.request.plain(),
            "state": self.state,
        }

    def sort(self, not_needed: float | None, needed: float | None) -> None:
        """Set the thresholds of the suggestion, None for automatic ones, and write the figures again."""
        self.request = replace(self.request, needed=needed, not_needed=not_needed)
        if self.over.is_set():
            self.write()

    def take_report(self, folder: Path, figures: Mapping[str, Any]) -> None:
        """Restore the analysis from `figures`, as returned by the method `figures` of an earlier session.

        Raises:
            LookupError, TypeError, ValueError, OverflowError: they are not valid.
        """
        samples = self.settings.samples
        labels = {self.settings.label(sample): sample for sample in samples}
        known = {result.choice.label: result for result in self.results}
        found = []
        for block in figures["blocks"]:
            result = BlockResult(known[block["block"]].choice)
            for number, (sample, percent) in enumerate(zip(samples, block["percent"], strict=True)):
                parts = [block[name][number] for name in ("inside", "outside") if name in block]
                known_parts = [None if part is None else _finite(part) for part in parts]
                result.changes[sample] = None if percent is None else Change(_finite(percent), *known_parts)
            result.errors = {labels[label]: str(error) for label, error in block.get("errors", {}).items()}
            found.append(result)
        self.analysis.results = found
        self.id, self.folder, self.state = folder.name, folder, figures["state"]
        # When it is written again after a threshold was moved, the report still names the original model.
        self.prepared = replace(self.prepared, about=figures["settings"])
        self.analysis.stop_reason = str(figures.get("stopped", ""))
        self.analysis.rendered, self.analysis.reused = int(figures["rendered"]), int(figures["reused"])
        self.done = self.total
        names = ["analysis.json", "analysis.csv", CHART, *(Path(str(name)).name for name in figures["grids"])]
        self.files = [folder / name for name in names if (folder / name).is_file()]
        self.over.set()

    # The run -------------------------------------------------------------------------------------

    def _work(self) -> None:
        if self.request.is_quick:
            self._scan()
        else:
            self._render()
        for remark in self._remarks:
            self.say(remark, WARNING)
        if ranking(self.results):
            if not self.request.is_quick:
                self._draw_grids()
            self.write()

    def _render(self) -> None:
        analysis = self.analysis
        for _ in analysis.run(self.prepared.renderer):
            self.done += 1
            self.version += 1
        missing = self.total - self.done
        failed = self.done - analysis.rendered - analysis.reused
        counts = {"new": analysis.rendered, "old": analysis.reused}
        if analysis.stop_reason:
            self._fail(analysis.stop_reason)
        if missing:
            self.state = STOPPED if self.state == RUNNING else self.state
            self.say(
                t("Stopped: {new} pictures rendered, {old} reused, {missing} missing.", missing=missing, **counts),
                WARNING,
            )
            self.say(t("Run the same settings again to continue."), WARNING)
        elif failed:
            self.say(
                t("Done: {new} pictures rendered, {old} reused, {failed} failed.", failed=failed, **counts), WARNING
            )
            if not any(counts.values()):
                self.state = FAILED
        else:
            self.say(t("Done: {new} pictures rendered, {old} reused.", **counts))
        for sample, error in analysis.source_errors.items():
            self.say(
                t("The source failed for {source}: {error}", source=self.settings.label(sample), error=error), ERROR
            )
        self._say_why_missing()

    def _say_why_missing(self) -> None:
        """Say of each error which blocks have no result because of it."""
        failures: dict[str, list[str]] = {}
        for result in self.results:
            for error in dict.fromkeys(result.errors.values()):
                failures.setdefault(error, []).append(result.choice.label)
        for error, labels in failures.items():
            self.say(t("{place}: {message}", place=", ".join(labels), message=error), WARNING)

    def _scan(self) -> None:
        made = self.prepared
        if made.probe is None:
            raise LbwError(t("this host does not support the quick scan; choose the full scan"))
        changes = noise_scan(self.settings, made.architecture, made.tensors, made.probe, self._scanned)
        self.analysis.results = scan_results(changes, self.settings.samples)
        self.version += 1
        if ranking(self.results):
            self.say(t("Done: measured how much each block changes the predicted noise; no pictures were rendered."))
            self._say_why_missing()
        else:
            self._fail(NOT_FINITE)

    def _scanned(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        self.progress(done, total, None)
        if self._stop.is_set():
            raise StoppedError

    def _say_stopped(self) -> None:
        if self.request.is_quick:
            self.say(t("Stopped. A quick scan keeps nothing, so the same settings start over."), WARNING)
        else:
            super()._say_stopped()

    # What is written -----------------------------------------------------------------------------

    def _write_grids(self, check: Callable[[], None]) -> None:
        """Write the grid of each source in full size."""
        for sample in self.settings.samples:
            source = self.analysis.store.load(self.analysis.sources[sample])
            if source is not None:
                sheet = analysis_grid(self.analysis, sample, self.heading(sample), self.prepared.font, check=check)
                self._save_grid(sheet, source.infotext, grid_name(self.settings, sample))

    def write(self) -> None:
        """Write the figures and the chart."""

        def write(folder: Path) -> None:
            write_png(self.chart(), "", folder / CHART)
            write_figures(folder / "analysis", {**self.figures(), "state": self.outcome})

        self._save(write, CHART, "analysis.json", "analysis.csv")


def grid_name(settings: Settings, sample: Sample) -> str:
    """Return the file name of a grid: `grid.png`, or for further sources for example `grid-prompt2-seed3.png`."""
    if sample == settings.samples[0]:
        return "grid.png"
    prompt = f"-prompt{sample.prompt + 1}" if len(settings.prompts) > 1 else ""
    return f"grid{prompt}-seed{sample.seed}.png"


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no figure")
    return number


def scan_results(changes: Sequence[NoiseChange], samples: Sequence[Sample]) -> list[BlockResult]:
    """Return the changes of a quick scan as results of an analysis, in percent of the predicted noise."""
    return [
        BlockResult(
            one.choice,
            {s: None if change is None else Change(100 * change) for s, change in zip(samples, one.changes)},
            {s: NOT_FINITE for s, change in zip(samples, one.changes) if change is None},
        )
        for one in changes
    ]
