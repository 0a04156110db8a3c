"""Grids and analyses too large to wait for: refused before they are enumerated, or ordered in no time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lbw.analysis.cells import Cell, choose, ordered, parse_span
from lbw.analysis.effective_blocks import Analysis, Settings
from lbw.analysis.ranges import numbers, split
from lbw.analysis.request import PictureRequest
from lbw.analysis.store import CellStore
from lbw.analysis.xyz import Axis, AxisType, build
from lbw.core import limits
from lbw.core.architectures import ARCHITECTURES
from lbw.core.errors import TagError, WeightsError

SDXL = ARCHITECTURES["sdxl"]
TENSORS = dict.fromkeys(SDXL.blocks, 5)


def analysis(folder: Path, blocks: str, seeds: int) -> Analysis:
    settings = Settings(tuple(choose(blocks, SDXL, TENSORS)), tuple(range(seeds)))
    return Analysis(settings, SDXL, TENSORS, CellStore(folder, {}))


def test_an_analysis_has_no_more_pictures_than_its_limit(tmp_path: Path) -> None:
    most = limits.PICTURES // 2
    assert len(analysis(tmp_path, "IN04", most).cells) == limits.PICTURES
    with pytest.raises(WeightsError, match=r"10,002 pictures are too many; the limit is 10,000"):
        analysis(tmp_path, "IN04", most + 1)


def test_a_plot_has_no_more_pictures_than_its_limit() -> None:
    weights = Axis(AxisType.VALUES, ("0",) * 5_000)
    assert len(build(weights, Axis(AxisType.BLOCKS, ("IN04", "IN05")), Axis(), SDXL, {}, 1).cells) == 10_000
    with pytest.raises(WeightsError, match=r"15,000 pictures"):
        build(weights, Axis(AxisType.BLOCKS, ("IN04",) * 3), Axis(), SDXL, {}, 1)


@pytest.mark.parametrize("text", ["1," * 10_001, "1-9999," * 1_000])
def test_an_axis_has_no_more_values_than_its_limit(text: str) -> None:
    with pytest.raises(WeightsError, match=r"more than 10,000 values"):
        numbers(text)


def test_an_axis_may_have_as_many_values_as_its_limit() -> None:
    assert len(split("1," * 10_000)) == 10_000


def test_the_largest_analysis_is_put_in_order_at_once(tmp_path: Path) -> None:
    cells = analysis(tmp_path, "IN04,IN05,OUT00,M00", 1_000).cells
    began = time.process_time()
    order = ordered(cells, TENSORS)
    assert time.process_time() - began < 2
    assert set(order) == set(cells)
    assert [cell.seed for cell in order[:1_000]] == list(range(1_000))


def test_of_very_many_weights_the_order_is_the_one_given() -> None:
    cells = [Cell(("IN04", "IN05"), (str(n % 100), str(n // 100)), 1) for n in range(9_000)]
    began = time.process_time()
    assert ordered(cells, TENSORS) == cells
    assert time.process_time() - began < 2


def test_a_list_of_blocks_of_many_megabytes_is_refused() -> None:
    with pytest.raises(WeightsError, match="Blocks has 4,000,000 characters"):
        choose("IN4," * 1_000_000, SDXL, TENSORS)


@pytest.mark.parametrize("text", ["1001,0", "0,-1e30"])
def test_a_span_past_a_sane_weight_is_told(text: str) -> None:
    with pytest.raises(WeightsError, match="out of range; weights go from -1000 to 1000"):
        parse_span(text)


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_a_prompt_past_its_limit_is_told(field: str) -> None:
    most = "a" * limits.PROMPT_CHARACTERS
    PictureRequest(**{"prompt": "a", field: most}).check()
    with pytest.raises(TagError, match="the limit is 1,000,000"):
        PictureRequest(**{"prompt": "a", field: most + "a"}).check()
