"""From a prompt with tags to a picture, on the standalone host."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from lbw.core.errors import quote
from lbw.core.plan import ResolvedLora, at_step, resolve_request
from lbw.core.tag import LoraRequest, requests_in, without_tags
from lbw.hosts.standalone import StandaloneHost


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


# What `encode_prompt` of a pipeline returns, by the name under which the pipeline takes it.
EMBEDDINGS = {
    "StableDiffusionPipeline": ("prompt_embeds", "negative_prompt_embeds"),
    "StableDiffusionXLPipeline": (
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    ),
}


@dataclass
class Renderer:
    """Renders jobs on `host` with these presets."""

    host: StandaloneHost
    presets: Mapping[str, str]
    elements: Mapping[str, str]
    model: Path | None = None
    """Where the model came from."""
    encoded: dict[object, dict[str, Any]] = field(default_factory=dict)
    """The last text conditioning, by all that it follows from."""
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
        with self.turn:
            problems += self.host.apply([at_step(lora, 1, job.steps) for lora in loras])
            image = self._sample(job, text, loras)
        return Picture(image, infotext(job, loras, type(self.host.pipeline.scheduler).__name__), tuple(problems))

    @torch.inference_mode()
    def _sample(self, job: Job, text: str, loras: list[ResolvedLora]) -> Image.Image:
        pipeline = self.host.pipeline
        order = getattr(pipeline.scheduler, "order", 1)

        def next_step(_: Any, call: int, __: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            step = (call + 1) // order + 1
            if step <= job.steps:
                self.host.apply([at_step(lora, step, job.steps) for lora in loras])
            return tensors

        gated = any(lora.request.span != LoraRequest("").span for lora in loras)
        result = pipeline(
            **self.conditioning(job, text),
            num_inference_steps=job.steps,
            guidance_scale=job.cfg,
            width=job.width,
            height=job.height,
            generator=torch.Generator("cpu").manual_seed(job.seed),
            callback_on_step_end=next_step if gated else None,
        )
        image: Image.Image = result.images[0]
        return image

    @torch.inference_mode()
    def conditioning(self, job: Job, text: str) -> dict[str, Any]:
        """Return what the pipeline is told about the prompt; encoded once, until a text encoder's weights change."""
        pipeline = self.host.pipeline
        plain = {"prompt": text, "negative_prompt": job.negative or None}
        names = EMBEDDINGS.get(type(pipeline).__name__)
        if names is None:
            return plain
        key = (text, job.negative, job.cfg > 1, self.host.encoder_state())
        if key not in self.encoded:
            tensors = pipeline.encode_prompt(
                **plain,
                device=pipeline._execution_device,
                num_images_per_prompt=1,
                do_classifier_free_guidance=job.cfg > 1,
            )
            self.encoded.clear()
            self.encoded[key] = {name: tensor for name, tensor in zip(names, tensors) if tensor is not None}
        return self.encoded[key]


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
