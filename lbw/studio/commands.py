"""The command that renders pictures, and what all commands that need a model share."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from lbw.analysis.png import write_png
from lbw.core import limits
from lbw.core.errors import FileError, TagError
from lbw.files.user_presets import ROOT
from lbw.hosts.standalone import Library, StandaloneHost, load_pipeline

from .console import progress
from .renderer import Job, Picture, Renderer, jobs
from .sampling import usual_guidance
from .store import StudioPresets

DEMO = ROOT / "demo"
DEMO_MODEL = DEMO / "model"
DEMO_LORAS = DEMO / "loras"
# What gives good pictures with the bundled model.
DEMO_DEFAULTS = {"width": 64, "height": 64, "steps": 20, "cfg": 5.0}
STEPS = 20


def renderer(options: argparse.Namespace) -> Renderer:
    """Return a renderer with the model and the LoRA folder that were asked for."""
    model = options.model or DEMO_MODEL
    if options.model is None and not (DEMO_MODEL / "model_index.json").is_file():
        raise FileError(f"the bundled model is not at {DEMO_MODEL}; make it with python demo/train.py, or give --model")
    folder = options.lora_dir or (DEMO_LORAS if options.model is None else Path.cwd())
    if not folder.is_dir():
        raise FileError(f"there is no folder {folder}")
    host = StandaloneHost(load_pipeline(model, options.device, config=options.config), Library(folder))
    store = StudioPresets(weights=options.presets, rules=options.elements)
    return Renderer(host, store.presets(), store.elements(), Path(model))


def usual(maker: Renderer, bundled: bool) -> dict[str, Any]:
    """Return size, steps and guidance that the model is made for. bundled: whether it is the small one."""
    if bundled:
        return dict(DEMO_DEFAULTS)
    side = maker.host.architecture.family.picture_size
    return {"width": side, "height": side, "steps": STEPS, "cfg": usual_guidance(maker.host.pipeline)}


def job_of(options: argparse.Namespace, maker: Renderer) -> Job:
    """Return the picture that the options describe."""
    values = usual(maker, options.model is None)
    if options.size:
        match = re.fullmatch(r"([0-9]{1,9})x([0-9]{1,9})", options.size)
        if not match or not all(8 <= int(n) <= limits.PICTURE_SIDE and int(n) % 8 == 0 for n in match.groups()):
            raise TagError(f"--size {options.size} is none; write for example 512x768, both multiples of 8")
        values["width"], values["height"] = int(match[1]), int(match[2])
    values["seed"] = 1
    given = {"steps": options.steps, "cfg": options.cfg, "seed": options.seed, "negative": options.negative}
    values |= {name: value for name, value in given.items() if value is not None}
    if not 1 <= values["steps"] <= limits.STEPS:
        raise TagError(f"--steps {values['steps']} is out of range; 1 to {limits.STEPS}")
    for name, most in (("seed", limits.SEED), ("cfg", limits.GUIDANCE)):
        if not abs(values[name]) <= most:
            raise TagError(f"--{name} {values[name]} is out of range; {-most:.0f} to {most:.0f}")
    prompt = sys.stdin.read().strip() if options.prompt == "-" else options.prompt
    return Job(prompt=prompt, **values)


def warn(picture: Picture, told: set[str]) -> None:
    """Print what there was to say about the tags, each once."""
    for problem in picture.problems:
        if problem not in told:
            told.add(problem)
            print(f"lbw: {problem}", file=sys.stderr)


def render(options: argparse.Namespace) -> int:
    """`lbw render`."""
    if options.count < 1:
        raise TagError(f"--count {options.count} is out of range; 1 or more")
    maker = renderer(options)
    todo = jobs(job_of(options, maker), options.count)
    output: Path = options.output
    told: set[str] = set()
    done = []
    for number, job in enumerate(progress(todo, len(todo), "rendering")):
        single = output.suffix.lower() == ".png" and len(todo) == 1
        named = output.with_name(f"{output.stem}-{number:04}.png") if output.suffix.lower() == ".png" else None
        path = output if single else named or output / f"{job.seed}.png"
        picture = maker.render(job)
        warn(picture, told)
        write_png(picture.image, picture.infotext, path)
        done.append({"path": str(path), "seed": job.seed, "infotext": picture.infotext})
        if not options.json:
            print(path)
    if options.json:
        print(json.dumps({"pictures": done, "warnings": sorted(told)}, ensure_ascii=False))
    return 0
