"""An independent check of a picture: what it shows, found by comparing with templates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import data
import numpy as np
from data import Scene

Array = np.ndarray
BORDER = 5
NEAR = 75.0
"""Distance of colours, in RGB units, up to which a pixel counts as of a colour."""


@dataclass(frozen=True)
class Finding:
    """Which words of a scene a picture shows."""

    shape: bool
    colour: bool
    size: bool
    background: bool
    style: bool

    @property
    def right(self) -> int:
        """How many of the five are right."""
        return sum((self.shape, self.colour, self.size, self.background, self.style))


def _border_features(picture: Array) -> Array:
    """Mean, standard deviation and quartiles of the border's colours, nine numbers or more."""
    inside = np.zeros(picture.shape[:2], bool)
    inside[BORDER:-BORDER, BORDER:-BORDER] = True
    pixels = picture[~inside].astype(float)
    quartiles = np.quantile(pixels, (0.05, 0.25, 0.75, 0.95), axis=0)
    return np.concatenate([pixels.mean(0), pixels.std(0), *quartiles])


@cache
def _border_templates() -> dict[str, Array]:
    scale = data.SUPERSAMPLING
    return {
        name: np.stack(
            [
                _border_features(
                    np.asarray(data.draw_background(name, np.random.default_rng(i)))[
                        scale // 2 :: scale, scale // 2 :: scale
                    ]
                )
                for i in range(12)
            ]
        )
        for name in data.BACKGROUNDS
    }


def background_of(picture: Array) -> str:
    """The background whose borders look most like the picture's."""
    features = _border_features(picture)
    distances = {
        name: float(np.linalg.norm(rows - features, axis=1).min()) for name, rows in _border_templates().items()
    }
    return min(distances, key=distances.__getitem__)


def colour_mask(picture: Array, colour: str) -> Array:
    """Where a picture is nearer to a colour than to the others, and near it (bool, HxW)."""
    palette = np.array(list(data.COLOURS.values()), float)
    distances = np.linalg.norm(picture[:, :, None].astype(float) - palette, axis=-1)
    index = list(data.COLOURS).index(colour)
    mask: Array = (distances.argmin(-1) == index) & (distances[..., index] < NEAR)
    return mask


def colour_of(picture: Array, background: str) -> str:
    """The colour that most pixels show, counted beyond what the background shows of it."""
    ground = np.asarray(data.draw_background(background, np.random.default_rng(0)).resize((64, 64)))
    counts = {
        name: int(colour_mask(picture, name).sum()) - 2 * int(colour_mask(ground, name).sum()) for name in data.COLOURS
    }
    return max(counts, key=counts.__getitem__)


@cache
def _mask_templates() -> list[tuple[tuple[str, str, str], Array, Array]]:
    """(shape, size, style), the Fourier transform of its mask, its area."""
    templates = []
    for shape in data.SHAPES:
        for size in data.SIZES:
            for style in data.STYLES:
                for seed in range(4):
                    scene = Scene(shape, "red", size, "white", style)
                    picture = np.asarray(data.draw(scene, np.random.default_rng(seed)))
                    mask = colour_mask(picture, "red").astype(float)
                    spectrum = np.conj(np.fft.rfft2(mask, (128, 128)))
                    templates.append(((shape, size, style), spectrum, mask.sum()))
    return templates


def figure_of(picture: Array, colour: str) -> tuple[str, str, str]:
    """Shape, size and style whose mask, moved anywhere, overlaps best (Dice's coefficient)."""
    mask = colour_mask(picture, colour).astype(float)
    spectrum = np.fft.rfft2(mask, (128, 128))
    best, words = -1.0, ("", "", "")
    for key, template, area in _mask_templates():
        overlap = np.fft.irfft2(spectrum * template, (128, 128)).max()
        dice = 2 * overlap / max(1.0, mask.sum() + area)
        if dice > best:
            best, words = dice, key
    return words


def examine(picture: Array, scene: Scene) -> Finding:
    """Compares what a picture (uint8, HxWx3) shows with what was asked for."""
    background = background_of(picture)
    colour = colour_of(picture, background)
    shape, size, style = figure_of(picture, scene.colour)
    return Finding(
        shape=shape == scene.shape,
        colour=colour == scene.colour,
        size=size == scene.size,
        background=background == scene.background,
        style=style == scene.style,
    )
