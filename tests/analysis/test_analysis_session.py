"""One analysis from the request to figures and files: its messages, its files, its final state."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lbw.analysis import analysis_session, sheet
from lbw.analysis.analysis_session import AnalysisSession, scan_results
from lbw.analysis.cells import Choice
from lbw.analysis.effective_blocks import Sample
from lbw.analysis.measure import heat_map
from lbw.analysis.noise_scan import NoiseChange
from lbw.analysis.request import AnalysisRequest
from lbw.analysis.session import DONE, ERROR, FAILED, GUESS, INFO, STOPPED, WARNING, Message
from lbw.core.architectures import by_name
from lbw.core.errors import WeightsError

from .session_host import DRAWN, PROMPT, NoiseOfTwo, PaintingHost, ended


@pytest.fixture
def host(tmp_path: Path) -> PaintingHost:
    return PaintingHost(tmp_path)


def analyzed(host: Any, **options: Any) -> AnalysisSession:
    session = ended(AnalysisSession(host, AnalysisRequest(**{"prompt": PROMPT, "seed": 5, **options})))
    assert isinstance(session, AnalysisSession)
    return session


def messages(session: AnalysisSession) -> list[str]:
    return [str(message) for message in session.messages]


def test_it_writes_its_figures_and_pictures(host: PaintingHost) -> None:
    session = analyzed(host)
    assert session.state == DONE
    assert session.folder is not None
    names = ["analysis.csv", "analysis.json", "chart.png", "grid.png"]
    assert sorted(path.name for path in session.folder.iterdir()) == names
    assert sorted(session.files) == [session.folder / name for name in names]
    assert session.suggestion.verdicts == {"IN04": "needed", "IN08": "unknown", "OUT00": "not needed"}
    assert session.messages == [Message("Done: 4 pictures rendered, 0 reused.", INFO)]
    with Image.open(session.folder / "grid.png") as grid:
        assert grid.info["parameters"] == "seed 5"
    rows = list(csv.DictReader((session.folder / "analysis.csv").open(encoding="utf-8")))
    assert [(row["rank"], row["block"], float(row["seed 5"])) for row in rows] == [
        ("1", "IN04", 10.0), ("2", "IN08", 2.0), ("3", "OUT00", 0.5),
    ]  # fmt: skip


def test_the_written_figures_are_those_that_are_told(host: PaintingHost) -> None:
    session = analyzed(host, seeds=2, negative_prompt="dogs", threshold=7)
    assert session.folder is not None
    written = json.loads((session.folder / "analysis.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(session.figures()))
    assert written["state"] == DONE
    assert written["settings"]["model"] == "paint"
    assert (written["settings"]["seeds"], written["settings"]["sources"]) == ([5, 6], ["seed 5", "seed 6"])
    assert AnalysisRequest.read(written["request"]) == session.request
    assert (written["grid"], written["grids"]) == ("grid.png", ["grid.png", "grid-seed6.png"])


@pytest.mark.parametrize(
    ("strengths", "told"), [("0.5", "strength 0.5,"), ("0.5:0.5", "strength 0.5,"), ("0.5:2", "strength 0.5:2,")]
)
def test_the_heading_of_a_grid_has_both_strengths_where_they_differ(
    host: PaintingHost, strengths: str, told: str
) -> None:
    session = analyzed(host, prompt=f"a cat <lora:demo:{strengths}:lbw=XYZ>")
    assert told in session.heading(Sample(5))


@pytest.mark.parametrize("mode", ["full", "quick"])
def test_the_chart_says_what_its_percentages_are_of(
    mode: str, host: PaintingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.probe = NoiseOfTwo()
    session = analyzed(host, mode=mode)
    units: list[str] = []
    monkeypatch.setattr(analysis_session, "bar_chart", lambda *given: units.append(given[-1]))
    session.chart()
    assert ["noise" in unit for unit in units] == [mode == "quick"]


def test_each_prompt_has_grids_of_its_own(host: PaintingHost) -> None:
    session = analyzed(host, seeds=2, more_prompts=("a dog",))
    assert [path.name for path in session.files if path.stem.startswith("grid")] == [
        "grid.png", "grid-prompt1-seed6.png", "grid-prompt2-seed5.png", "grid-prompt2-seed6.png",
    ]  # fmt: skip
    assert {cell.prompt for cell in host.painted} == {"", "a dog <lora:demo:1:lbw=XYZ>"}


def test_what_is_wrong_is_told_before_anything_is_made(host: PaintingHost) -> None:
    with pytest.raises(WeightsError, match="QQ"):
        analyzed(host, blocks="QQ", fresh=True)
    assert list(host.folder.iterdir()) == []


def test_a_wrong_request_to_begin_anew_deletes_no_pictures(host: PaintingHost) -> None:
    analyzed(host)
    with pytest.raises(WeightsError):
        analyzed(host, blocks="QQ", fresh=True)
    assert analyzed(host).analysis.reused == 4
    assert analyzed(host, fresh=True).analysis.rendered == 4


def test_where_every_picture_fails_it_has_failed_and_says_why(host: PaintingHost) -> None:
    host.fails = lambda cell: True
    session = analyzed(host)
    assert session.state == FAILED
    assert "Done: 0 pictures rendered, 0 reused, 4 failed." in messages(session)
    assert "IN04, IN08, OUT00: RuntimeError: out of memory" in messages(session)
    source = Message("The source failed for seed 5: RuntimeError: out of memory", ERROR)
    assert source in session.messages


def test_where_one_picture_fails_the_rest_is_there(host: PaintingHost) -> None:
    host.fails = lambda cell: "IN08=0," in cell.weights
    session = analyzed(host)
    assert (session.state, [result.mean for result in session.results]) == (DONE, [10.0, None, 0.5])
    assert Message("IN08: RuntimeError: out of memory", WARNING) in session.messages
    assert [message.level for message in session.messages] == [WARNING, WARNING]
    assert session.files[0].name == "grid.png"


def test_what_a_host_raises_is_told(host: PaintingHost) -> None:
    host.probe = NoiseOfTwo()
    host.probe.then = lambda: 1 / 0
    session = analyzed(host, mode="quick")
    assert session.state == FAILED
    assert messages(session) == ["It ended early: ZeroDivisionError: division by zero"]
    host.probe = None
    session = analyzed(host, mode="quick")
    assert (session.state, messages(session)) == (
        FAILED, ["this host does not support the quick scan; choose the full scan"],
    )  # fmt: skip


def test_cells_that_cannot_be_kept_end_it_with_what_it_has(host: PaintingHost, monkeypatch: pytest.MonkeyPatch) -> None:
    from lbw.analysis import store
    from lbw.core.errors import FileError

    real = store.write

    def full(path: Path, data: bytes) -> None:
        if len(host.painted) == 3:
            raise FileError("no space left")
        real(path, data)

    monkeypatch.setattr(store, "write", full)
    session = analyzed(host)
    assert (session.state, len(host.painted)) == (FAILED, 3)
    assert Message("no space left", ERROR) in session.messages
    assert session.folder is not None
    written = json.loads((session.folder / "analysis.json").read_text(encoding="utf-8"))
    assert (written["state"], written["stopped"]) == (FAILED, "no space left")


@pytest.mark.parametrize(("name", "is_guess"), [("unknown:B24", True), ("sdxl", False)])
def test_that_the_blocks_are_a_guess_is_said_before_all_else(tmp_path: Path, name: str, is_guess: bool) -> None:
    architecture = by_name(name)
    host = PaintingHost(tmp_path, architecture, {architecture.blocks[3]: 40})
    session = analyzed(host)
    assert session.state == DONE
    assert messages(session)[1:] == ["Done: 2 pictures rendered, 0 reused."] * is_guess
    assert (messages(session)[0] == GUESS) == is_guess


def test_a_stopped_one_says_what_is_missing_and_keeps_what_is_there(host: PaintingHost) -> None:
    host.stops_after = 2
    session = analyzed(host, seed=-1)
    assert (session.state, session.request.seed, session.asked.seed) == (STOPPED, DRAWN, -1)
    assert messages(session) == [
        "Stopped: 2 pictures rendered, 0 reused, 2 missing.", "Run the same settings again to continue.",
    ]  # fmt: skip
    assert [message.level for message in session.messages] == [WARNING, WARNING]
    assert session.folder is not None
    assert json.loads((session.folder / "analysis.json").read_text(encoding="utf-8"))["state"] == STOPPED
    host.stops_after = None
    again = analyzed(host)
    assert (again.figures()["rendered"], again.figures()["reused"]) == (2, 2)


def test_one_that_is_stopped_before_its_first_picture_leaves_no_folder(host: PaintingHost) -> None:
    session = AnalysisSession(host, AnalysisRequest(PROMPT))
    assert session.folder is not None
    session.stop()
    ended(session)
    assert (session.state, messages(session)) == (STOPPED, ["Stopped before anything was rendered."])
    assert not session.folder.exists()


# A stop while grids are drawn ---------------------------------------------------------------------


def stopped_at_heat_map(session: AnalysisSession, number: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Stop a session while its grids are drawn, at that heat map; return what grows with each heat map."""
    drawn: list[int] = []

    def drawing(*pictures: Any) -> Any:
        drawn.append(1)
        if len(drawn) == number:
            session.stop()
        return heat_map(*pictures)

    monkeypatch.setattr(sheet, "heat_map", drawing)
    return drawn


