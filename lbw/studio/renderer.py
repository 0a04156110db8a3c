"""From a prompt with tags to a picture, on the standalone host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image, PngImagePlugin

from lbw.core.errors import FileError, quote
from lbw.core.plan import ResolvedLora, at_step, resolve_request
from lbw.core.tag import TAG, LoraRequest, parse_items
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


@dataclass
class Renderer:
    """Renders jobs on `host` with these presets."""

    host: StandaloneHost
    presets: Mapping[str, str]
    elements: Mapping[str, str]

    def resolve(self, job: Job) -> tuple[str, list[ResolvedLora]]:
        """Return the job's prompt without tags, and what its tags ask for."""
        loras = [
            resolve_request(
                parse_items(match[2].split(":"), self.presets),
                self.host.architecture,
                self.presets,
                self.elements,
                job.seed,
            )
            for match in TAG.finditer(job.prompt)
        ]
        return re.sub(r"\s+", " ", TAG.sub("", job.prompt)).strip(), loras

    def render(self, job: Job) -> Picture:
        """Return the picture of `job`.

        Raises:
            FileError: a LoRA file cannot be read.
        """
        text, loras = self.resolve(job)
        problems = [f"LoRA {quote(lora.request.name)}: {problem}" for lora in loras for problem in lora.problems]
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
            prompt=text,
            negative_prompt=job.negative or None,
            num_inference_steps=job.steps,
            guidance_scale=job.cfg,
            width=job.width,
            height=job.height,
            generator=torch.Generator("cpu").manual_seed(job.seed),
            callback_on_step_end=next_step if gated else None,
        )
        image: Image.Image = result.images[0]
        return image


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
        import json

        text += f", LBW: {json.dumps(entries, ensure_ascii=False)}"
    return "\n".join([*lines, text])


def save_png(picture: Picture, path: Path) -> None:
    """Write the picture with its infotext to `path`, whole or not at all.

    Raises:
        FileError: it cannot be written.
    """
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", picture.infotext)
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.image.save(part, format="PNG", pnginfo=info)
        part.replace(path)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def jobs(job: Job, count: int) -> list[Job]:
    """Return `count` jobs that differ in their seed alone."""
    return [replace(job, seed=job.seed + number) for number in range(count)]
