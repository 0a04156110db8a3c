"""How much of a picture changed: counted by hand on small pictures."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("PIL")

from lbw.analysis.measure import (
    Change,
    difference,
    heat_map,
    measure,
    percent_changed,
    picture_mask,
    rectangle_mask,
)
from lbw.core.errors import WeightsError


def flat(value: int, *shape: int) -> np.ndarray:
    return np.full(shape, value, np.uint8)


def random_pictures(seed: int, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return tuple(generator.integers(0, 256, shape, np.uint8) for _ in range(2))  # type: ignore[return-value]


def test_one_of_twelve_color_values_is_a_twelfth() -> None:
    source = flat(100, 2, 2, 3)
    changed = source.copy()
    changed[1, 0, 2] = 200
    assert percent_changed(source, changed, 20) == pytest.approx(100 / 12)
    assert percent_changed(changed, source, 20) == pytest.approx(100 / 12)


@pytest.mark.parametrize(("by", "percent"), [(20, 0.0), (21, 100.0), (-20, 0.0), (-21, 100.0)])
def test_the_threshold_has_to_be_exceeded(by: int, percent: float) -> None:
    assert percent_changed(flat(100, 4, 4, 3), flat(100 + by, 4, 4, 3), 20) == percent


def test_the_threshold_may_be_at_either_end() -> None:
    black, white = flat(0, 1, 1, 3), flat(255, 1, 1, 3)
    assert percent_changed(black, flat(1, 1, 1, 3), 0) == 100
    assert percent_changed(black, black, 0) == 0
    assert percent_changed(black, white, 254) == 100
    assert percent_changed(black, white, 255) == 0


def test_differences_do_not_wrap_around() -> None:
    source, changed = random_pictures(0, 2, 5, 7, 3)
    assert np.array_equal(difference(source, changed), np.abs(source.astype(int) - changed.astype(int)))


@pytest.mark.parametrize("threshold", [0, 20, 100])
def test_a_batch_counts_as_the_mean_of_its_pictures(threshold: int) -> None:
    source, changed = random_pictures(1, 3, 6, 5, 3)
    each = [(np.abs(a.astype(int) - b.astype(int)) > threshold).mean() * 100 for a, b in zip(source, changed)]
    assert percent_changed(source, changed, threshold) == pytest.approx(sum(each) / 3)


def test_without_a_mask_there_is_no_inside() -> None:
    source, changed = random_pictures(2, 1, 4, 4, 3)
    change = measure(source, changed, 20)
    assert change.percent == pytest.approx(100 * (np.abs(source.astype(int) - changed) > 20).mean())
    assert (change.inside, change.outside, change.focus) == (None, None, None)


def test_inside_and_outside_count_their_own_color_values() -> None:
    source = flat(0, 2, 4, 4, 3)
    changed = source.copy()
    mask = np.zeros((4, 4), np.bool_)
    mask[:2, :2] = True
    changed[:, 0, 0] = 255  # one of the four pixels inside, in both pictures
    changed[0, 3] = 255  # four of the twelve outside, in one picture of two
    change = measure(source, changed, 20, mask)
    assert change.inside == pytest.approx(25)
    assert change.outside == pytest.approx(100 * 4 / 24)
    assert change.percent == pytest.approx(100 * 6 / 32)
    assert change.focus == pytest.approx(25 / (25 + 100 / 6))


@pytest.mark.parametrize(
    ("inside", "outside", "focus"),
    [(3.0, 0.0, 1.0), (0.0, 3.0, 0.0), (2.0, 2.0, 0.5), (3.0, 1.0, 0.75), (0.0, 0.0, None)],
)
def test_focus_is_the_share_of_the_inside(inside: float, outside: float, focus: float | None) -> None:
    assert Change(1.0, inside, outside).focus == focus


def test_a_heat_map_is_brighter_where_more_changed() -> None:
    steps = np.arange(256, dtype=np.uint8)
    changed = np.zeros((1, 256, 3), np.uint8)
    changed[0, :, 1] = steps
    colors = heat_map(np.zeros_like(changed), changed)[0].astype(float)
    brightness = colors @ (0.299, 0.587, 0.114)
    assert colors.shape == (256, 3)
    assert (np.diff(brightness[:129]) > 0).all()
    assert (brightness[128:] == brightness[128]).all()
    assert brightness[0] < 2
    assert brightness[128] > 230


def test_a_heat_map_shows_the_color_that_changed_most() -> None:
    source = flat(50, 1, 3, 3)
    changed = source.copy()
    changed[0, 0] = (50, 50, 90)
    changed[0, 1] = (90, 70, 50)
    changed[0, 2] = (10, 50, 50)
    colors = heat_map(source, changed)
    assert (colors[0, 0] == colors[0, 1]).all()
    assert (colors[0, 0] == colors[0, 2]).all()
    assert heat_map(source[None], changed[None]).shape == (1, 1, 3, 3)
    assert colors.dtype == np.uint8


# The mask ----------------------------------------------------------------------------------------


def test_a_rectangle_is_in_percent_from_the_left_and_the_top() -> None:
    mask = rectangle_mask("25, 0, 75, 50", 8, 4)
    assert mask.astype(int).tolist() == [[0, 0, 1, 1, 1, 1, 0, 0]] * 2 + [[0] * 8] * 2


def test_all_change_is_inside_a_rectangle_of_the_whole_picture() -> None:
    mask = rectangle_mask("0,0,100,100", 300, 200)
    assert mask.shape == (200, 300)
    assert mask.all()
    change = measure(flat(0, 1, 200, 300, 3), flat(255, 1, 200, 300, 3), 20, mask)
    assert (change.inside, change.outside, change.focus) == (100.0, 0.0, 1.0)


@pytest.mark.parametrize(
    "text",
    ["", "1,2,3", "0,0,50,50,50", "0,0,50,101", "-1,0,50,50", "0,0,50,high", "0,0,nan,50", "0,0,1e999,50", "mask.png"],
)
def test_what_is_no_rectangle_is_named(text: str) -> None:
    with pytest.raises(WeightsError, match="is not a rectangle; write left,top,right,bottom in percent") as caught:
        rectangle_mask(text, 10, 10)
    assert f'"{text}"' in str(caught.value)


@pytest.mark.parametrize("text", ["50,0,50,100", "60,0,40,100", "0,70,100,20", "0,0,1,100", "0,0,0,0"])
def test_a_rectangle_that_holds_nothing_is_refused(text: str) -> None:
    with pytest.raises(WeightsError, match="is empty"):
        rectangle_mask(text, 10, 10)


def test_a_painted_mask_is_what_is_light() -> None:
    painted = np.array([[0, 127], [128, 255]], np.uint8)
    mask, remark = picture_mask(painted, 2, 2)
    assert mask.tolist() == [[False, False], [True, True]]
    assert remark is None


def test_a_painted_mask_of_another_size_is_scaled_and_says_so() -> None:
    painted = np.zeros((40, 80), np.uint8)
    painted[:, 40:] = 255
    mask, remark = picture_mask(painted, 20, 10)
    assert mask.shape == (10, 20)
    assert not mask[:, :9].any()
    assert mask[:, 11:].all()
    assert remark is not None
    assert "80x40" in remark
    assert "20x10" in remark


@pytest.mark.parametrize("shape", [(6, 8), (60, 80)])
@pytest.mark.parametrize(("painted", "words"), [(0, "is empty"), (127, "is empty"), (255, "whole picture")])
def test_a_painted_mask_of_nothing_or_everything_is_refused(shape: tuple[int, int], painted: int, words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        picture_mask(flat(painted, *shape), 8, 6)