def test_a_stop_while_grids_are_drawn_ends_it_with_what_is_there(
    host: PaintingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = AnalysisSession(host, AnalysisRequest(PROMPT, seed=5, seeds=2))
    drawn = stopped_at_heat_map(session, 5, monkeypatch)  # each of the two grids has three
    ended(session)
    assert (session.state, session.done, len(drawn)) == (STOPPED, 8, 5)
    assert messages(session) == [
        "Done: 8 pictures rendered, 0 reused.", "Stopped before all grids were drawn.",
        "Run the same settings again to continue.",
    ]  # fmt: skip
    assert sorted(path.name for path in session.files) == ["analysis.csv", "analysis.json", "chart.png", "grid.png"]
    assert session.folder is not None
    written = json.loads((session.folder / "analysis.json").read_text(encoding="utf-8"))
    assert (written["state"], written["ranking"], written["grids"]) == (
        STOPPED,
        ["IN04", "IN08", "OUT00"],
        ["grid.png"],
    )
    again = analyzed(host, seeds=2)
    assert (again.state, again.analysis.reused, len(again.files)) == (DONE, 8, 5)


def test_what_is_there_of_a_stopped_one_is_drawn_until_it_is_stopped_once_more(
    host: PaintingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = AnalysisSession(host, AnalysisRequest(PROMPT, seed=5))
    paint = host.fails

    def painting(cell: Any) -> bool:
        if len(host.painted) == 3:
            session.stop()
        return paint(cell)

    host.fails = painting
    ended(session)
    assert (session.state, session.done, session.files[0].name) == (STOPPED, 3, "grid.png")
    again = AnalysisSession(host, AnalysisRequest(PROMPT, seed=5))
    host.stops_after = 3
    drawn = stopped_at_heat_map(again, 1, monkeypatch)
    ended(again)
    assert (again.state, again.done, len(drawn)) == (STOPPED, 3, 1)
    assert [path.name for path in again.files] == ["chart.png", "analysis.json", "analysis.csv"]


# Thresholds --------------------------------------------------------------------------------------


def test_thresholds_sort_anew_and_are_written(host: PaintingHost) -> None:
    session = analyzed(host)
    session.sort(0.1, 2.0)
    assert session.suggestion.verdicts == {"IN04": "needed", "IN08": "needed", "OUT00": "unknown"}
    assert session.folder is not None
    path = session.folder / "analysis.json"
    assert json.loads(path.read_text(encoding="utf-8"))["suggestion"]["preset"] == "demo:1,OUT00=0.5"
    session.sort(None, None)
    assert json.loads(path.read_text(encoding="utf-8"))["suggestion"]["preset"] == "demo:1,IN08=0.5,OUT00=0"


# Quick scans -------------------------------------------------------------------------------------


def test_a_quick_scan_is_percent_of_the_noise_and_writes_figures(host: PaintingHost) -> None:
    host.probe = NoiseOfTwo()
    session = analyzed(host, seeds=2, mode="quick")
    assert [(result.choice.label, result.mean) for result in session.results] == [
        ("IN04", pytest.approx(55)),
        ("IN08", 0),
        ("OUT00", 0),
    ]
    changes = {sample: change.percent for sample, change in session.results[0].changes.items() if change}
    assert changes == {Sample(5): pytest.approx(50), Sample(6): pytest.approx(60)}
    assert (session.done, session.total, session.state) == (8, 8, DONE)
    assert [message.level for message in session.messages] == [INFO]
    assert host.painted == []
    assert sorted(path.name for path in session.files) == ["analysis.csv", "analysis.json", "chart.png"]
    assert session.figures()["grids"] == []


def test_a_quick_scan_stops_before_the_next_cell(host: PaintingHost) -> None:
    host.probe = NoiseOfTwo()
    session = AnalysisSession(host, AnalysisRequest(PROMPT, mode="quick"))
    host.probe.then = session.stop
    ended(session)
    assert len(host.probe.asked) == 1
    assert session.state == STOPPED
    assert messages(session)[-1].startswith("Stopped. A quick scan keeps nothing")
    assert not any(result.changes for result in session.results)
    assert session.folder is not None
    assert not session.folder.exists()


def test_a_change_of_more_than_the_whole_noise_can_be_a_threshold(host: PaintingHost) -> None:
    host.probe = NoiseOfTwo()
    session = analyzed(host, seed=30, mode="quick")
    assert session.results[0].mean == pytest.approx(300)
    session.sort(10, 200)
    assert analyzed(host, seed=30, mode="quick", needed=session.request.needed).suggestion.high == 200


def test_what_a_scan_found_has_the_form_of_an_analysis() -> None:
    (result,) = scan_results([NoiseChange(Choice("IN", ("IN04", "IN08")), (0.5, 0.25))], (Sample(1), Sample(2)))
    assert (result.choice.label, result.percents()) == ("IN", [50.0, 25.0])


# Masks -------------------------------------------------------------------------------------------


def test_a_painted_mask_of_another_size_is_fitted_and_that_is_said(host: PaintingHost) -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[:, :20] = 255
    session = analyzed(host, mask=mask, width=20, height=20)
    inside, outside = (session.results[0].mean_of(figure) for figure in ("inside", "outside"))
    assert (inside, outside) == (10.0, 10.0)  # IN04's are two whole rows of the 20
    assert any("scaled to the pictures' 20x20" in text for text in messages(session))


@pytest.mark.parametrize("painted", [0, 255])
def test_a_mask_of_nothing_or_of_everything_is_refused(host: PaintingHost, painted: int) -> None:
    with pytest.raises(WeightsError, match="the mask"):
        AnalysisSession(host, AnalysisRequest(PROMPT, mask=np.full((20, 20), painted, np.uint8)))
    assert list(host.folder.iterdir()) == []


# Names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "preset"), [("sub/my lora#1", "sub/my lora1"), ("#", "SUGGESTION")])
def test_a_preset_is_named_after_the_lora(host: PaintingHost, name: str, preset: str) -> None:
    session = AnalysisSession(host, AnalysisRequest(f"<lora:{name}:1:lbw=XYZ>"))
    assert session.preset_name == preset
