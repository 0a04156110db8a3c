"""The quick scan on the standalone host: the pipeline samples as usual, but only the predicted noise is used."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from lbw.analysis.cells import Cell
from lbw.analysis.noise_scan import AT, Noise, kept_steps
from lbw.analysis.request import PictureRequest
from lbw.hosts.pipelines import denoisers

from .cells import StandaloneCells
from .renderer import PictureRenderer
from .sampling import replaced, step_of


class _EnoughError(Exception):
    """The trajectory has reached the last recorded step."""


@dataclass
class _Trajectory:
    """The recording of the source's sampling, up to the last recorded step.

    outputs: of the denoiser, by call. steps: of the scheduler, by call.
    """

    outputs: list[Any] = field(default_factory=list)
    steps: list[Any] = field(default_factory=list)


@dataclass
class NoiseProbe:
    """Calls the denoiser of a pipeline at recorded steps of the source's trajectory.

    A cell is sampled like a picture, by the pipeline itself, with its own text conditioning and guidance. But the
    scheduler returns what it returned for the source, and the denoiser only runs at the recorded steps.
    """

    maker: PictureRenderer
    request: PictureRequest
    at: tuple[float, ...] = AT
    kept: dict[tuple[int, str], _Trajectory] = field(default_factory=dict)

    def noise(self, cell: Cell) -> Noise:
        """Return the guided noise of `cell` at the recorded steps.

        Raises:
            LbwError: a LoRA file cannot be read, or the pipeline cannot render the job.
        """
        source = (cell.seed, cell.prompt)
        known = self.kept.get(source)
        trajectory = known or _Trajectory()
        found = self._sample(cell, trajectory, is_source=known is None)
        self.kept = {source: trajectory}
        return np.stack([noise.float().cpu().numpy() for noise in found])

    def _sample(self, cell: Cell, trajectory: _Trajectory, is_source: bool) -> list[torch.Tensor]:
        """Return the guided noise at the recorded steps, and fill `trajectory` if this is the source."""
        cells = StandaloneCells(self.maker, self.request)
        maker, request = cells.cell_maker(cell), cells.cell_request(cell)
        text, loras = maker.resolve(request)
        pipeline = maker.host.pipeline
        kept = [step + 1 for step in kept_steps(request.steps, self.at)]
        found: dict[int, torch.Tensor] = {}
        asked = calls = 0

        def now() -> int:
            return step_of(pipeline.scheduler, calls, request.steps)

        def ask(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            nonlocal asked
            asked += 1
            if not is_source and now() not in kept:
                return trajectory.outputs[asked - 1]
            output = original(*args, **kwargs)
            if is_source:
                trajectory.outputs.append(output)
            return output

        def step(original: Callable[..., Any], noise: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            number = now()
            if number in kept:
                found.setdefault(number, noise)
            if len(found) == len(kept):
                raise _EnoughError
            result = original(noise, *args, **kwargs)  # even if its result is not used: the scheduler counts its calls
            if is_source:
                trajectory.steps.append(result)
            calls += 1
            if now() != number:
                maker.begin(request, loras, now())
            return trajectory.steps[calls - 1]

        with maker.turn, ExitStack() as stack:
            maker.begin(request, loras)
            for denoiser in denoisers(pipeline).values():
                stack.enter_context(replaced(denoiser, "forward", ask))
            stack.enter_context(replaced(pipeline.scheduler, "step", step))
            with suppress(_EnoughError):
                maker.sample(request, text, [])
        return [found[number] for number in kept]
