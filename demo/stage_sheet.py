"""Stage sheet: the sheet of 4x6 prompts, the sheet of LoRAs, and the check of both."""

from __future__ import annotations

from pathlib import Path

import data
import numpy as np
from check import examine
from data import Scene, caption, random_scene
from PIL import Image, ImageDraw, ImageFont
from render import Merger, load_pipeline, render
from store import Places, write_atomically, write_json

ZOOM = 2
COLUMNS = 6
LINE = 13

SCENES = tuple(
    Scene(*words.split())
    for words in (
        "star red large white flat",
        "heart pink large sky flat",
        "circle yellow large night flat",
        "triangle green small white flat",
        "square blue large stripes flat",
        "moon orange large black flat",
        "cross purple large grass outline",
        "diamond red large black outline",
        "star yellow large night outline",
        "heart red large white outline",
        "triangle blue large stripes outline",
        "circle orange small grass outline",
        "square brown large white dots",
        "heart purple large sky dots",
        "star pink large black dots",
        "cross green large white dots",
        "moon blue large grass dots",
        "diamond orange large stripes dots",
        "circle green small sky flat",
        "square pink small night flat",
        "moon yellow small black flat",
        "cross red small stripes flat",
        "diamond purple small grass flat",
        "triangle brown large sky flat",
    )
)
LORA_SCENES = {
    "subject": tuple(
        Scene(data.SUBJECT, *words.split(), "flat")
        for words in (
            "red large white",
            "blue large grass",
            "yellow large night",
            "pink small sky",
            "green large stripes",
            "orange large black",
        )
    ),
    "style": tuple(
        Scene(*words.split(), data.STYLE)
        for words in (
            "star red large white",
            "heart pink large sky",
            "circle yellow large night",
            "triangle green large grass",
            "cross blue large stripes",
            "diamond orange large black",
        )
    ),
}


def label(scene: Scene) -> list[str]:
    """A scene in two short lines."""
    return [f"{scene.size} {scene.colour} {scene.shape}", f"{scene.background}, {scene.style}"]


def draw_sheet(pictures: np.ndarray, labels: list[list[str]]) -> Image.Image:
    """Pictures in rows of six with their labels below."""
    cell, space = data.SIZE * ZOOM, 6
    height = cell + 2 * LINE + space
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (cell + space) + space, rows * height + space), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for i, (picture, lines) in enumerate(zip(pictures, labels, strict=True)):
        x = space + i % COLUMNS * (cell + space)
        y = space + i // COLUMNS * height
        large = Image.fromarray(picture).resize((cell, cell), Image.Resampling.BICUBIC)
        sheet.paste(large, (x, y))
        for k, line in enumerate(lines):
            pen.text((x + cell / 2, y + cell + k * LINE), line, (60, 60, 60), font, anchor="ma")
    return sheet


def write_png(path: Path, image: Image.Image) -> None:
    """Writes a PNG of at most 256 colours, atomically."""
    few = image.quantize(256, kmeans=2, dither=Image.Dither.NONE)
    write_atomically(path, lambda p: few.save(p, "PNG", optimize=True))


def accuracy(pictures: np.ndarray, scenes: list[Scene]) -> dict[str, float]:
    """Share of pictures in which each word is right, and all five."""
    findings = [examine(p, s) for p, s in zip(pictures, scenes, strict=True)]
    parts = ("shape", "colour", "size", "background", "style")
    shares = {part: float(np.mean([getattr(f, part) for f in findings])) for part in parts}
    return {**shares, "all": float(np.mean([f.right == len(parts) for f in findings]))}


def run(places: Places, seed: int, random_prompts: int) -> None:
    """Renders the sheets, and measures how often the base model draws what was asked."""
    pipeline = load_pipeline(places.model)
    scenes = list(SCENES)
    pictures = render(pipeline, [caption(s) for s in scenes], range(seed, seed + len(scenes)))
    write_png(places.root / "sheet.png", draw_sheet(pictures, [label(s) for s in scenes]))
    rng = np.random.default_rng(seed)
    others = [random_scene(rng) for _ in range(random_prompts)]
    drawn = render(pipeline, [caption(s) for s in others], range(random_prompts))
    report = {"sheet": accuracy(pictures, scenes), "random": accuracy(drawn, others)}
    write_json(places.work / "accuracy.json", report)
    for name, shares in report.items():
        print(f"{name}: " + ", ".join(f"{part} {share:.0%}" for part, share in shares.items()))
    rows, labels = [], []
    for name, lora_scenes in LORA_SCENES.items():
        path = places.loras / f"{name}.safetensors"
        if not path.exists():
            continue
        merger = Merger(pipeline, path)
        merger.apply(dict.fromkeys(merger.blocks, 1.0))
        seeds = range(seed, seed + len(lora_scenes))
        rows.append(render(pipeline, [caption(s) for s in lora_scenes], seeds))
        labels += [label(s) for s in lora_scenes]
        merger.apply({})
    if rows:
        write_png(places.root / "loras.png", draw_sheet(np.concatenate(rows), labels))
