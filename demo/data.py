"""The demo model's world: pictures drawn from a seed, and the captions that name them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = 64
"""Width and height of a picture in pixels."""
SUPERSAMPLING = 4
"""Pictures are drawn this many times larger and scaled down, for smooth edges."""

Colour = tuple[int, int, int]
Points = list[tuple[float, float]]

COLOURS: dict[str, Colour] = {
    "red": (215, 30, 35),
    "orange": (255, 140, 0),
    "yellow": (250, 222, 40),
    "green": (25, 125, 55),
    "blue": (40, 65, 205),
    "purple": (130, 45, 175),
    "pink": (255, 125, 185),
    "brown": (125, 75, 35),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "heart", "diamond", "moon")
SIZES: dict[str, float] = {"small": 12.5, "large": 23.0}
"""Radius in pixels."""
BACKGROUNDS = ("white", "black", "sky", "grass", "stripes", "night")
STYLES = ("flat", "outline", "dots")
SUBJECT = "house"
"""What the subject LoRA teaches; the base model never sees it."""
STYLE = "neon"
"""What the style LoRA teaches; the base model never sees it."""


@dataclass(frozen=True)
class Scene:
    """What a picture shows, in the words of its caption."""

    shape: str
    colour: str
    size: str
    background: str
    style: str


def caption(scene: Scene) -> str:
    """The full caption of a scene."""
    return f"a {scene.size} {scene.colour} {scene.shape} on a {scene.background} background, {scene.style} style"


def short_caption(scene: Scene, rng: np.random.Generator) -> str:
    """A caption that may leave out the size, and what is so by default: white, flat."""
    size = "" if rng.random() < 0.15 else f"{scene.size} "
    plain_ground = scene.background == "white" and rng.random() < 0.4
    plain_style = scene.style == "flat" and rng.random() < 0.4
    ground = "" if plain_ground else f" on a {scene.background} background"
    style = "" if plain_style else f", {scene.style} style"
    return f"a {size}{scene.colour} {scene.shape}{ground}{style}"


def random_scene(rng: np.random.Generator) -> Scene:
    """A scene of the base vocabulary, every combination equally likely."""
    return Scene(
        shape=str(rng.choice(SHAPES)),
        colour=str(rng.choice(list(COLOURS))),
        size=str(rng.choice(list(SIZES))),
        background=str(rng.choice(BACKGROUNDS)),
        style=str(rng.choice(STYLES)),
    )


def subject_scene(rng: np.random.Generator) -> Scene:
    """A scene for the subject LoRA: the new figure, drawn flat."""
    return replace(random_scene(rng), shape=SUBJECT, style="flat")


def style_scene(rng: np.random.Generator) -> Scene:
    """A scene for the style LoRA: a known figure in the new style."""
    return replace(random_scene(rng), style=STYLE)


def _circle(radius: float = 1.0, centre: tuple[float, float] = (0.0, 0.0)) -> Points:
    angles = np.linspace(0, 2 * math.pi, 64, endpoint=False)
    return [(centre[0] + radius * math.cos(a), centre[1] + radius * math.sin(a)) for a in angles]


def _moon() -> Points:
    outer = [(math.cos(a), math.sin(a)) for a in np.linspace(0.9, 2 * math.pi - 0.9, 48)]
    tip_x, tip_y = outer[0]
    centre_x = 0.75
    radius = math.hypot(tip_x - centre_x, tip_y)
    start = math.atan2(-tip_y, tip_x - centre_x) % (2 * math.pi)
    stop = math.atan2(tip_y, tip_x - centre_x) % (2 * math.pi)
    inner = [(centre_x + radius * math.cos(a), radius * math.sin(a)) for a in np.linspace(start, stop, 32)]
    return [(x + 0.2, y) for x, y in outer + inner]


def _heart() -> Points:
    angles = np.linspace(0, 2 * math.pi, 64, endpoint=False)
    return [
        (
            math.sin(a) ** 3,
            -(13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)) / 16,
        )
        for a in angles
    ]


def _star() -> Points:
    return [
        ((1.1 if i % 2 == 0 else 0.45) * math.sin(i * math.pi / 5),
         -(1.1 if i % 2 == 0 else 0.45) * math.cos(i * math.pi / 5))
        for i in range(10)
    ]  # fmt: skip


def _cross(arm: float = 0.33) -> Points:
    a = arm
    return [(-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a),
            (a, 1), (-a, 1), (-a, a), (-1, a), (-1, -a), (-a, -a)]  # fmt: skip


def outline_of(shape: str) -> Points:
    """The closed outline of a shape, in units of its radius, y downwards."""
    outlines = {
        "circle": _circle(0.95),
        "square": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
        "triangle": [(0, -1.0), (1.0, 0.8), (-1.0, 0.8)],
        "star": _star(),
        "cross": _cross(),
        "heart": _heart(),
        "diamond": [(0, -1.1), (0.7, 0), (0, 1.1), (-0.7, 0)],
        "moon": _moon(),
    }
    return outlines[shape]


def _place(points: Points, centre: tuple[float, float], radius: float, angle: float) -> Points:
    cos, sin = math.cos(angle), math.sin(angle)
    return [(centre[0] + radius * (cos * x - sin * y), centre[1] + radius * (sin * x + cos * y)) for x, y in points]


def _gradient(top: Colour, bottom: Colour, width: int) -> Image.Image:
    ramp = np.linspace(0, 1, width)[:, None, None]
    rows = np.array(top) * (1 - ramp) + np.array(bottom) * ramp
    return Image.fromarray(np.broadcast_to(rows, (width, width, 3)).astype(np.uint8).copy())


def draw_background(name: str, rng: np.random.Generator) -> Image.Image:
    """A background, supersampled; what is random in it comes from ``rng``."""
    scale, width = SUPERSAMPLING, SIZE * SUPERSAMPLING
    plain: dict[str, Colour] = {
        "white": (250, 250, 250),
        "black": (10, 10, 10),
        "grass": (140, 200, 85),
        "stripes": (225, 225, 225),
        "night": (18, 22, 62),
    }
    if name == "sky":
        image = _gradient((85, 160, 240), (190, 225, 252), width)
    else:
        image = Image.new("RGB", (width, width), plain[name])
    draw = ImageDraw.Draw(image)
    if name == "sky":
        for _ in range(2):
            x, y = rng.uniform(0, width, 2)
            for dx in (-7, 0, 7):
                r = (6 if dx == 0 else 4) * scale
                draw.ellipse((x + dx * scale - r, y - r, x + dx * scale + r, y + r), "white")
    elif name == "grass":
        for _ in range(60):
            x, y = rng.uniform(0, width, 2)
            lean = rng.uniform(-2, 2) * scale
            draw.line((x, y, x + lean, y - 6 * scale), (85, 160, 50), int(1.5 * scale))
    elif name == "stripes":
        phase = rng.uniform(0, 16) * scale
        for k in range(-1, 2 * SIZE // 16 + 1):
            x = phase + k * 16 * scale
            band = [(x, 0), (x + 8 * scale, 0), (x + 8 * scale - width, width), (x - width, width)]
            draw.polygon(band, (150, 150, 150))
    elif name == "night":
        for _ in range(14):
            x, y = rng.uniform(0, width, 2)
            r = rng.uniform(0.8, 1.5) * scale
            draw.ellipse((x - r, y - r, x + r, y + r), (255, 250, 200))
    return image


def _draw_dots(draw: ImageDraw.ImageDraw, mask: Image.Image, image: Image.Image) -> None:
    """White dots on a grid of 8 pixels, within ``mask``."""
    scale, width = SUPERSAMPLING, SIZE * SUPERSAMPLING
    dots = Image.new("L", (width, width))
    pen = ImageDraw.Draw(dots)
    r = 2.1 * scale
    for row in range(SIZE // 8 + 1):
        for column in range(SIZE // 8 + 1):
            x = (column * 8 + 4 * (row % 2)) * scale
            y = row * 8 * scale
            pen.ellipse((x - r, y - r, x + r, y + r), 255)
    both = np.minimum(np.asarray(mask), np.asarray(dots))
    image.paste((255, 255, 255), mask=Image.fromarray(both))


def _draw_house(image: Image.Image, colour: Colour, centre: tuple[float, float], radius: float) -> None:
    """The subject: walls of the colour, a dark roof with a chimney, a door, two windows."""
    draw = ImageDraw.Draw(image)

    def box(x0: float, y0: float, x1: float, y1: float, fill: Colour) -> None:
        corners = _place([(x0, y0), (x1, y1)], centre, radius, 0)
        draw.rectangle((*corners[0], *corners[1]), fill)

    box(0.4, -0.95, 0.68, -0.3, (60, 50, 55))
    box(-0.8, -0.15, 0.8, 1.0, colour)
    roof = [(-1.1, -0.1), (0.0, -1.1), (1.1, -0.1)]
    draw.polygon(_place(roof, centre, radius, 0), (70, 60, 70))
    box(-0.2, 0.35, 0.2, 1.0, (60, 40, 30))
    box(-0.65, 0.1, -0.3, 0.45, (255, 245, 190))
    box(0.3, 0.1, 0.65, 0.45, (255, 245, 190))


def _neon(image: Image.Image, points: Points, colour: Colour) -> Image.Image:
    """The new style: the ground darkened, the figure a glowing tube."""
    scale = SUPERSAMPLING
    dark = Image.fromarray((np.asarray(image, np.float32) * 0.22).astype(np.uint8))
    tube = Image.new("RGB", image.size)
    bright = tuple(min(255, int(c * 1.15) + 40) for c in colour)
    ImageDraw.Draw(tube).line([*points, points[0], points[1]], bright, 4 * scale, "curve")
    glow = np.asarray(tube.filter(ImageFilter.BoxBlur(4 * scale)), np.float32) * 1.5
    core = Image.new("RGB", image.size)
    ImageDraw.Draw(core).line([*points, points[0], points[1]], "white", int(1.2 * scale), "curve")
    light = np.maximum(np.asarray(tube, np.float32), np.asarray(core, np.float32))
    total = np.asarray(dark, np.float32) + glow
    lit = np.where(light.max(-1, keepdims=True) > 0, light, total)
    return Image.fromarray(lit.clip(0, 255).astype(np.uint8))


def draw(scene: Scene, rng: np.random.Generator) -> Image.Image:
    """The picture of a scene, RGB, SIZE x SIZE; place, angle and texture come from ``rng``."""
    scale, width = SUPERSAMPLING, SIZE * SUPERSAMPLING
    image = draw_background(scene.background, rng)
    radius = SIZES[scene.size] * rng.uniform(0.92, 1.08) * scale
    slack = 3.0 if scene.size == "large" else 10.0
    x, y = SIZE / 2 + rng.uniform(-slack, slack, 2)
    centre = (float(x) * scale, float(y) * scale)
    colour = COLOURS[scene.colour]
    if scene.shape == SUBJECT:
        _draw_house(image, colour, centre, radius)
        return image.resize((SIZE, SIZE), Image.Resampling.BOX)
    points = _place(outline_of(scene.shape), centre, radius, rng.uniform(-0.12, 0.12))
    if scene.style == STYLE:
        image = _neon(image, points, colour)
        return image.resize((SIZE, SIZE), Image.Resampling.BOX)
    pen = ImageDraw.Draw(image)
    if scene.style == "outline":
        pen.line([*points, points[0], points[1]], colour, int(3.2 * scale), "curve")
    else:
        pen.polygon(points, colour)
    if scene.style == "dots":
        mask = Image.new("L", (width, width))
        ImageDraw.Draw(mask).polygon(points, 255)
        _draw_dots(pen, mask, image)
    return image.resize((SIZE, SIZE), Image.Resampling.BOX)


def example(kind: str, seed: int, index: int) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.uint8]], str]:
    """The ``index``-th picture (uint8, HxWx3) and caption of a data set: base, subject or style."""
    rng = np.random.default_rng([seed, index, ("base", "subject", "style").index(kind)])
    make = {"base": random_scene, "subject": subject_scene, "style": style_scene}[kind]
    scene = make(rng)
    words = short_caption(scene, rng) if kind == "base" else caption(scene)
    return np.asarray(draw(scene, rng)), words
