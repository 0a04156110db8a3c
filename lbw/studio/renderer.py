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

from lbw.core.errors import quote
from lbw.core.plan import ResolvedLora, at_step, resolve_request
from lbw.core.tag import LoraRequest, requests_in, without_tags
from lbw.hosts.standalone import StandaloneHost

from .sampling import arguments, call, encoded_once, steps_watched, takes_negative_prompt


@dataclass(frozen=True)
class Job:
    """One picture: what the WebUIs call the generation parameters."""

    prompt: str
    negative: str = ""
    seed: int = 1
    steps: int = 20
    width: int = 512
    height: int = 512
    cfg: float = 7.0


@dataclass(frozen=True)
class Picture:
    """A picture, its infotext, and what there was to say about the tags."""

    image: Image.Image
    infotext: str
    problems: tuple[str, ...]


@dataclass
class Renderer:
    """Renders jobs on `host` with these presets."""

    host: StandaloneHost
    presets: Mapping[str, str]
    elements: Mapping[str, str]
    model: Path | None = None
    """Where the model came from."""
    encoded: dict[tuple[object, str], Any] = field(default_factory=dict)
    """The last text conditioning, by all that it follows from (sampling.encoded_once)."""
    turn: AbstractContextManager[Any] = field(default_factory=threading.RLock)
    """Held while the model is used: a page may ask for pictures while an analysis runs."""

    def resolve(self, job: Job) -> tuple[str, list[ResolvedLora]]:
        """Return the job's prompt without tags, and what its tags ask for."""
        loras = [
            resolve_request(request, self.host.architecture, self.presets, self.elements, job.seed)
            for request in requests_in(job.prompt, self.presets)
        ]
        return without_tags(job.prompt), loras

    def render(self, job: Job) -> Picture:
        """Return the picture of `job`.

        Raises:
            FileError: a LoRA file cannot be read.
        """
        text, loras = self.resolve(job)
        problems = [f"LoRA {quote(lora.request.name)}: {problem}" for lora in loras for problem in lora.problems]
        if job.negative and not takes_negative_prompt(self.host.pipeline):
            problems.append(f"the negative prompt has no effect: {type(self.host.pipeline).__name__} takes none")
        with self.turn:
            problems += self.begin(job, loras)
            image = self.sample(job, text, loras)
        return Picture(image, infotext(job, loras, type(self.host.pipeline.scheduler).__name__), tuple(problems))

    def begin(self, job: Job, loras: list[ResolvedLora], step: int = 1) -> list[str]:
        """Merge `loras` as they are in a step, from 1, and return what there is to say about them."""
        return self.host.apply([at_step(lora, step, job.steps) for lora in loras])

    @torch.inference_mode()
    def sample(self, job: Job, text: str, loras: list[ResolvedLora]) -> Image.Image:
        """Return the picture of `text`; `loras` are merged as in the first step.

        Raises:
            HostError: the pipeline cannot render the job.
        """
        pipeline = self.host.pipeline
        given = arguments(pipeline, text, job.negative, job.cfg, job.steps, job.width, job.height)
        given["generator"] = torch.Generator("cpu").manual_seed(job.seed)
        with ExitStack() as stack:
            if any(lora.request.span != LoraRequest("").span for lora in loras):
                stack.enter_context(steps_watched(pipeline, job.steps, lambda step: self.begin(job, loras, step)))
            stack.enter_context(encoded_once(pipeline, self.host.encoder_state(), self.encoded))
            return call(pipeline, given, job.cfg)


def infotext(job: Job, loras: list[ResolvedLora], scheduler: str) -> str:
    """Return the text that goes with a picture, in the WebUIs' form."""
    sampler = scheduler.removesuffix("Scheduler").removesuffix("Discrete")
    lines = [job.prompt]
    if job.negative:
        lines.append(f"Negative prompt: {job.negative}")
    fields = {
        "Steps": job.steps,
        "Sampler": sampler,
        "CFG scale": job.cfg,
        "Seed": job.seed,
        "Size": f"{job.width}x{job.height}",
    }
    entries = "".join(f"<{lora.entry}>" for lora in loras if lora.entry)
    text = ", ".join(f"{name}: {value}" for name, value in fields.items())
    if entries:
        text += f", LBW: {json.dumps(entries, ensure_ascii=False)}"
    return "\n".join([*lines, text])


def jobs(job: Job, count: int) -> list[Job]:
    """Return `count` jobs that differ in their seed alone."""
    return [replace(job, seed=job.seed + number) for number in range(count)]
