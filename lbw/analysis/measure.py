"""How much of a picture changed, and where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lbw.core.errors import WeightsError, quote
from lbw.core.numbers import parse_number
from lbw.core.texts import t

Pixels = NDArray[np.uint8]
"""One picture, (height, width, 3), or a batch of them, (count, height, width, 3)."""
Mask = NDArray[np.bool_]
"""The region to look at, (height, width)."""

# Dark to light, so that it is readable in grayscale too: violet, red, orange, yellow.
_HEAT = np.array([(0, 0, 4), (60, 10, 100), (145, 35, 105), (220, 60, 60), (250, 140, 30), (252, 252, 165)], np.float32)


@dataclass(frozen=True)
class Change:
    """How much of a picture changed, in percent of its color values.

    inside, outside: the same inside and outside of the mask; None without a mask. focus: 1 if all change is inside the
    mask, 0 if all is outside, 0.5 if both change equally; None without a mask, or without any change.
    """

    percent: float
    inside: float | None = None
    outside: float | None = None

    @property
    def focus(self) -> float | None:
        if self.inside is None or self.outside is None or self.inside + self.outside == 0:
            return None
        return self.inside / (self.inside + self.outside)


def difference(source: Pixels, changed: Pixels) -> Pixels:
    """Return the absolute difference of two pictures, or of two batches, of one shape."""
    result: Pixels = np.maximum(source, changed) - np.minimum(source, changed)
    return result


def percent_changed(source: Pixels, changed: Pixels, threshold: int) -> float:
    """Return 100·n / (width·height·3), n being the number of color values that differ by more than `threshold`."""
    return float(100 * np.count_nonzero(difference(source, changed) > threshold) / source.size)


def measure(source: Pixels, changed: Pixels, threshold: int, mask: Mask | None = None) -> Change:
    """Return how much of `source` changed, in total and inside `mask`."""
    percent = percent_changed(source, changed, threshold)
    if mask is None:
        return Change(percent)
    inside, outside = (
        percent_changed(source[..., region, :], changed[..., region, :], threshold) if region.any() else 0.0
        for region in (mask, ~mask)
    )
    return Change(percent, inside, outside)


def heat_map(source: Pixels, changed: Pixels) -> Pixels:
    """Return the largest difference of the three channels as a color from black (0) to yellow (128 and more)."""
    strength = difference(source, changed).max(axis=-1).astype(np.float32) / 128
    position = np.minimum(strength, 1) * (len(_HEAT) - 1)
    below = np.minimum(position.astype(np.intp), len(_HEAT) - 2)
    part = (position - below)[..., None]
    colours: Pixels = np.round(_HEAT[below] * (1 - part) + _HEAT[below + 1] * part).astype(np.uint8)
    return colours


# The mask ----------------------------------------------------------------------------------------


def rectangle_mask(text: str, width: int, height: int) -> Mask:
    """Return the mask of a rectangle `LEFT,TOP,RIGHT,BOTTOM` in percent of the picture.

    Raises:
        WeightsError: it is not four numbers from 0 to 100, or is empty.
    """
    numbers = [parse_number(part) for part in text.split(",")]
    values = [number for number in numbers if number is not None and 0 <= number <= 100]
    if len(numbers) != 4 or len(values) != 4:
        raise WeightsError(
            t(
                "mask {text} is not a rectangle; write left,top,right,bottom in percent, for example 25,0,75,50",
                text=quote(text),
            )
        )
    left, right = (round(value / 100 * width) for value in values[0::2])
    top, bottom = (round(value / 100 * height) for value in values[1::2])
    mask = np.zeros((height, width), np.bool_)
    mask[top:bottom, left:right] = True
    if not mask.any():
        raise WeightsError(
            t(
                "mask {text} is empty; right must be greater than left, and bottom greater than top",
                text=quote(text),
            )
        )
    return mask


def picture_mask(picture: NDArray[np.uint8], width: int, height: int) -> tuple[Mask, str | None]:
    """Return the mask of a grayscale picture (128 and lighter is inside), and a remark if it was scaled.

    picture: (height, width). Raises WeightsError: nothing, or everything, is painted.
    """
    from PIL import Image

    remark = None
    if picture.shape != (height, width):
        own, wanted = f"{picture.shape[1]}x{picture.shape[0]}", f"{width}x{height}"
        remark = t("the mask of {own} is scaled to the pictures' {wanted}", own=own, wanted=wanted)
        picture = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
    mask: Mask = picture >= 128
    if not mask.any():
        raise WeightsError(t("the mask is empty; paint the region white and leave the rest black"))
    if mask.all():
        raise WeightsError(t("the mask covers the whole picture; leave everything outside the region black"))
    return mask, remark
