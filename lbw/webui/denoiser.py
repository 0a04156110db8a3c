"""Which sampling step the WebUI's denoiser is about to run for."""

from __future__ import annotations

from typing import Any


def denoise_step(params: Any) -> tuple[int, int]:
    """Return the sampling step, from 1, that the denoiser is about to run for, and the steps of the pass.

    `denoiser.step` counts the denoiser's calls in the pass; second-order samplers make two per step.
    `denoiser.total_steps` is the expected number of calls.
    """
    denoiser = getattr(params, "denoiser", None)
    if denoiser is None or getattr(denoiser, "total_steps", None) is None:
        return int(params.sampling_step) + 1, max(int(params.total_sampling_steps), 1)
    steps = int(denoiser.steps or denoiser.total_steps)
    return min(int(denoiser.step) // calls_per_step(denoiser) + 1, steps), steps


def calls_per_step(denoiser: Any) -> int:
    """Return how often the sampler calls the denoiser in each step except the last."""
    return max(1, round(denoiser.total_steps / int(denoiser.steps or denoiser.total_steps)))


def steps_of(p: Any, hires: bool) -> int:
    """Return the requested number of steps for a pass of the generation `p`."""
    second = getattr(p, "hr_second_pass_steps", 0) if hires else 0
    return int(second or getattr(p, "steps", 0) or 1)
