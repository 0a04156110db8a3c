"""A round of the tuner: each of its cells once with its picture, from the disk where it is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")

from lbw.analysis.cells import Cell, uniform_cell
from lbw.analysis.request import PictureRequest
from lbw.analysis.tuner_round import round_pictures
from lbw.core.architectures import ARCHITECTURES
from lbw.core.errors import HostError, TagError, WeightsError

from .doubles import picture, weights_of
from .session_host import AREAS, PROMPT, PaintingHost

SDXL = ARCHITECTURES["sdxl"]
ASKED = PictureRequest(PROMPT, seed=3)
SOURCE = uniform_cell(SDXL, 1, 3)
CELLS = [SOURCE, SOURCE.with_entry(["IN04"], "0"), SOURCE.with_entry(["IN08"], "0.5")]


def test_each_cell_comes_with_its_picture_and_is_rendered_once(tmp_path: Path) -> None:
    host = PaintingHost(tmp_path)
    found = dict(round_pictures(host, CELLS, ASKED))
    assert set(found) == set(CELLS)
    for cell, pixels in found.items():
        assert np.array_equal(pixels, picture(weights_of(cell), AREAS))
    assert sorted(host.painted, key=CELLS.index) == CELLS
    again = SOURCE.with_entry(["OUT00"], "0")
    assert set(dict(round_pictures(host, [*CELLS, again], ASKED))) == {*CELLS, again}
    assert host.painted[len(CELLS) :] == [again]


def test_a_picture_that_fails_ends_the_round_with_its_reason(tmp_path: Path) -> None:
    host = PaintingHost(tmp_path)
    host.fails = lambda cell: cell == CELLS[1]
    with pytest.raises(HostError, match="RuntimeError: out of memory"):
        list(round_pictures(host, CELLS, ASKED))


def test_cells_of_another_model_are_refused_before_any_is_rendered(tmp_path: Path) -> None:
    host = PaintingHost(tmp_path)
    flux = uniform_cell(ARCHITECTURES["flux"], 1, 3)
    with pytest.raises(WeightsError, match="SDXL"):
        list(round_pictures(host, [flux], ASKED))
    fewer = Cell(("BASE", "IN04"), ("1", "0"), 3)  # a layout may leave out blocks
    assert [cell for cell, _ in round_pictures(host, [fewer], ASKED)] == [fewer]
    assert host.painted == [fewer]


def test_a_request_that_cannot_be_is_told_before_any_is_rendered(tmp_path: Path) -> None:
    host = PaintingHost(tmp_path)
    with pytest.raises(WeightsError, match="Steps"):
        list(round_pictures(host, CELLS, PictureRequest(PROMPT, seed=3, steps=0)))
    with pytest.raises(TagError):
        list(round_pictures(host, CELLS, PictureRequest("a cat without a tag", seed=3)))
    assert host.painted == []
