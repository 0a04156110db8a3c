"""The commands that need a model: render, analyze, demo."""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lbw.analysis.effective_blocks import Cell, Settings, analyze, difference, ranking
from lbw.analysis.sheet import grid
from lbw.core.blocks import locate
from lbw.core.errors import FileError, TagError, WeightsError, quote
from lbw.core.tag import TAG, parse_items
from lbw.files.user_presets import ROOT
from lbw.hosts.standalone import Library, StandaloneHost, load_pipeline

from .console import progress, table
from .explain import load_elements, load_presets
from .renderer import Job, Picture, Renderer, jobs, save_png

DEMO = ROOT / "demo"
DEMO_MODEL = DEMO / "model"
DEMO_LORAS = DEMO / "loras"
# What gives good pictures with the bundled model, and what models of the usual size are made for.
DEMO_DEFAULTS = {"width": 64, "height": 64, "steps": 20, "cfg": 5.0}
DEFAULTS = {"width": 512, "height": 512, "steps": 20, "cfg": 7.0}
SIZES = {"sdxl": 1024, "flux": 1024}


def renderer(options: argparse.Namespace) -> Renderer:
    """Return a renderer with the model and the LoRA folder that were asked for."""
    model = options.model or DEMO_MODEL
    if options.model is None and not (DEMO_MODEL / "model_index.json").is_file():
        raise FileError(f"the bundled model is not at {DEMO_MODEL}; make it with python demo/train.py, or give --model")
    folder = options.lora_dir or (DEMO_LORAS if options.model is None else Path.cwd())
    if not folder.is_dir():
        raise FileError(f"there is no folder {folder}")
    host = StandaloneHost(load_pipeline(model, options.device), Library(folder))
    return Renderer(host, load_presets(options.presets), load_elements(options.elements))


def job_of(options: argparse.Namespace, architecture: str) -> Job:
    """Return the picture that the options describe."""
    values: dict[str, Any] = dict(DEMO_DEFAULTS if options.model is None else DEFAULTS)
    if options.model is not None and architecture in SIZES:
        values["width"] = values["height"] = SIZES[architecture]
    if options.size:
        match = re.fullmatch(r"(\d+)x(\d+)", options.size)
        if not match or not all(8 <= int(n) <= 8192 and int(n) % 8 == 0 for n in match.groups()):
            raise TagError(f"--size {options.size} is none; write for example 512x768, both multiples of 8")
        values["width"], values["height"] = int(match[1]), int(match[2])
    values["seed"] = 1
    given = {"steps": options.steps, "cfg": options.cfg, "seed": options.seed, "negative": options.negative}
    values |= {name: value for name, value in given.items() if value is not None}
    if not 1 <= values["steps"] <= 1000:
        raise TagError(f"--steps {values['steps']} is out of range; 1 to 1000")
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
    todo = jobs(job_of(options, maker.host.architecture.name), options.count)
    output: Path = options.output
    told: set[str] = set()
    done = []
    for number, job in enumerate(progress(todo, len(todo), "rendering")):
        single = output.suffix.lower() == ".png" and len(todo) == 1
        named = output.with_name(f"{output.stem}-{number:04}.png") if output.suffix.lower() == ".png" else None
        path = output if single else named or output / f"{job.seed}.png"
        picture = maker.render(job)
        warn(picture, told)
        save_png(picture, path)
        done.append({"path": str(path), "seed": job.seed, "infotext": picture.infotext})
        if not options.json:
            print(path)
    if options.json:
        print(json.dumps({"pictures": done, "warnings": sorted(told)}, ensure_ascii=False))
    return 0


def analysis(options: argparse.Namespace) -> int:
    """`lbw analyze`."""
    maker = renderer(options)
    job = job_of(options, maker.host.architecture.name)
    return run_analysis(maker, job, options)


