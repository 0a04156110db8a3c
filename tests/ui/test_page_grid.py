"""The grid of an analysis as the page shows it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lbw.analysis.analysis_session import AnalysisSession
from lbw.analysis.cells import Cell
from lbw.analysis.effective_blocks import Sample
from lbw.analysis.request import AnalysisRequest
from lbw.analysis.sheet import analysis_grid
from lbw.analysis.store import CellStore
from lbw.ui.page_grid import page_grid, reduced
from tests.analysis.session_host import PROMPT, NoiseOfTwo, PaintingHost, ended


@pytest.fixture
def host(tmp_path: Path) -> PaintingHost:
    return PaintingHost(tmp_path)


def analyzed(host: PaintingHost, **options: object) -> AnalysisSession:
    session = ended(AnalysisSession(host, AnalysisRequest(PROMPT, seed=5, **options)))  # type: ignore[arg-type]
    assert isinstance(session, AnalysisSession)
    return session


def test_pictures_are_reduced_to_a_side_and_never_enlarged() -> None:
    assert reduced(np.zeros((2, 512, 256, 3), np.uint8), 128).shape == (2, 128, 64, 3)
    assert reduced(np.zeros((1, 20, 20, 3), np.uint8), 128).shape == (1, 20, 20, 3)


def test_small_pictures_make_the_same_grid_as_the_one_on_disk(host: PaintingHost) -> None:
    session = analyzed(host, seeds=2)
    for sample in session.settings.samples:
        shown = page_grid(session, sample)
        saved = analysis_grid(session.analysis, sample, session.heading(sample)).image
        assert shown is not None
        assert np.array_equal(np.asarray(shown), np.asarray(saved))


def test_each_picture_is_read_from_disk_once(host: PaintingHost, monkeypatch: pytest.MonkeyPatch) -> None:
    session = analyzed(host)
    read: list[Cell] = []
    load = CellStore.load
    monkeypatch.setattr(CellStore, "load", lambda self, cell: read.append(cell) or load(self, cell))
    for _ in range(3):
        page_grid(session, Sample(5))
    assert len(read) == len(set(read)) == 4


def test_an_analysis_that_runs_has_a_grid_of_what_is_there(host: PaintingHost) -> None:
    host.stops_after = 2
    session = analyzed(host)
    shown = page_grid(session, Sample(5))
    host.stops_after = None
    whole = page_grid(analyzed(host), Sample(5))
    assert shown is not None
    assert whole is not None
    assert not np.array_equal(np.asarray(shown), np.asarray(whole))


def test_a_quick_scan_has_none(host: PaintingHost) -> None:
    host.probe = NoiseOfTwo()
    assert page_grid(analyzed(host, mode="quick"), Sample(5)) is None


def test_where_the_cells_are_gone_it_is_the_saved_one(host: PaintingHost) -> None:
    session = analyzed(host)
    shutil.rmtree(host.folder / "cells")
    assert session.folder is not None
    with Image.open(session.folder / "grid.png") as saved:
        shown = page_grid(session, Sample(5))
        assert shown is not None
        assert np.array_equal(np.asarray(shown), np.asarray(saved.convert("RGB")))
