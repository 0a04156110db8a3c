"""What the panels *Analyze* and *Tuner* ask of the standalone host."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lbw.analysis.cells import Cell
from lbw.analysis.effective_blocks import Analysis
from lbw.analysis.measure import Pixels
from lbw.analysis.prompt import tag_to_analyze
from lbw.analysis.store import CellStore, forget_oldest
from lbw.analysis.xyz import random_seed
from lbw.core.errors import WeightsError
from lbw.core.family import Architecture
from lbw.ui.analyzer_host import Prepared, Question, Show, tuner_round
from lbw.ui.folders import open_folder

from .analyze import CellRenderer, context, head_of
from .commands import usual
from .renderer import Job, Renderer
from .scan import NoiseProbe

CELLS = Path(tempfile.gettempdir()) / "lbw-cells"


class StudioAnalyzerHost:
    """Renders with the model that the studio was started with."""

    def __init__(self, fresh: Callable[[], Renderer], bundled: bool, example: str, output: Path) -> None:
        """Serve the renderer that `fresh` returns with the presets as they are.

        bundled: whether the model is the small one. example: a prompt to begin with. output: where results go.
        """
        self.fresh = fresh
        self.bundled = bundled
        self.example = example
        self.output = output.resolve()

    def loras(self) -> list[str]:
        """Return the names that tags may use."""
        return list(self.fresh().host.library.names())

    def loaded(self) -> Architecture:
        """Return the architecture of the studio's model."""
        return self.fresh().host.architecture

    def samplers(self) -> list[str]:
        """Return none: the pipeline has its own."""
        return []

    def defaults(self) -> Question:
        """Return what the fields hold at first."""
        maker = self.fresh()
        values = usual(maker, self.bundled)
        first = next(iter(self.loras()), "name")
        return Question(
            f"{self.example} <lora:{first}:1:lbw=XYZ>", seed=1, **values,
        )  # fmt: skip

    def open_folder(self, folder: Path) -> None:
        """Show `folder` in the file manager."""
        open_folder(folder)

    def prepare(self, question: Question, show: Show, stopped: Callable[[], bool]) -> Prepared:
        """Return the analysis that `question` describes.

        Raises:
            LbwError: something in the question is wrong; nothing was rendered.
        """
        maker = self.fresh()
        job = _job(question)
        name = tag_to_analyze(job.prompt).name
        architecture = maker.host.architecture
        tensors = maker.host.tensors(name)
        settings = question.settings(architecture, tensors, job.seed)
        mask, remarks = question.region(job.width, job.height)
        forget_oldest(CELLS)
        analysis = Analysis(settings, architecture, tensors, CellStore(CELLS, context(maker, job)), mask)
        renderer = CellRenderer(maker, job, show, stopped)
        head = head_of(name, analysis, job, job.seed)
        probe = NoiseProbe(maker, job)
        return Prepared(analysis, renderer, probe, name, head, self.output / f"{name}-blocks", remarks)

    def rounds(self, todo: Sequence[Cell], question: Question) -> Iterator[tuple[Cell, Pixels]]:
        """Yield the pictures of a round of the tuner; those that are there from before are used again.

        Raises:
            LbwError: something in the question is wrong, or a picture failed.
        """
        maker = self.fresh()
        job = _job(question)
        tensors = maker.host.tensors(tag_to_analyze(job.prompt).name)
        store = CellStore(CELLS, context(maker, job))
        yield from tuner_round(todo, maker.host.architecture, tensors, CellRenderer(maker, job), store)


def _job(question: Question) -> Job:
    """Return the picture that `question` describes.

    Raises:
        WeightsError: its size is none that a model can render, or it would take for ever.
    """
    question.check()
    for side, pixels in (("Width", question.width), ("Height", question.height)):
        if pixels % 8:
            raise WeightsError(f"{side} {pixels} is no multiple of 8; write for example {max(8, pixels // 8 * 8)}")
    return Job(
        prompt=question.prompt,
        negative=question.negative,
        seed=random_seed() if question.seed == -1 else question.seed,
        steps=question.steps,
        width=question.width,
        height=question.height,
        cfg=question.cfg,
    )