def run_analysis(maker: Renderer, job: Job, options: argparse.Namespace) -> int:
    """Render the grid of the LoRA whose tag says `lbw=XYZ`, and write it and its figures."""
    name = looked_at(job.prompt)
    if not 0 <= options.threshold <= 255:
        raise TagError(f"--threshold {options.threshold} is out of range; 0 to 255")
    if options.seeds < 1:
        raise TagError(f"--seeds {options.seeds} is out of range; 1 or more")
    settings = Settings(
        blocks=chosen_blocks(maker.host, name, options.blocks),
        seeds=tuple(range(job.seed, job.seed + options.seeds)),
        span=span_of(options.range),
        threshold=options.threshold,
    )
    told: set[str] = set()

    def picture(weights: str, seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        made = maker.render(replace(job, prompt=with_weights(job.prompt, weights), seed=seed))
        warn(made, told)
        return np.asarray(made.image.convert("RGB"))

    count = len(settings.blocks) * len(settings.seeds)
    cells = list(progress(analyze(picture, settings), count, "analyzing"))
    order = ranking(cells)
    stem = options.output / f"{name}-blocks"
    report = {
        "settings": {**asdict(settings), "prompt": job.prompt, "lora": name},
        "blocks": [block_report(block, cells) for block in settings.blocks],
        "ranking": [block for block, _ in order],
        "grid": f"{stem.name}.png",
    }
    write_results(stem, sheet_of(cells, settings, name), report)
    table(
        ("place", "block", "changed, mean of seeds", ""),
        [
            (str(i), block, f"{mean:.3f} %", "█" * round(mean / max(order[0][1], 1e-9) * 30))
            for i, (block, mean) in enumerate(order, 1)
        ],
    )
    print(f"grid:    {stem.with_suffix('.png')}\nfigures: {stem.with_suffix('.json')}")
    return 0


def looked_at(prompt: str) -> str:
    """Return the name of the LoRA whose block weights say XYZ.

    Raises:
        TagError: none does, or several do.
    """
    requests = [parse_items(match[2].split(":"), {}) for match in TAG.finditer(prompt)]
    names = [request.name for request in requests if request.weights == "XYZ"]
    if len(names) != 1:
        raise TagError(
            f"{len(names) or 'no'} tag{'s' if len(names) != 1 else ''} with lbw=XYZ in the prompt; "
            "write it at the one LoRA to look at: <lora:name:1:lbw=XYZ>"
        )
    return names[0]


def with_weights(prompt: str, weights: str) -> str:
    """Return `prompt` with XYZ replaced by `weights`, in the tag that says it."""
    return TAG.sub(lambda match: re.sub(r"(?<=[:=])XYZ(?=[:>])", weights, match[0]), prompt)


def chosen_blocks(host: StandaloneHost, name: str, text: str) -> tuple[str, ...]:
    """Return the blocks to look at: a list, a layout such as 12ALL, or auto, those that the LoRA has tensors in.

    Raises:
        FileError: there is no such LoRA. WeightsError: a block does not exist.
    """
    from lbw.core.blocks import select

    architecture = host.architecture
    path = host.library.find(name)
    if path is None:
        raise FileError(
            f"LoRA {quote(name)} was not found in {host.library.folder}; there are {', '.join(host.library.names())}"
        )
    file, modules = host.library.load(path)
    own = {locate(module, file.architecture).block for module in modules}
    if text == "auto":
        return tuple(block for block in architecture.blocks if block in own)
    layout = re.fullmatch(r"(\d+)ALL", text)
    if layout:
        count = int(layout[1])
        if count not in architecture.layouts:
            known = ", ".join(f"{n}ALL" for n in architecture.layouts)
            raise WeightsError(f"--blocks {text}: {architecture.title} has no such layout; it has {known}")
        return tuple(block for block in architecture.layouts[count] if block in architecture.blocks)
    blocks: list[str] = []
    for part in text.split(","):
        blocks += select(part.strip(), architecture)
    return tuple(dict.fromkeys(blocks))


def span_of(text: str) -> tuple[float, float]:
    """Return the two numbers of a range."""
    from lbw.core.weights import parse_number

    numbers = [parse_number(part) for part in text.split(",")]
    if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
        raise WeightsError(f"--range {text} is none; write two numbers, for example 0,1 or 0.5,1")
    return numbers[0], numbers[1]


def block_report(block: str, cells: list[Cell]) -> dict[str, Any]:
    """Return a block's figures."""
    percents = [cell.percent for cell in cells if cell.block == block]
    return {"block": block, "percent": percents, "mean": float(np.mean(percents)), "std": float(np.std(percents))}


def sheet_of(cells: list[Cell], settings: Settings, name: str) -> Image.Image:
    """Return the grid of the first seed: difference, changed picture and source of each block."""
    first = [cell for cell in cells if cell.seed == settings.seeds[0]]
    rows = [
        [Image.fromarray(p).resize((128, 128), Image.Resampling.NEAREST) if p.shape[0] < 128 else Image.fromarray(p)
         for p in (difference(c.source, c.changed), c.changed, c.source)]
        for c in first
    ]  # fmt: skip
    low, high = settings.span
    labels = [f"{cell.block}\n{cell.percent:.3f} %" for cell in first]
    return grid(
        rows, labels, ["difference", f"block at {low:g}", f"all at {high:g}"], f"{name}, seed {settings.seeds[0]}"
    )


def write_results(stem: Path, sheet: Image.Image, report: dict[str, Any]) -> None:
    """Write the grid and the figures, each whole or not at all."""
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        part = stem.with_name(f".{stem.name}.part")
        sheet.save(part, format="PNG")
        part.replace(stem.with_suffix(".png"))
        part.write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")
        part.replace(stem.with_suffix(".json"))
    except OSError as error:
        raise FileError(f"{stem}.png cannot be written: {error.strerror or error}") from error


def demo(options: argparse.Namespace) -> int:
    """`lbw demo`: the analysis of a bundled LoRA."""
    options.prompt = f"{options.prompt} <lora:{options.lora}:1:lbw=XYZ>"
    return analysis(options)
