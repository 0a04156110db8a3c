"""A plot from its request to its files: what it writes, and what it says where cells are missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")

from PIL import Image, ImageDraw

from lbw.analysis import sheet
from lbw.analysis.plot_session import PlotSession
from lbw.analysis.request import PlotRequest
from lbw.analysis.session import DONE, ERROR, FAILED, NOT_DRAWN, STOPPED, WARNING, Message
from lbw.analysis.sheet import beside
from lbw.analysis.store import CellStore
from lbw.core.errors import FileError

from .doubles import picture, weights_of
from .session_host import AREAS, PROMPT, PaintingHost

AXES = {"x_type": "values", "x_values": "0,0.5", "y_type": "Block ID", "y_values": "IN04,IN08"}
"""Four cells, all different."""
AGAIN = Message("Run the same settings again to continue.", WARNING)


@pytest.fixture
def host(tmp_path: Path) -> PaintingHost:
    return PaintingHost(tmp_path)


def plotted(host: PaintingHost, **axes: str) -> PlotSession:
    session = PlotSession(host, PlotRequest(PROMPT, seed=3, **AXES, **axes))
    session.run()
    assert session.over.is_set()
    return session


def written(session: PlotSession) -> dict[str, Any]:
    assert session.folder is not None
    figures: dict[str, Any] = json.loads((session.folder / "plot.json").read_text(encoding="utf-8"))
    return figures


def pictures_of(weights: dict[str, float]) -> np.ndarray:
    return picture({**dict.fromkeys(AREAS, 1.0), **weights}, AREAS)


def test_a_plots_file_says_what_each_picture_was_rendered_with(host: PaintingHost) -> None:
    session = plotted(host, z_type="seed", z_values="3,4")
    assert (session.done, session.total, session.version, session.messages) == (8, 8, 8, [])
    figures = written(session)
    assert figures == json.loads(json.dumps(session.figures()))
    assert figures["axes"] == {
        "x": {"type": "values", "values": ["0", "0.5"]},
        "y": {"type": "Block ID", "values": ["IN04", "IN08"]},
        "z": {"type": "seed", "values": ["3", "4"]},
    }
    asked = {"prompt": PROMPT, "seed": 3, "steps": 20, **AXES, "z_type": "seed", "z_values": "3,4"}
    assert figures["request"].items() >= asked.items()
    assert figures["settings"] == {**figures["request"], "model": "paint", "lora": "demo"}
    assert (figures["state"], figures["errors"], figures["grids"]) == (DONE, [], ["grid.png", "grid-z2.png"])
    places = [(cell["z"], cell["y"], cell["x"]) for cell in figures["cells"]]
    assert places == [(z, y, x) for z in ("3", "4") for y in ("IN04", "IN08") for x in ("0", "0.5")]
    for cell, planned in zip(figures["cells"], session.grid.cells.values()):
        assert (cell["seed"], cell["elements"], cell["weights"]) == (int(cell["z"]), "", planned.weights)
        assert weights_of(planned)[cell["y"]] == float(cell["x"])
        with Image.open(cell["file"]) as kept:
            assert np.array_equal(np.asarray(kept), pictures_of({cell["y"]: float(cell["x"])}))


def test_each_grid_of_a_plot_has_its_pictures_and_an_infotext(host: PaintingHost) -> None:
    session = plotted(host, z_type="seed", z_values="3,4")
    for path in session.files[:2]:
        with Image.open(path) as grid:
            assert grid.text == {"parameters": "seed 3"}  # type: ignore[attr-defined]
            drawn = np.asarray(grid)
        # IN04 is 40 of the 400 pixels of a picture, which is enlarged 7 times: 128 / 20, rounded up.
        gone, half, there = (np.count_nonzero((drawn == shade).all(axis=-1)) for shade in (40, 90, 140))
        assert gone == half == pytest.approx((40 + 8) * 49, rel=0.05)  # letters have the same gray here and there
        assert there == pytest.approx((2 * 8 + 2 * 40 + 4 * 2) * 49, rel=0.05)


def test_a_cell_that_failed_is_told_once_and_the_others_are_drawn(host: PaintingHost) -> None:
    host.fails = lambda cell: weights_of(cell)["IN08"] < 1
    session = plotted(host)
    assert (session.state, session.done, session.total) == (DONE, 4, 4)
    assert session.messages == [Message("A cell failed: RuntimeError: out of memory", WARNING)]
    assert [weights_of(cell)["IN08"] for cell in session.errors] == [0, 0.5]
    assert written(session)["errors"] == ["RuntimeError: out of memory"]
    assert [path.name for path in session.files] == ["grid.png", "plot.json"]


def test_a_plot_without_any_picture_has_failed(host: PaintingHost) -> None:
    host.fails = lambda cell: True
    session = plotted(host)
    assert (session.state, session.files) == (FAILED, [])
    assert session.messages == [
        Message("A cell failed: RuntimeError: out of memory", WARNING),
        Message("no cell was rendered: RuntimeError: out of memory", ERROR),
    ]


@pytest.mark.parametrize(("rendered", "files"), [(3, ["grid.png", "plot.json"]), (0, [])])
def test_a_stopped_plot_says_how_many_cells_are_missing(host: PaintingHost, rendered: int, files: list[str]) -> None:
    host.stops_after = rendered
    session = plotted(host)
    assert (session.state, session.done, [path.name for path in session.files]) == (STOPPED, rendered, files)
    assert session.messages == [Message(f"Stopped: {4 - rendered} cells are missing.", WARNING), AGAIN]
    assert not files or written(session)["state"] == STOPPED


@pytest.mark.parametrize("kept", [2, 0])
def test_a_plot_whose_pictures_cannot_be_kept_has_failed_and_says_why(
    host: PaintingHost, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = CellStore.save

    def save(self: CellStore, cell: Any, rendered: Any) -> None:
        if len(host.painted) > kept:
            raise FileError("no space left")
        real(self, cell, rendered)

    monkeypatch.setattr(CellStore, "save", save)
    session = plotted(host)
    assert (session.state, session.messages) == (FAILED, [Message("no space left", ERROR)])
    assert [path.name for path in session.files] == (["grid.png", "plot.json"] if kept else [])


def test_a_session_says_each_thing_once_at_each_level(host: PaintingHost) -> None:
    session = PlotSession(host, PlotRequest(PROMPT, seed=3, **AXES))
    for level in (WARNING, WARNING, ERROR, WARNING):
        session.say("the same", level)
    assert session.messages == [Message("the same", WARNING), Message("the same", ERROR)]


@pytest.mark.parametrize("is_kept", [True, False])
def test_grids_are_kept_in_full_size_only_where_that_is_wanted(host: PaintingHost, is_kept: bool) -> None:
    session = PlotSession(host, PlotRequest(PROMPT, seed=3, **AXES, z_type="seed", z_values="3,4"))
    session.keeps_grids = is_kept
    session.run()
    assert session.folder is not None
    paths = [session.folder / "grid.png", session.folder / "grid-z2.png"]
    assert [(drawn.infotext, drawn.path) for drawn in session.grids] == [("seed 3", path) for path in paths if is_kept]
    for drawn, path in zip(session.grids, paths):
        with Image.open(path) as saved:
            assert np.array_equal(np.asarray(drawn.image), np.asarray(saved))


def test_grids_that_cannot_be_written_are_told_and_kept_without_a_path(
    host: PaintingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise FileError("no space left")

    monkeypatch.setattr("lbw.analysis.png.write", full)
    session = PlotSession(host, PlotRequest(PROMPT, seed=3, **AXES))
    session.keeps_grids = True
    session.run()
    assert (session.state, session.messages) == (DONE, [Message("Not saved: no space left", ERROR)])
    assert [path.name for path in session.files] == ["plot.json"]
    assert [(drawn.infotext, drawn.path) for drawn in session.grids] == [("seed 3", None)]


def test_without_a_folder_grids_are_kept_without_a_path(host: PaintingHost) -> None:
    host.results = None
    session = PlotSession(host, PlotRequest(PROMPT, seed=3, **AXES))
    session.keeps_grids = True
    session.run()
    assert (session.state, session.messages, session.files) == (DONE, [], [])
    assert [(drawn.infotext, drawn.path) for drawn in session.grids] == [("seed 3", None)]


def test_a_plot_is_stopped_while_its_grids_are_drawn(host: PaintingHost, monkeypatch: pytest.MonkeyPatch) -> None:
    axes = {"x_type": "values", "x_values": "0,1", "y_type": "Block ID", "y_values": "IN04", "z_type": "seed"}
    session = PlotSession(host, PlotRequest(PROMPT, seed=3, z_values="3,4", **axes))
    drawn: list[int] = []

    def drawing(pictures: Any) -> Any:
        drawn.append(1)
        if len(drawn) == 4:  # the first is asked for its size, two more are the first grid
            session.stop()
        return beside(pictures)

    monkeypatch.setattr(sheet, "beside", drawing)
    session.run()
    assert (session.state, len(drawn), [path.name for path in session.files]) == (STOPPED, 4, ["grid.png", "plot.json"])
    assert session.messages == [Message(NOT_DRAWN, WARNING), AGAIN]


def test_the_grids_of_a_plot_say_of_what_they_are_and_why_a_picture_is_missing(
    host: PaintingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    words: list[str] = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, xy, text, ink, font: words.append(text))
    host.fails = lambda cell: (cell.seed, weights_of(cell)["IN08"]) == (4, 0.5)
    plotted(host, z_type="seed", z_values="3,4")
    second = words.index("demo", 1)
    assert words[:second] == ["demo", "seed: 3", "0", "0.5", "IN04", "IN08"]
    assert words[second : second + 6] == ["demo", "seed: 4", "0", "0.5", "IN04", "IN08"]
    assert " ".join(words[second + 6 :]) == "RuntimeError: out of memory"


def test_the_grid_of_a_plot_without_a_third_axis_has_the_lora_alone_above_it(
    host: PaintingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    words: list[str] = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, xy, text, ink, font: words.append(text))
    plotted(host)
    assert words == ["demo", "0", "0.5", "IN04", "IN08"]
