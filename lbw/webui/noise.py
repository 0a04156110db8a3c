"""The quick scan on a WebUI: its own generations call the denoiser for the noise of each cell, and decode nothing.

The generation of a source runs to the last recorded step. That of another cell only calls the denoiser, with the cell's
weights and text, on the source's inputs at the recorded steps. Both then leave the sampler like an interruption, so
that it cleans up, and return an empty picture as if it were decoded, so that the WebUI finishes them like any other.
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
from lbw.core.texts import t
from lbw.hosts.patch import Patch

from .cells import WebuiRenderer
from .denoiser import calls_per_step


class Call(NamedTuple):
    """A call of the denoiser at a recorded step.

    number: how many calls of the pass came before it. x: the noisy latents, (1, channels, height, width). sigma: their
    noise level, (1,), or the timestep, as the sampler counts.
    """

    number: int
    x: torch.Tensor
    sigma: torch.Tensor


class NoiseProbe:
    """Calls the denoiser in the generations of a renderer.

    stopped: whether the user has stopped it. at: at which points of the sampling, as fractions of the steps.
    """

    def __init__(self, renderer: WebuiRenderer, stopped: Callable[[], bool], at: Sequence[float] = AT) -> None:
        self.renderer = renderer
        self.stopped = stopped
        self.at = tuple(at)
        self._source: tuple[int, str] | None = None
        self._calls: list[Call] = []

    def noise(self, cell: Cell) -> Noise:
        """Return the guided noise of `cell` at the recorded steps: (steps, 1, channels, height, width).

        Raises: StoppedError: stopped by the user. HostError: the sampler does not reach the recorded steps, or the
            model fails.
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
            sampler = p.sampler_name
            raise HostError(
                t("the sampler {sampler} finishes before the scanned step; choose another one", sampler=sampler)
            )
        self._source, self._calls = source, answer.calls
        noise = np.stack(answer.noise)
        if not np.isfinite(noise).all():
            raise HostError(t("the model's prediction contains NaN; a higher precision may help"))
        return noise


class Answer:
    """What the denoiser predicts in one generation `p`.

    calls: the source's; empty if `p` is the source itself. stopped, at: as in `NoiseProbe`.
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
        """Sample as far as needed, replacing the generation's own method; return an empty picture."""
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
        """Return the denoiser's result to the sampler; end the sampling after the last recorded step."""
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
    """Return the noise in `answer`: samplers with timesteps return it directly, others return clean latents."""
    if not isinstance(denoiser, sd_samplers_timesteps.CFGDenoiserTimesteps):
        sigma = call.sigma.reshape(-1, *[1] * (call.x.ndim - 1))
        answer = (call.x - answer) / sigma
    noise: Noise = answer.float().cpu().numpy()
    return noise
