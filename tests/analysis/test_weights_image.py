"""The picture of block weights: a field for each block, told apart by number as well as by color."""

from __future__ import annotations

import numpy as np
import pytest

from lbw.analysis.weights_image import PER_ROW, color, weights_image
from lbw.core.architectures import ARCHITECTURES

FLUX = ARCHITECTURES["flux"]


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (0, (255, 255, 255)), (1, (37, 99, 165)), (0.5, (146, 177, 210)), (-1, (190, 60, 20)), (-7, (190, 60, 20)),
        (2, (88, 28, 135)), (1e300, (88, 28, 135)),
    ],
)  # fmt: skip
def test_the_color_of_a_weight(weight: float, expected: tuple[int, int, int]) -> None:
    assert color(weight) == expected


def test_the_number_is_drawn_beside_the_color() -> None:
    lighter, darker = (np.asarray(weights_image({"IN04": weight})) for weight in (3.0, 4.0))
    assert color(3.0) == color(4.0)
    assert (lighter != darker).any()


def test_fields_stand_in_rows_and_grow_with_the_scale() -> None:
    one = weights_image({"IN04": 1.0})
    every = weights_image(dict.fromkeys(FLUX.blocks, 0.5))
    assert every.size == ((one.width - 1) * PER_ROW + 1, (one.height - 1) * 4 + 1)
    assert weights_image({"IN04": 1.0}, scale=2).width == 2 * one.width - 1
    assert weights_image({}).width == one.width


def test_numbers_of_any_length_fit() -> None:
    assert weights_image({"OUT11": -0.123456789012}).size == weights_image({"OUT11": 1.0}).size
