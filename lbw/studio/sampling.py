"""How to call a diffusers pipeline of any family, based on the parameters of its call.

Pipelines differ in the names of their arguments, in what they return, and in their callbacks. What all have in common
is the method `step` of the scheduler, which gets the guided noise of each step, and, except for modular ones, the
method `encode_prompt`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image

from lbw.analysis.runner import StoppedError
from lbw.core.errors import HostError
from lbw.hosts.pipelines import installed

_GUIDANCE = ("guidance_scale", "true_cfg_scale")
_USUAL_GUIDANCE = 7.0
_KEPT = 8
"""Number of cached encoded prompts: that of a picture, its negative one, and a few more."""


def defaults(pipeline: Any) -> dict[str, Any]:
    """Return the parameters of the pipeline's call with their defaults."""
    blocks = getattr(pipeline, "blocks", None)
    if blocks is not None:  # a modular pipeline, whose call accepts anything
        return {taken.name: taken.default for taken in blocks.inputs if taken.name}
    return {
        name: parameter.default for name, parameter in inspect.signature(type(pipeline).__call__).parameters.items()
    }


def guidance(pipeline: Any) -> str:
    """Return the guidance argument of the pipeline; empty if there is none.

    If there are two, one of them is off by default: a guidance-distilled model takes the guidance as an input, and can
    additionally be guided by a negative prompt, which takes twice the time.
    """
    taken = defaults(pipeline)
    names = [name for name in _GUIDANCE if name in taken]
    return next((name for name in names if (taken[name] or 0) > 1), names[0] if names else "")


def usual_guidance(pipeline: Any) -> float:
    """Return the default guidance of the pipeline."""
    given = defaults(pipeline).get(guidance(pipeline)) or getattr(_guider(pipeline), "guidance_scale", None)
    return float(given or _USUAL_GUIDANCE)


def _guider(pipeline: Any) -> Any:
    """Return the guider component; None if the pipeline itself does the guidance."""
    return getattr(pipeline, "guider", None)


def takes_negative_prompt(pipeline: Any) -> bool:
    """Return whether a negative prompt has an effect at the pipeline's usual guidance."""
    taken = defaults(pipeline)
    name = guidance(pipeline)
    return "negative_prompt" in taken and not (name == "guidance_scale" and "true_cfg_scale" in taken)


def arguments(
    pipeline: Any, prompt: str, negative: str, cfg: float, steps: int, width: int, height: int
) -> dict[str, Any]:
    """Return the arguments of the pipeline for one picture."""
    taken = defaults(pipeline)
    name = guidance(pipeline)
    found: dict[str, Any] = {"prompt": prompt, "num_inference_steps": steps, "width": width, "height": height}
    if name:
        found[name] = cfg
        if "guidance_schedule" in taken:
            found["guidance_schedule"] = None
    if takes_negative_prompt(pipeline):
        # Without one, guidance with an argument of its own is off.
        found["negative_prompt"] = negative if name == "true_cfg_scale" else negative or None
    if "num_frames" in taken:
        found["num_frames"] = 1
    if "output_type" in taken:
        found["output_type"] = "pil"
    if getattr(pipeline, "blocks", None) is not None:
        found["output"] = "images"
    return found


def call(pipeline: Any, given: dict[str, Any], cfg: float) -> Image.Image:
    """Return the picture that the pipeline renders from `given`; for a video, its first frame.

    cfg: for pipelines whose guidance is a component and not an argument.

    Raises:
        HostError: the pipeline does not accept an argument, such as the picture's size, or cannot run with the
            installed libraries.
    """
    guider = _guider(pipeline)
    if hasattr(guider, "guidance_scale"):
        guider.guidance_scale = cfg
    try:
        made = pipeline(**given)
    except (ValueError, TypeError, NameError, AttributeError, ImportError) as error:
        raise HostError(f"{type(pipeline).__name__}, with {installed()}: {error}") from error
    for name in ("images", "frames"):
        made = getattr(made, name, made)
    while not isinstance(made, Image.Image):
        made = made[0]
    return made


@contextmanager
def replaced(owner: Any, name: str, replacement: Callable[..., Any]) -> Iterator[None]:
    """Temporarily replace the method `name` of `owner`; `replacement` gets the method, followed by its arguments."""
    original = getattr(owner, name)
    before = vars(owner).get(name)

    @functools.wraps(original)  # with its signature, which pipelines inspect
    def method(*args: Any, **kwargs: Any) -> Any:
        return replacement(original, *args, **kwargs)

    setattr(owner, name, method)
    try:
        yield
    finally:
        if before is None:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


@contextmanager
def steps_watched(pipeline: Any, steps: int, begins: Callable[[int], None]) -> Iterator[None]:
    """Call `begins` before each sampling step except the first, with its number from 1."""
    calls = 0

    def step(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        result = original(*args, **kwargs)
        calls += 1
        number = step_of(pipeline.scheduler, calls, steps)
        if number != step_of(pipeline.scheduler, calls - 1, steps):
            begins(number)
        return result

    with replaced(pipeline.scheduler, "step", step):
        yield


@contextmanager
def stoppable(pipeline: Any, stopped: Callable[[], bool]) -> Iterator[None]:
    """End the picture with `StoppedError` at its next sampling step once `stopped` returns true."""

    def step(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if stopped():
            raise StoppedError
        return original(*args, **kwargs)

    with replaced(pipeline.scheduler, "step", step):
        yield


def step_of(scheduler: Any, call: int, steps: int) -> int:
    """Return the sampling step, from 1, that the call number `call`, from 0, of the scheduler belongs to.

    A second-order scheduler is called twice per step, but once in the last; one that starts with another method, such
    as PLMS, is called a few times in the first.
    """
    order = getattr(scheduler, "order", 1)
    first = max(0, len(scheduler.timesteps) - steps) if order == 1 else 0
    return min(max(0, call - first) // order + 1, steps)


@contextmanager
def encoded_once(pipeline: Any, state: object, kept: dict[tuple[object, str], Any]) -> Iterator[None]:
    """Cache the encoded prompts of the pipeline in `kept`, by arguments.

    state: of the text encoders; prompts encoded in another state are dropped.
    """
    if not hasattr(pipeline, "encode_prompt"):
        yield
        return
    for key in [key for key in kept if key[0] != state]:
        del kept[key]

    def encode(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        key = state, repr((args, sorted(kwargs.items())))
        if any(isinstance(value, torch.Tensor) for value in (*args, *kwargs.values())):
            return original(*args, **kwargs)
        if key not in kept:
            while len(kept) >= _KEPT:
                del kept[next(iter(kept))]
            kept[key] = original(*args, **kwargs)
        return kept[key]

    with replaced(pipeline, "encode_prompt", encode):
        yield
