"""The training loop that all stages share: progress, checkpoints, Ctrl-C, threads."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from tqdm import tqdm

Parameters = list[torch.Tensor]


class ThreadChoice:
    """How many threads torch uses; with ``threads=0`` the faster of one and two is measured.

    On a machine that others use too, one thread is often faster than two: of two, the one
    that waits holds up the other.
    """

    def __init__(self, threads: int, every: int = 150, trial: int = 4) -> None:
        self.every = every
        self.trial = trial
        self.fixed = threads > 0
        self.seconds: dict[int, float] = {}
        self.began = time.perf_counter()
        torch.set_num_threads(threads or 1)

    def before_step(self, number: int) -> None:
        """Sets the thread count for the ``number``-th step of this run."""
        if self.fixed:
            return
        place, now = number % self.every, time.perf_counter()
        if place == 0:
            torch.set_num_threads(1)
        elif place == self.trial:
            self.seconds[1] = now - self.began
            torch.set_num_threads(2)
        elif place == 2 * self.trial:
            self.seconds[2] = now - self.began
            torch.set_num_threads(min(self.seconds, key=self.seconds.__getitem__))
        else:
            return
        self.began = now


def cosine_rate(step: int, steps: int, warm_up: int = 100) -> float:
    """Share of the peak learning rate: a linear warm-up, then half a cosine to 2 percent."""
    if step < warm_up:
        return (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return float(0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * min(1.0, progress))))


def loss_weights(timesteps: torch.Tensor, alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """Loss weights for noise prediction: min(SNR, 5) / SNR (arXiv 2303.09556), more where noisy.

    The second factor, at most 10, lies between weighting errors of the noise and of the
    velocity: colours are decided where there is most noise, and there an error of the noise
    that is small makes a picture that is wrong.
    """
    alpha = alphas_cumprod[timesteps]
    snr = alpha / (1 - alpha)
    return snr.clamp(max=5.0) / snr * ((1 + snr) / snr).sqrt().clamp(max=10.0)


def descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor, parameters: Parameters, rate: float) -> float:
    """One step of the optimizer at a learning rate, gradients clipped to norm 1; the loss."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    return float(loss.detach())


def run_steps(
    name: str,
    start: int,
    steps: int,
    one_step: Callable[[int], float],
    save: Callable[[int], None],
    save_every: int = 500,
    threads: int = 2,
) -> None:
    """Runs steps ``start`` to ``steps``; saves now and then, at the end, and on Ctrl-C.

    ``one_step`` gets the step's number, draws all its randomness from it, and returns the
    loss; so a training that was stopped and goes on is the same as one that ran through.
    """
    choice = ThreadChoice(threads)
    done = start
    average: float | None = None
    try:
        with tqdm(range(start, steps), initial=start, total=steps, desc=name) as bar:
            for step in bar:
                choice.before_step(step - start)
                loss = one_step(step)
                done = step + 1
                average = loss if average is None else 0.98 * average + 0.02 * loss
                if step % 20 == 0:
                    bar.set_postfix(loss=f"{average:.4f}")
                if done % save_every == 0 and done < steps:
                    save(done)
    finally:
        if done > start:
            save(done)
