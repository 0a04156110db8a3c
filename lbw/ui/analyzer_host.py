"""What the panels *Analyze* and *Tuner* ask of a host: the WebUI's tab and the studio's page each have their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lbw.analysis.cells import Cell, choose, parse_span, whole_number
from lbw.analysis.effective_blocks import BLACK, Analysis, Settings
from lbw.analysis.measure import Mask, Pixels, picture_mask
from lbw.analysis.noise_scan import NoiseChange, Probe, noise_scan
from lbw.analysis.runner import Renderer, run
from lbw.analysis.sheet import beside
from lbw.analysis.store import CellStore
from lbw.core import limits
from lbw.core.errors import HostError, TagError, WeightsError
from lbw.core.family import Architecture

Show = Callable[[int, int, "float | None"], None]
"""Told how far it is: pictures that are done, pictures in all, seconds left or None."""


@dataclass(frozen=True)
class Question:
    """What the panel's fields say, as they were written: a host checks them and says what is wrong.

    seed: -1 for a random one. sampler: empty where the host has no choice of them. mask: a grey picture, (height,
    width), light where to look; None to look everywhere.
    """

    prompt: str
    negative: str = ""
    seed: int = -1
    steps: int = 20
    width: int = 512
    height: int = 512
    cfg: float = 7.0
    sampler: str = ""
    span: str = "0,1"
    blocks: str = "auto"
    seeds: str = "1"
    threshold: str = "20"
    background: str = BLACK
    swap_axes: bool = False
    mask: NDArray[np.uint8] | None = None

    def check(self) -> None:
        """Check what decides how long a picture takes, before anything is done for it.

        Raises:
            TagError: a prompt is too long. WeightsError: a number is past what is rendered.
        """
        for what, text in (("the prompt", self.prompt), ("the negative prompt", self.negative)):
            limits.check_length(text, limits.PROMPT_CHARACTERS, what, TagError)
        whole_number(self.seed, "seed", -1, limits.SEED)
        whole_number(self.steps, "steps", 1, limits.STEPS)
        whole_number(self.width, "width", 8, limits.PICTURE_SIDE)
        whole_number(self.height, "height", 8, limits.PICTURE_SIDE)
        if not abs(self.cfg) <= limits.GUIDANCE:
            raise WeightsError(f"CFG scale {self.cfg} is out of range; {-limits.GUIDANCE:g} to {limits.GUIDANCE:g}")

    def settings(self, architecture: Architecture, tensors: Mapping[str, int], seed: int) -> Settings:
        """Return what is analyzed of a LoRA with `tensors` in each block, from the source of `seed` on.

        Raises:
            LbwError: a field cannot be understood.
        """
        return Settings(
            choices=tuple(choose(self.blocks, architecture, tensors)),
            seeds=tuple(range(seed, seed + whole_number(self.seeds, "number of seed", 1, limits.SEEDS))),
            span=parse_span(self.span),
            threshold=whole_number(self.threshold, "difference threshold", 0, 255),
            background=self.background,
            swap_axes=self.swap_axes,
        )

    def region(self, width: int, height: int) -> tuple[Mask | None, tuple[str, ...]]:
        """Return where to look in pictures of this size, None for everywhere; and what there is to say about it."""
        if self.mask is None:
            return None, ()
        mask, remark = picture_mask(self.mask, width, height)
        return mask, (remark,) if remark else ()


@dataclass(frozen=True)
class Prepared:
    """An analysis that is ready to run.

    probe: what the quick scan asks in place of the renderer. lora: the name of the LoRA that is looked at. head: what
    stands above the grid of the first seed. stem: beside which files the results are written. remarks: what there is
    to say about the question.
    """

    analysis: Analysis
    renderer: Renderer
    probe: Probe
    lora: str
    head: str
    stem: Path
    remarks: tuple[str, ...] = ()

    def scan(self, show: Callable[[int, int], None]) -> list[NoiseChange]:
        """Return what each block does to the predicted noise, the largest change first: the quick scan.

        show: is told how far it is before the first cell and after each; what it raises ends the scan.

        Raises:
            StoppedError: the user said so. LbwError: the model's denoiser cannot be asked.
        """
        analysis, settings = self.analysis, self.analysis.settings
        return noise_scan(
            settings.choices, settings.seeds, settings.span, analysis.architecture, analysis.tensors, self.probe, show
        )


class TunerHost(Protocol):
    """A host of the tuner."""

    def loaded(self) -> Architecture | None:
        """Return the architecture of the model that is loaded, None if it is not known; nothing is loaded for it."""

    def samplers(self) -> list[str]:
        """Return the samplers to choose from; empty where there is no choice."""

    def defaults(self) -> Question:
        """Return what the fields hold at first."""

    def rounds(self, todo: Sequence[Cell], question: Question) -> Iterable[tuple[Cell, Pixels]]:
        """Yield each of the cells with its picture, in any order, as it is rendered.

        Raises:
            LbwError: something in the question is wrong, or a picture failed.
        """


class AnalyzerHost(Protocol):
    """A host of the analyzer."""

    def loras(self) -> list[str]:
        """Return the names that tags may use."""

    def samplers(self) -> list[str]:
        """Return the samplers to choose from; empty where there is no choice."""

    def defaults(self) -> Question:
        """Return what the fields hold at first."""

    def open_folder(self, folder: Path) -> None:
        """Show `folder` in the file manager of the machine that serves the page.

        Raises:
            HostError: it cannot, or may not.
        """

    def prepare(self, question: Question, show: Show, stopped: Callable[[], bool]) -> Prepared:
        """Return the analysis that `question` describes.

        show: is told how far it is while it runs. stopped: asked before each picture.

        Raises:
            LbwError: something in the question is wrong; nothing was rendered.
        """


def tuner_round(
    todo: Sequence[Cell], architecture: Architecture, tensors: Mapping[str, int], renderer: Renderer, store: CellStore
) -> Iterator[tuple[Cell, Pixels]]:
    """Yield the pictures of a round of the tuner as they are rendered; those that are kept are used again.

    architecture: that of the loaded model. tensors: how many the LoRA has in each block.

    Raises:
        WeightsError: the tuner is set to another model. HostError: a picture failed.
    """
    if not set(todo[0].layout) <= set(architecture.blocks):
        raise WeightsError(f"the model is {architecture.title}: choose it at Weights type")
    for outcome in run(todo, renderer, store, tensors):
        if outcome.rendered is None:
            raise HostError(f"a picture failed: {outcome.error}")
        yield outcome.cell, beside(outcome.rendered.pictures)
