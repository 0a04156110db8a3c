"""The command `render`, and what all commands with a model have in common."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any, TypeVar

from lbw.analysis.png import write_png
from lbw.analysis.request import PictureRequest
from lbw.core import limits
from lbw.core.errors import FileError, TagError
from lbw.files.user_presets import ROOT
from lbw.hosts.standalone import Library, StandaloneHost, load_pipeline

from .console import progress
from .renderer import Picture, PictureRenderer, with_seeds
from .sampling import usual_guidance
from .store import StudioPresets

DEMO = ROOT / "demo"
DEMO_MODEL = DEMO / "model"
DEMO_LORAS = DEMO / "loras"
# Settings for good pictures with the bundled model.
DEMO_DEFAULTS = {"width": 64, "height": 64, "steps": 20, "cfg_scale": 5.0}
STEPS = 20


def renderer(options: argparse.Namespace) -> PictureRenderer:
    """Return a renderer with the requested model and LoRA folder."""
    model = options.model or DEMO_MODEL
    if options.model is None and not (DEMO_MODEL / "model_index.json").is_file():
        raise FileError(
            f"the bundled model is missing at {DEMO_MODEL}; create it with python demo/train.py, or pass --model"
        )
    folder = options.lora_dir or (DEMO_LORAS if options.model is None else Path.cwd())
    if not folder.is_dir():
        raise FileError(f"there is no folder {folder}")
    host = StandaloneHost(load_pipeline(model, options.device, config=options.config), Library(folder))
    store = StudioPresets(weights=options.presets, rules=options.elements)
    return PictureRenderer(host, store.presets(), store.elements(), Path(model))


def usual(maker: PictureRenderer, bundled: bool) -> dict[str, Any]:
    """Return the model's native size, steps and guidance. bundled: whether it is the bundled model."""
    if bundled:
        return dict(DEMO_DEFAULTS)
    side = maker.host.architecture.family.picture_size
    return {"width": side, "height": side, "steps": STEPS, "cfg_scale": usual_guidance(maker.host.pipeline)}


R = TypeVar("R", bound=PictureRequest)


def read_request(kind: type[R], options: argparse.Namespace, base: R | None = None) -> R:
    """Return the request of `kind` in the options; missing ones are as in `base`.

    Raises:
        LbwError: an option is not valid.
    """
    given = {name: getattr(options, name, None) for name in kind.options()}
    given["prompt"] = prompt_of(options)
    if getattr(options, "size", None):
        given["width"], given["height"] = size_of(options.size)
    return kind.read(given, base, by_flag=True)


def prompt_of(options: argparse.Namespace) -> str:
    """Return the prompt; if it is `-`, read it from standard input, once."""
    if options.prompt == "-":
        options.prompt = sys.stdin.read().strip()
    return str(options.prompt)


def size_of(text: str) -> tuple[int, int]:
    """Return width and height in pixels.

    Raises:
        TagError: they are not valid, or no size that a model can render.
    """
    match = re.fullmatch(r"([0-9]{1,9})x([0-9]{1,9})", text)
    if not match or not all(8 <= int(n) <= limits.PICTURE_SIDE and int(n) % 8 == 0 for n in match.groups()):
        raise TagError(f"--size {text} is not valid; write for example 512x768, both multiples of 8")
    return int(match[1]), int(match[2])


def defaults(kind: type[R], maker: PictureRenderer, options: argparse.Namespace) -> R:
    """Return the request of `kind` with the model's native settings."""
    return kind(seed=1, **usual(maker, options.model is None))


def warn(picture: Picture, told: set[str]) -> None:
    """Print messages about the tags, each once."""
    for problem in picture.problems:
        if problem not in told:
            told.add(problem)
            print(f"lbw: {problem}", file=sys.stderr)


def render(options: argparse.Namespace) -> int:
    """`lbw render`."""
    if options.count < 1:
        raise TagError(f"--count {options.count} is out of range; it must be 1 or more")
    read_request(PictureRequest, options)  # before the model is loaded, so that errors are reported at once
    maker = renderer(options)
    request = read_request(PictureRequest, options, defaults(PictureRequest, maker, options))
    todo = with_seeds(request, options.count)
    output: Path = options.output
    told: set[str] = set()
    done = []
    for number, request in enumerate(progress(todo, len(todo), "rendering")):
        single = output.suffix.lower() == ".png" and len(todo) == 1
        named = output.with_name(f"{output.stem}-{number:04}.png") if output.suffix.lower() == ".png" else None
        path = output if single else named or output / f"{request.seed}.png"
        picture = maker.render(request)
        warn(picture, told)
        write_png(picture.image, picture.infotext, path)
        done.append({"path": str(path), "seed": request.seed, "infotext": picture.infotext})
        if not options.json:
            print(path)
    if options.json:
        print(json.dumps({"pictures": done, "warnings": sorted(told)}, ensure_ascii=False))
    return 0
