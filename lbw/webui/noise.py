"""The quick scan on a WebUI: its own generations ask the denoiser for the noise of each cell, and decode nothing.

The generation of a source runs to the last kept step. That of another cell asks the denoiser, with the cell's weights
and text, only what the source asked it at the kept steps. Both then leave the sampler as an interruption does, so that
it cleans up; and hand over an empty picture as if it were decoded, so that the WebUI ends them as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from modules import processing, sd_samplers_cfg_denoiser, sd_samplers_common, sd_samplers_timesteps

from lbw.analysis.cells import Cell
from lbw.analysis.noise_scan import AT, Noise, kept_steps
from lbw.analysis.runner import SkippedError, StoppedError
from lbw.core.errors import HostError
from lbw.hosts.patch import Patch

from .cells import WebuiRenderer
from .denoiser import calls_per_step


class Call(NamedTuple):
    """A call of the denoiser at a kept step.

    number: how many calls of the pass came before. x: the noisy latents, (1, channels, height, width). sigma: their
    noise level, (1,), or the timestep, as the sampler counts.
    """

    number: int
    x: torch.Tensor
    sigma: torch.Tensor


class NoiseProbe:
    """Asks the denoiser in the generations of a renderer.

    stopped: whether the user wants no more. at: where on the way from noise to picture, as shares of the steps.
    """

    def __init__(self, renderer: WebuiRenderer, stopped: Callable[[], bool], at: Sequence[float] = AT) -> None:
        self.renderer = renderer
        self.stopped = stopped
        self.at = tuple(at)
        self._source: tuple[int, str] | None = None
        self._calls: list[Call] = []

    def noise(self, cell: Cell) -> Noise:
        """Return the guided noise of `cell` at the kept steps: (steps, 1, channels, height, width).

        Raises:
            StoppedError: the user said so. HostError: the sampler does not reach the kept steps, or the model fails.
        """
        p = self.renderer.generation(cell)
        p.restore_faces = False
        source = (cell.seed, cell.prompt)
        answer = Answer(p, self._calls if source == self._source else [], self.stopped, self.at)
        p.sample = answer.sample
        try:
            self.renderer.process(p)
        except SkippedError as error:
            raise StoppedError from error
        if not answer.is_complete:
            if self.stopped():
                raise StoppedError
            raise HostError(f"the sampler {p.sampler_name} ends before the step that is scanned; choose another one")
        self._source, self._calls = source, answer.calls
        noise = np.stack(answer.noise)
        if not np.isfinite(noise).all():
            raise HostError("the model predicts values that are no numbers (NaN); a higher precision may help")
        return noise


class Answer:
    """What the denoiser predicts in one generation `p`.

    calls: the source's; none where `p` is the source itself. stopped, at: as in `NoiseProbe`.
    """

    def __init__(self, p: Any, calls: list[Call], stopped: Callable[[], bool], at: Sequence[float] = AT) -> None:
        self.at = at
        self.p = p
        self.calls = calls
        self.stopped = stopped
        self.noise: list[Noise] = []
        self.is_complete = False
        self._is_source = not calls
        self._sample = p.sample

    def sample(self, *args: Any, **kwargs: Any) -> Any:
        """Sample as far as is needed, in place of the generation's own method; return an empty picture."""
        patch = Patch(sd_samplers_cfg_denoiser.CFGDenoiser, "forward", self._forward)
        try:
            self._sample(*args, **kwargs)
        finally:
            patch.remove()
        return processing.DecodedSamples([torch.zeros(3, 8, 8)])

    def _forward(self, forward: Any, denoiser: Any, *args: Any, **kwargs: Any) -> Any:
        if denoiser.p is not self.p:
            return forward(denoiser, *args, **kwargs)
        return self._ask(forward, denoiser, *args, **kwargs)

    def _ask(self, forward: Any, denoiser: Any, x: torch.Tensor, sigma: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return what the denoiser answers the sampler; end the sampling when the last kept step is answered."""
        if self.stopped():
            raise sd_samplers_common.InterruptedException
        if not self._is_source:
            denoiser.step, x, sigma = self.calls[len(self.noise)]
        call = Call(denoiser.step, x, sigma)
        answer = forward(denoiser, x, sigma, *args, **kwargs)
        kept = [step * calls_per_step(denoiser) for step in kept_steps(denoiser.steps, self.at)]
        if call.number in kept:
            if self._is_source:
                self.calls.append(call)
            self.noise.append(_noise(denoiser, call, answer))
            self.is_complete = len(self.noise) == len(kept)
            if self.is_complete:
                raise sd_samplers_common.InterruptedException
        return answer


def _noise(denoiser: Any, call: Call, answer: torch.Tensor) -> Noise:
    """Return the noise that `answer` says: samplers that count in timesteps are given it, others clean latents."""
    if not isinstance(denoiser, sd_samplers_timesteps.CFGDenoiserTimesteps):
        sigma = call.sigma.reshape(-1, *[1] * (call.x.ndim - 1))
        answer = (call.x - answer) / sigma
    noise: Noise = answer.float().cpu().numpy()
    return noise
