"""From a prompt with tags to a picture, on the standalone host."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from lbw.analysis.request import RANDOM, PictureRequest
from lbw.analysis.xyz import random_seed
from lbw.core.errors import quote
from lbw.core.plan import ResolvedLora, at_step, resolve_request
from lbw.core.tag import LoraRequest, requests_in, without_tags
from lbw.hosts.standalone import StandaloneHost

from .sampling import arguments, call, encoded_once, steps_watched, takes_negative_prompt


@dataclass(frozen=True)
class Picture:
    """A picture, its infotext, and messages about the tags."""

    image: Image.Image
    infotext: str
    problems: tuple[str, ...]


@dataclass
class PictureRenderer:
    """Renders pictures on `host` with these presets."""

    host: StandaloneHost
    presets: Mapping[str, str]
    elements: Mapping[str, str]
    model: Path | None = None
    """Where the model came from."""
    encoded: dict[tuple[object, str], Any] = field(default_factory=dict)
    """The last text conditionings, by everything that determines them (sampling.encoded_once)."""
    turn: AbstractContextManager[Any] = field(default_factory=threading.RLock)
    """Held while the model is in use: the page may request pictures during an analysis."""

    def resolve(self, request: PictureRequest) -> tuple[str, list[ResolvedLora]]:
        """Return the request's prompt without tags, and the requests of its tags."""
        loras = [
            resolve_request(tag, self.host.architecture, self.presets, self.elements, request.seed)
            for tag in requests_in(request.prompt, self.presets)
        ]
        return without_tags(request.prompt), loras

    def render(self, request: PictureRequest) -> Picture:
        """Return the picture of `request`, with a random seed if it has none.

        Raises:
            FileError: a LoRA file cannot be read.
        """
        if request.seed == RANDOM:
            request = replace(request, seed=random_seed())
        text, loras = self.resolve(request)
        problems = [f"LoRA {quote(lora.request.name)}: {problem}" for lora in loras for problem in lora.problems]
        if request.negative_prompt and not takes_negative_prompt(self.host.pipeline):
            problems.append(
                f"the negative prompt has no effect: {type(self.host.pipeline).__name__} does not support it"
            )
        with self.turn:
            problems += self.begin(request, loras)
            image = self.sample(request, text, loras)
        return Picture(image, infotext(request, loras, type(self.host.pipeline.scheduler).__name__), tuple(problems))

    def begin(self, request: PictureRequest, loras: list[ResolvedLora], step: int = 1) -> list[str]:
        """Merge `loras` for a step, from 1, and return messages about them."""
        return self.host.apply([at_step(lora, step, request.steps) for lora in loras])

    @torch.inference_mode()
    def sample(self, request: PictureRequest, text: str, loras: list[ResolvedLora]) -> Image.Image:
        """Return the picture of `text`; `loras` are merged for the first step.

        Raises:
            HostError: the pipeline cannot render the request.
        """
        pipeline = self.host.pipeline
        given = arguments(
            pipeline, text, request.negative_prompt, request.cfg_scale, request.steps, request.width, request.height
        )
        given["generator"] = torch.Generator("cpu").manual_seed(request.seed)
        with ExitStack() as stack:
            if any(lora.request.span != LoraRequest("").span for lora in loras):
                stack.enter_context(
                    steps_watched(pipeline, request.steps, lambda step: self.begin(request, loras, step))
                )
            stack.enter_context(encoded_once(pipeline, self.host.encoder_state(), self.encoded))
            return call(pipeline, given, request.cfg_scale)


def infotext(request: PictureRequest, loras: list[ResolvedLora], scheduler: str) -> str:
    """Return the infotext of a picture, in the format of the WebUIs."""
    sampler = scheduler.removesuffix("Scheduler").removesuffix("Discrete")
    lines = [request.prompt]
    if request.negative_prompt:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    fields = {
        "Steps": request.steps,
        "Sampler": sampler,
        "CFG scale": request.cfg_scale,
        "Seed": request.seed,
        "Size": f"{request.width}x{request.height}",
    }
    entries = "".join(f"<{lora.entry}>" for lora in loras if lora.entry)
    text = ", ".join(f"{name}: {value}" for name, value in fields.items())
    if entries:
        text += f", LBW: {json.dumps(entries, ensure_ascii=False)}"
    return "\n".join([*lines, text])


def with_seeds(request: PictureRequest, count: int) -> list[PictureRequest]:
    """Return `count` requests that differ only in their seed."""
    return [replace(request, seed=request.seed + number) for number in range(count)]
