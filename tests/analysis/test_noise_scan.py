"""The noise scan on noise that is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("PIL")

from lbw.analysis.cells import Cell, choose
from lbw.analysis.effective_blocks import Settings
from lbw.analysis.noise_scan import kept_steps, noise_scan
from lbw.core.architectures import ARCHITECTURES

from .doubles import weights_of

SDXL = ARCHITECTURES["sdxl"]

PULL = {"IN04": 3.0, "M00": 4.0, "OUT01": -12.0}
TENSORS = {"IN04": 2, "M00": 2, "OUT01": 2, "BASE": 0}


class Probe:
    """Noise of two steps of (2, 2): 10 everywhere at weight 0; each block moves one of the eight numbers."""

    def __init__(self) -> None:
        self.asked: list[Cell] = []

    def noise(self, cell: Cell) -> np.ndarray:
        self.asked.append(cell)
        flat = np.full(8, 10.0, np.float32)
        weights = weights_of(cell)
        for place, (block, pull) in enumerate(PULL.items()):
            flat[place] += pull * weights[block] * cell.seed
        return flat.reshape(2, 2, 2)


def scan(text: str, seeds: tuple[int, ...] = (1,), span: tuple[float, float] = (0.0, 1.0), **more: object):  # type: ignore[no-untyped-def]
    probe = Probe()
    settings = Settings(tuple(choose(text, SDXL, TENSORS)), seeds, span)
    found = noise_scan(settings, SDXL, TENSORS, probe, **more)  # type: ignore[arg-type]
    return probe, {result.choice.label: result.changes for result in found}, found


def size_of_source(seed: int) -> float:
    return math.sqrt(sum((10 + pull * seed) ** 2 for pull in PULL.values()) + 5 * 100)


def test_the_change_of_the_noise_is_relative_to_the_sources() -> None:
    probe, found, results = scan("IN04,M00,OUT01,IN04 M00,BASE", seeds=(1, 2))
    sizes_of = [size_of_source(seed) for seed in (1, 2)]
    for label, pull in (("IN04", 3), ("M00", 4), ("OUT01", 12), ("IN04 M00", 5), ("BASE", 0)):
        assert found[label] == pytest.approx([pull * seed / size for seed, size in zip((1, 2), sizes_of)], rel=1e-6)
    assert list(found) == ["OUT01", "IN04 M00", "M00", "IN04", "BASE"]
    assert results[0].mean == pytest.approx((12 / sizes_of[0] + 24 / sizes_of[1]) / 2, rel=1e-6)
    # Of each seed the source and four cells; the choice without tensors costs nothing.
    assert len(probe.asked) == len(set(probe.asked)) == 10
    sources = [cell for cell in probe.asked if set(weights_of(cell).values()) == {1.0}]
    assert [probe.asked.index(cell) for cell in sources] == [0, 5]


def test_the_source_of_each_prompt_comes_before_its_cells() -> None:
    probe = Probe()
    (choice,) = choose("OUT01", SDXL, TENSORS)
    settings = Settings((choice,), (1, 2), prompts=("", "a dog"))
    (result,) = noise_scan(settings, SDXL, TENSORS, probe)
    assert [(cell.prompt, cell.seed, weights_of(cell)["OUT01"]) for cell in probe.asked] == [
        (prompt, seed, weight) for prompt in ("", "a dog") for seed in (1, 2) for weight in (1.0, 0.0)
    ]
    assert len(result.changes) == 4


def test_choices_that_mean_the_same_are_asked_once() -> None:
    probe, found, _ = scan("IN04,in4,IN04-IN04")
    assert len(probe.asked) == 2
    assert len(set(found.values())) == 1
    assert len(found) == 3


def test_progress_of_the_scan_goes_from_nothing_to_its_total() -> None:
    shown: list[tuple[int, int]] = []
    scan("IN04,M00", seeds=(1, 2), show=lambda done, total: shown.append((done, total)))
    assert shown == [(done, 6) for done in range(7)]


def test_progress_of_the_scan_ends_at_its_total_with_choices_that_cost_nothing() -> None:
    shown: list[tuple[int, int]] = []
    scan("IN04,in4,BASE", show=lambda done, total: shown.append((done, total)))
    assert shown[-1][0] == shown[-1][1]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_range_of_one_number_changes_nothing() -> None:
    _, _, results = scan("IN04,BASE", span=(1.0, 1.0))
    assert [result.mean for result in results] == [0.0, 0.0]


def test_noise_of_nothing_has_no_relative_change() -> None:
    class Silent(Probe):
        def noise(self, cell: Cell) -> np.ndarray:
            return np.zeros((1, 2), np.float32)

    (result,) = noise_scan(Settings(tuple(choose("IN04", SDXL, ())), (1,)), SDXL, TENSORS, Silent())
    assert result.mean == 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_noise_that_is_not_finite_has_an_unknown_change_and_comes_last(broken: float) -> None:
    class Broken(Probe):
        def noise(self, cell: Cell) -> np.ndarray:
            noise = super().noise(cell)
            weights = weights_of(cell)
            is_source = set(weights.values()) == {1.0}
            if (cell.seed, weights["M00"]) == (1, 0.0) or (cell.seed == 3 and is_source):
                noise[0, 0, 0] = broken
            return noise

    settings = Settings(tuple(choose("M00,OUT01,IN04", SDXL, TENSORS)), (1, 2, 3))
    found = noise_scan(settings, SDXL, TENSORS, Broken())
    one, two = size_of_source(1), size_of_source(2)
    assert [(result.choice.label, result.changes) for result in found] == [
        ("OUT01", (pytest.approx(12 / one), pytest.approx(24 / two), None)),
        ("M00", (None, pytest.approx(8 / two), None)),
        ("IN04", (pytest.approx(3 / one), pytest.approx(6 / two), None)),
    ]
    assert found[1].mean == pytest.approx(8 / two)
    (only,) = noise_scan(Settings(settings.choices[:1], (3,)), SDXL, TENSORS, Broken())
    assert only.mean is None
    last = noise_scan(Settings(settings.choices, (1,)), SDXL, TENSORS, Broken())[-1]
    assert (last.choice.label, last.mean) == ("M00", None)


@pytest.mark.parametrize(
    ("steps", "at", "kept"),
    [
        (20, (0.3,), [6]),
        (10, (0.0, 0.5, 0.99), [0, 5, 9]),
        (1, (0.3, 0.9), [0]),
        (4, (1.0,), [3]),
        (20, (0.3, 0.31), [6]),
    ],
)
def test_kept_steps_are_shares_of_the_pass(steps: int, at: tuple[float, ...], kept: list[int]) -> None:
    assert kept_steps(steps, at) == kept
