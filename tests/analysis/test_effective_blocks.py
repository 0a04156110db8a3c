"""The analyzer on pictures in which each block colors so many pixels: the percentages are known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")

from lbw.analysis.cells import Cell, choose
from lbw.analysis.effective_blocks import Analysis, BlockResult, Sample, Settings, suggest
from lbw.analysis.measure import Change, rectangle_mask
from lbw.analysis.store import CellStore, Rendered
from lbw.core import limits
from lbw.core.architectures import ARCHITECTURES
from lbw.core.errors import FileError, WeightsError
from lbw.core.presets import parse_presets
from lbw.core.weights import parse_block_weights

from .doubles import HEIGHT, WIDTH, Painter, same_areas, weights_of

SDXL = ARCHITECTURES["sdxl"]

PIXELS = WIDTH * HEIGHT  # 400: a pixel is a quarter percent
AREAS = {"IN04": 4, "IN05": 40, "M00": 12, "OUT01": 100}
TENSORS = {"BASE": 0, "IN04": 3, "IN05": 3, "M00": 1, "OUT01": 6}


def by_seed(seed: int) -> dict[str, int]:
    """The same blocks, with other areas for each seed."""
    return {"IN04": 4 * seed, "IN05": 40, "M00": 12 + 8 * seed, "OUT01": 100}


def analysis(folder: Path, text: str = "auto", seeds: tuple[int, ...] = (1,), **more: object) -> Analysis:
    mask = more.pop("mask", None)
    choices = tuple(choose(text, SDXL, [block for block, count in TENSORS.items() if count]))
    settings = Settings(choices, seeds, **more)  # type: ignore[arg-type]
    return Analysis(settings, SDXL, TENSORS, CellStore(folder, {}), mask)  # type: ignore[arg-type]


def finished(made: Analysis, renderer: Painter) -> dict[str, BlockResult]:
    for _ in made.run(renderer):
        pass
    return {result.choice.label: result for result in made.results}


def test_a_percentage_is_the_share_of_the_blocks_pixels(tmp_path: Path) -> None:
    renderer = Painter(same_areas(**AREAS))
    made = analysis(tmp_path)
    found = finished(made, renderer)
    assert {label: result.percents() for label, result in found.items()} == {
        "IN04": [pytest.approx(1)],
        "IN05": [pytest.approx(10)],
        "M00": [pytest.approx(3)],
        "OUT01": [pytest.approx(25)],
    }
    assert [result.choice.label for result in made.ranking()] == ["OUT01", "IN05", "M00", "IN04"]
    assert (made.rendered, made.reused, len(renderer.painted)) == (5, 0, 5)
    assert {result.std for result in found.values()} == {0}


@pytest.mark.parametrize("count", [1, 3])
def test_mean_and_deviation_are_over_the_seeds(count: int, tmp_path: Path) -> None:
    found = finished(analysis(tmp_path, seeds=(1, 2, 6)), Painter(by_seed, count))
    assert {sample: change.percent for sample, change in found["IN04"].changes.items() if change} == pytest.approx(
        {Sample(1): 1, Sample(2): 2, Sample(6): 6}
    )
    assert found["IN04"].mean == pytest.approx(3)
    assert found["IN04"].std == pytest.approx(math.sqrt((4 + 1 + 9) / 3))
    assert found["M00"].mean == pytest.approx((5 + 7 + 15) / 3)
    assert found["OUT01"].std == pytest.approx(0)


def test_ranking_is_by_the_mean(tmp_path: Path) -> None:
    made = analysis(tmp_path, seeds=(1, 20))
    finished(made, Painter(by_seed))
    # IN04: 1 and 20; IN05: 10; M00: 5 and 43; OUT01: 25 - the order of the means is not that of the first seed.
    assert [result.choice.label for result in made.ranking()] == ["OUT01", "M00", "IN04", "IN05"]


def test_the_source_has_the_second_number_and_each_block_the_first(tmp_path: Path) -> None:
    renderer = Painter(same_areas(**AREAS))
    finished(analysis(tmp_path, text="IN05,OUT01", span=(0.25, -0.5)), renderer)
    source, *others = [weights_of(cell) for cell in renderer.painted]
    assert set(source.values()) == {-0.5}
    expected = [{**source, "IN05": 0.25}, {**source, "OUT01": 0.25}]
    assert sorted(others, key=str) == sorted(expected, key=str)


@pytest.mark.parametrize(("first", "percent"), [(0.8, 0.0), (0.79, 10.0), (1.2, 0.0), (1.21, 10.0)])
def test_the_threshold_of_the_settings_counts(first: float, percent: float, tmp_path: Path) -> None:
    # A weight of 0.8 instead of 1 makes a difference of 20 color values, which does not exceed 20.
    found = finished(analysis(tmp_path, "IN05", span=(first, 1.0)), Painter(same_areas(**AREAS)))
    assert found["IN05"].mean == pytest.approx(percent)


def test_blocks_without_tensors_change_nothing_and_are_not_rendered(tmp_path: Path) -> None:
    renderer = Painter(same_areas(**AREAS))
    made = analysis(tmp_path, "12ALL", seeds=(1, 2))
    found = finished(made, renderer)
    assert len(found) == 12
    untouched = set(found) - set(AREAS)
    assert len(untouched) == 8
    assert all(found[label].percents() == [0.0, 0.0] for label in untouched)
    assert len(renderer.painted) == 2 * (1 + 4)
    source, same = made.pictures(found["BASE"].choice, Sample(1))
    assert source is not None
    assert same is not None
    assert np.array_equal(source.pictures, same.pictures)


def test_a_group_of_blocks_changes_what_its_blocks_change(tmp_path: Path) -> None:
    renderer = Painter(same_areas(**AREAS))
    found = finished(analysis(tmp_path, "IN,NOT IN,IN04 OUT00-OUT02,IN04-IN04,IN04"), renderer)
    means = {label: result.mean for label, result in found.items()}
    assert means == pytest.approx({"IN": 11, "NOT IN": 28, "IN04 OUT00-OUT02": 26, "IN04-IN04": 1, "IN04": 1})
    assert len(renderer.painted) == 1 + 4  # two names of one block are one picture


def test_inside_and_outside_of_a_mask(tmp_path: Path) -> None:
    # IN04 and the first 36 pixels of IN05 are the two top rows, the rest of IN05 begins the third.
    asked: list[tuple[int, int]] = []

    def mask(width: int, height: int) -> np.ndarray:
        asked.append((width, height))
        return rectangle_mask("0,0,100,10", width, height)

    found = finished(analysis(tmp_path, "IN04,IN05,OUT01,OUT00", mask=mask), Painter(same_areas(**AREAS)))
    assert set(asked) == {(WIDTH, HEIGHT)}
    changes = {label: result.changes[Sample(1)] for label, result in found.items()}
    assert changes["IN04"] == Change(pytest.approx(1), pytest.approx(10), 0.0)
    assert changes["IN05"] == Change(pytest.approx(10), pytest.approx(90), pytest.approx(100 * 4 / 360))
    assert changes["OUT01"] == Change(pytest.approx(25), 0.0, pytest.approx(100 * 100 / 360))
    assert changes["OUT00"] == Change(0.0, 0.0, 0.0)
    assert found["IN04"].mean_of("focus") == 1
    assert found["OUT01"].mean_of("focus") == 0
    assert found["OUT00"].mean_of("focus") is None
    assert found["IN05"].mean_of("inside") == pytest.approx(90)


def test_a_failing_cell_is_marked_for_its_seed_alone(tmp_path: Path) -> None:
    renderer = Painter(by_seed)
    renderer.fails = lambda cell: cell.seed == 2 and weights_of(cell)["IN05"] == 0
    found = finished(analysis(tmp_path, seeds=(1, 2, 6)), renderer)
    assert found["IN05"].changes[Sample(2)] is None
    assert found["IN05"].errors == {Sample(2): "RuntimeError: out of memory"}
    assert found["IN05"].percents() == pytest.approx([10, 10])
    assert found["IN04"].percents() == pytest.approx([1, 2, 6])
    assert found["IN04"].errors == {}


def test_a_failing_source_marks_its_cells(tmp_path: Path) -> None:
    renderer = Painter(by_seed)
    renderer.fails = lambda cell: cell.seed == 2 and set(weights_of(cell).values()) == {1.0}
    made = analysis(tmp_path, "auto", seeds=(1, 2))
    found = finished(made, renderer)
    for label in AREAS:
        assert found[label].changes[Sample(2)] is None
        assert found[label].errors == {Sample(2): "the source failed: RuntimeError: out of memory"}
        assert len(found[label].percents()) == 1
    assert made.source_errors == {Sample(2): "RuntimeError: out of memory"}


def test_each_prompt_has_a_source_of_its_own_for_each_seed(tmp_path: Path) -> None:
    renderer = Painter(by_seed)
    made = analysis(tmp_path, "IN04,IN05", seeds=(1, 2), prompts=("", "a dog"))
    found = finished(made, renderer)
    assert list(found["IN04"].changes) == [Sample(1, 0), Sample(2, 0), Sample(1, 1), Sample(2, 1)]
    assert found["IN04"].percents() == pytest.approx([1, 2, 1, 2])
    assert sorted((cell.prompt, cell.seed) for cell in renderer.painted) == sorted(
        (prompt, seed) for prompt in ("", "a dog") for seed in (1, 2) for _ in range(3)
    )
    assert len({made.store.path(cell) for cell in made.cells}) == 12
    prompts = [cell.prompt for cell in renderer.painted]
    assert prompts == sorted(prompts)  # a text is encoded once
    assert [made.settings.label(sample) for sample in made.settings.samples][2] == "prompt 2, seed 1"


def test_a_failing_source_fails_the_cells_of_its_prompt_alone(tmp_path: Path) -> None:
    renderer = Painter(by_seed)
    renderer.fails = lambda cell: cell.prompt == "a dog" and set(weights_of(cell).values()) == {1.0}
    found = finished(analysis(tmp_path, "IN04", prompts=("", "a dog")), renderer)
    assert found["IN04"].percents() == pytest.approx([1])
    assert list(found["IN04"].errors) == [Sample(1, 1)]


def test_what_is_not_known_is_in_no_ranking(tmp_path: Path) -> None:
    renderer = Painter(same_areas(**AREAS))
    renderer.fails = lambda cell: weights_of(cell)["IN05"] == 0
    made = analysis(tmp_path)
    found = finished(made, renderer)
    assert (found["IN05"].mean, found["IN05"].std, found["IN05"].mean_of("focus")) == (None, None, None)
    assert [result.choice.label for result in made.ranking()] == ["OUT01", "M00", "IN04"]
    assert "IN05" not in suggest(made.results).verdicts


def test_a_block_that_changes_nothing_comes_last_in_the_ranking(tmp_path: Path) -> None:
    made = analysis(tmp_path)
    finished(made, Painter(same_areas(**{**AREAS, "IN05": 0, "M00": 1})))
    assert [result.mean for result in made.ranking()] == pytest.approx([25, 1, 0.25, 0])


def test_an_analysis_without_failures_has_none_whatever_comes_before_its_source(tmp_path: Path) -> None:
    made = analysis(tmp_path, seeds=(1, 2), prompts=("", "another"))
    found = finished(made, Painter(by_seed))
    assert [result.errors for result in found.values()] == [{}] * 4
    assert (made.source_errors, made.stop_reason) == ({}, "")
    assert all(len(result.percents()) == 4 for result in found.values())


def test_labels_tell_the_samples_from_each_other(tmp_path: Path) -> None:
    for prompts in (("",), ("", "another")):
        settings = analysis(tmp_path, seeds=(31, 42), prompts=prompts).settings
        labels = {settings.label(sample): sample for sample in settings.samples}
        assert list(labels.values()) == list(settings.samples)
        assert all(str(sample.seed) in label for label, sample in labels.items())


def test_a_choices_pictures_are_its_source_and_its_own(tmp_path: Path) -> None:
    made = analysis(tmp_path)
    finished(made, Painter(same_areas(**AREAS)))
    source, changed = made.pictures(made.results[0].choice, Sample(1))
    assert source is not None
    assert changed is not None
    assert (source.pictures != changed.pictures).any(axis=-1).sum() == AREAS["IN04"]
    nothing = choose("BASE", SDXL, ())[0]
    assert [shown.infotext for shown in made.pictures(nothing, Sample(1)) if shown] == ["seed 1"] * 2


def test_more_pictures_than_the_limit_are_refused_before_any_is_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PICTURES", 15)
    assert len(analysis(tmp_path, seeds=(1, 2, 3)).cells) == 15  # three sources and three of each of four blocks
    with pytest.raises(WeightsError, match="20 pictures are too many"):
        analysis(tmp_path, seeds=(1, 2, 3, 4))


def test_of_no_results_nothing_is_suggested() -> None:
    found = suggest([])
    assert (found.low, found.high, dict(found.verdicts)) == (0.0, 0.0, {})


def test_a_range_of_one_number_renders_only_the_sources(tmp_path: Path) -> None:
    renderer = Painter(same_areas(**AREAS))
    found = finished(analysis(tmp_path, span=(0.5, 0.5), seeds=(1, 2)), renderer)
    assert [cell.seed for cell in renderer.painted] == [1, 2]
    assert {cell.weights for cell in renderer.painted} == {renderer.painted[0].weights}
    assert set(weights_of(renderer.painted[0]).values()) == {0.5}
    assert all(result.percents() == [0.0, 0.0] for result in found.values())


@pytest.mark.parametrize("stopped_after", range(10))
def test_a_stopped_analysis_goes_on_and_gives_the_same(stopped_after: int, tmp_path: Path) -> None:
    whole = finished(analysis(tmp_path / "whole", seeds=(1, 2)), Painter(by_seed))
    renderer = Painter(by_seed)
    renderer.stops_after = stopped_after
    half = analysis(tmp_path / "half", seeds=(1, 2))
    known = sum(len(result.percents()) for result in finished(half, renderer).values())
    assert known == max(0, stopped_after - 2)
    again = analysis(tmp_path / "half", seeds=(1, 2))
    assert finished(again, Painter(by_seed)) == whole
    assert (again.reused, again.rendered) == (stopped_after, 10 - stopped_after)


def test_a_lost_source_is_rendered_again_and_the_kept_cells_are_measured(tmp_path: Path) -> None:
    first = analysis(tmp_path, seeds=(1, 2))
    whole = finished(first, Painter(by_seed))
    first.store.path(first.sources[Sample(2)]).unlink()
    renderer = Painter(by_seed)
    again = analysis(tmp_path, seeds=(1, 2))
    assert finished(again, renderer) == whole
    assert renderer.painted == [again.sources[Sample(2)]]


def test_a_full_disk_ends_it_with_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = CellStore.save

    def save(self: CellStore, cell: Cell, rendered: Rendered) -> None:
        if len(renderer.painted) == 4:
            raise FileError("cell.png cannot be written: No space left on device")
        real(self, cell, rendered)

    monkeypatch.setattr(CellStore, "save", save)
    renderer = Painter(same_areas(**AREAS))
    made = analysis(tmp_path)
    found = finished(made, renderer)
    assert "No space left on device" in made.stop_reason
    # A source and two blocks are on disk; the fourth picture was measured before it was lost.
    assert sum(len(result.percents()) for result in found.values()) == 3


def test_an_analysis_holds_few_pictures_at_a_time(tmp_path: Path) -> None:
    renderer = Painter(by_seed)
    made = analysis(tmp_path, seeds=(1, 2, 3))
    for outcome in made.run(renderer):
        del outcome
    assert len(renderer.alive) == 15
    assert max(renderer.alive) <= 2


def test_auto_chooses_the_blocks_with_tensors_in_their_order() -> None:
    assert [choice.blocks for choice in choose("auto", SDXL, {"OUT01", "IN04"})] == [("IN04",), ("OUT01",)]


# The suggestion ----------------------------------------------------------------------------------


def results(**means: float) -> list[BlockResult]:
    found = []
    for label, mean in means.items():
        (choice,) = choose(label, SDXL, ())
        found.append(BlockResult(choice, {Sample(1): Change(mean - 1), Sample(2): Change(mean + 1)}))
    return found


def test_blocks_are_sorted_by_thresholds_that_count() -> None:
    given = results(IN04=20, IN05=10, M00=9.9, OUT00=2.1, OUT01=2, OUT02=1)
    found = suggest(given)
    assert (found.low, found.high) == (2, 10)
    assert dict(found.verdicts) == {
        "IN04": "needed",
        "IN05": "needed",
        "M00": "unknown",
        "OUT00": "unknown",
        "OUT01": "not needed",
        "OUT02": "not needed",
    }
    assert dict(suggest(given, 9.95, 15).verdicts) == {
        "IN04": "needed",
        "IN05": "unknown",
        **dict.fromkeys(["M00", "OUT00", "OUT01", "OUT02"], "not needed"),
    }


def test_a_low_threshold_above_the_usual_high_one_leaves_nothing_unknown() -> None:
    assert dict(suggest(results(IN04=20, IN05=14), low=15).verdicts) == {"IN04": "needed", "IN05": "not needed"}


def test_where_nothing_changes_nothing_is_needed() -> None:
    (choice,) = choose("IN", SDXL, ())
    found = suggest([BlockResult(choice, {Sample(1): Change(0.0)})])
    assert set(found.verdicts.values()) == {"not needed"}
    weights = parse_block_weights(found.preset("P").partition(":")[2]).resolve(SDXL, {}).blocks
    assert weights == {block: 0.0 if block.startswith("IN") else 1.0 for block in SDXL.blocks}


def test_a_block_of_several_choices_counts_with_the_largest() -> None:
    given = [
        *results(OUT01=20),
        *results(IN04=3),
        BlockResult(choose("IN04 IN05", SDXL, ())[0], {Sample(1): Change(15.0)}),
    ]
    for order in (given, given[::-1]):
        assert dict(suggest(order).verdicts) == {"OUT01": "needed", "IN04": "needed", "IN05": "needed"}


def test_the_suggested_preset_means_its_verdicts() -> None:
    line = suggest(results(IN04=20, IN05=10, M00=5, OUT01=1)).preset("my 猫 LoRA")
    presets = parse_presets(line + "\n").presets
    assert list(presets) == ["my 猫 LoRA"]
    weights = parse_block_weights("my 猫 LoRA").resolve(SDXL, presets).blocks
    assert weights == dict.fromkeys(SDXL.blocks, 1.0) | {"M00": 0.5, "OUT01": 0.0}


def test_a_block_that_was_not_analysed_or_failed_is_not_measured_and_keeps_its_weight() -> None:
    (failed,) = choose("OUT00 OUT01", SDXL, ())
    found = suggest([*results(IN04=20, OUT01=1), BlockResult(failed, {Sample(1): None})])
    assert [found.verdict(block) for block in ("IN04", "OUT01", "OUT00", "IN08")] == [
        "needed", "not needed", "not measured", "not measured",
    ]  # fmt: skip
    assert found.verdicts_of(failed) == ["not measured", "not needed"]
    assert found.preset("P") == "P:1,OUT01=0"


def test_the_suggested_preset_is_read_whatever_the_loras_name() -> None:
    line = suggest(results(IN04=20)).preset("style #2")
    assert len(parse_presets(line).presets) == 1


def test_pictures_of_another_size_than_the_source_are_never_compared(tmp_path: Path) -> None:
    class Growing(Painter):
        def render(self, cell: Cell) -> Rendered:
            made = super().render(cell)
            larger = weights_of(cell)["IN05"] == 0
            return Rendered(np.repeat(made.pictures, 2, axis=1)) if larger else made

    with pytest.raises(ValueError, match="beside a source of"):
        finished(analysis(tmp_path), Growing(same_areas(**AREAS)))
