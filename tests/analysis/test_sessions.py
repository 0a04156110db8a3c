"""The sessions of a server, and the analyses of earlier days that it finds again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lbw.analysis import sessions as module
from lbw.analysis.analysis_session import AnalysisSession
from lbw.analysis.effective_blocks import Sample
from lbw.analysis.plot_session import PlotSession
from lbw.analysis.request import AnalysisRequest, PlotRequest
from lbw.analysis.session import DONE, FAILED, RUNNING, STOPPED, WAITING, WARNING, Message
from lbw.analysis.sessions import Sessions, earlier
from lbw.core import limits
from lbw.core.errors import FileError, HostError, LbwError, TagError, WeightsError
from lbw.ui.page_grid import page_grid

from .session_host import DRAWN, PROMPT, NoiseOfTwo, PaintingHost, until

ASKED = AnalysisRequest(PROMPT, seed=3)
FILES = ["analysis.csv", "analysis.json", "chart.png", "grid.png"]


@pytest.fixture
def host(tmp_path: Path) -> PaintingHost:
    return PaintingHost(tmp_path)


@pytest.fixture
def sessions(host: PaintingHost) -> Sessions:
    return Sessions(host)


def finished(sessions: Sessions, asked: Any = ASKED) -> AnalysisSession:
    session = sessions.start(asked)
    assert session.over.wait(20)
    assert isinstance(session, AnalysisSession)
    return session


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# Sessions that run -------------------------------------------------------------------------------


def test_a_session_runs_and_has_figures(sessions: Sessions) -> None:
    session = sessions.start(ASKED)
    until(lambda: session.state == DONE)
    assert (session.done, session.total) == (4, 4)
    found = sessions.get(session.id)
    assert isinstance(found, AnalysisSession)
    figures = found.figures()
    assert {entry["block"]: entry["mean"] for entry in figures["blocks"]} == {"IN04": 10.0, "IN08": 2.0, "OUT00": 0.5}
    assert figures["ranking"] == ["IN04", "IN08", "OUT00"]


def test_a_stopped_session_keeps_what_is_done_and_the_next_goes_on(host: PaintingHost, sessions: Sessions) -> None:
    host.go.clear()
    session = sessions.start(ASKED)
    waiting = sessions.start(AnalysisRequest("another <lora:demo:1:lbw=XYZ>", seed=3))
    until(lambda: session.state == RUNNING)
    session.stop()
    waiting.stop()
    host.go.set()
    until(lambda: session.state == waiting.state == STOPPED)
    assert host.painted == []
    again = sessions.start(ASKED)
    until(lambda: again.state == DONE)
    assert len(host.painted) == 4


def test_one_session_runs_at_a_time(host: PaintingHost, sessions: Sessions) -> None:
    host.go.clear()
    first, second = sessions.start(ASKED), sessions.start(ASKED)
    until(lambda: first.state == RUNNING)
    assert second.state == WAITING
    host.go.set()
    until(lambda: first.state == second.state == DONE)
    assert len(host.painted) == 4  # the second finds every cell


def test_one_that_waits_stops_at_once_and_never_begins(host: PaintingHost, sessions: Sessions) -> None:
    host.go.clear()
    first, second = sessions.start(ASKED), sessions.start(AnalysisRequest(PROMPT, seed=4))
    until(lambda: first.state == RUNNING)
    second.stop()
    assert second.state == STOPPED
    host.go.set()
    until(lambda: first.state == DONE)
    assert second.over.wait(20)
    assert {cell.seed for cell in host.painted} == {3}
    assert second.messages == [Message("Stopped before anything was rendered.", WARNING)]
    assert second.folder is not None
    assert not second.folder.exists()


def test_only_so_many_wait(host: PaintingHost, sessions: Sessions) -> None:
    host.go.clear()
    running = sessions.start(ASKED)
    until(lambda: running.state == RUNNING)
    waiting = [sessions.start(ASKED) for _ in range(limits.ANALYSES)]
    with pytest.raises(HostError, match=f"{limits.ANALYSES} analyses are already waiting"):
        sessions.start(ASKED)
    waiting[0].stop()
    waiting[0] = sessions.start(ASKED)
    host.go.set()
    until(lambda: all(session.state == DONE for session in (running, *waiting)))


def test_a_request_with_something_wrong_begins_no_session(host: PaintingHost, sessions: Sessions) -> None:
    for wrong, error in (
        (AnalysisRequest("a cat"), TagError),
        (AnalysisRequest(PROMPT, blocks="IN99"), WeightsError),
        (AnalysisRequest(PROMPT, steps=0), WeightsError),
        (PlotRequest(PROMPT, x_type="color"), LbwError),
    ):
        with pytest.raises(error):
            sessions.start(wrong)
        assert sessions.latest is None
        assert list(host.folder.iterdir()) == []


def test_a_plot_is_a_session_too(sessions: Sessions) -> None:
    axes = {"x_type": "values", "x_values": "0,1", "y_type": "Block ID", "y_values": "IN04"}
    session = sessions.start(PlotRequest(PROMPT, seed=3, **axes))
    assert session.over.wait(20)
    assert isinstance(session, PlotSession)
    assert (session.state, [path.name for path in session.files]) == (DONE, ["grid.png", "plot.json"])
    assert session.folder is not None
    assert json.loads((session.folder / "plot.json").read_text())["state"] == DONE
    assert sessions.get(session.id) is session
    assert (sessions.latest, sessions.earlier()) == (None, [])


def test_an_analysis_goes_on_with_the_seed_that_was_drawn(host: PaintingHost, sessions: Sessions) -> None:
    host.stops_after = 2
    asked = AnalysisRequest(PROMPT)
    stopped = finished(sessions, asked)
    assert (stopped.state, stopped.request.seed, stopped.asked.seed) == (STOPPED, DRAWN, -1)
    stopped.sort(1.0, 8.0)  # which changes no picture
    going_on = module.going_on
    assert going_on(AnalysisRequest(PROMPT, needed=8.0, not_needed=1.0), stopped).seed == DRAWN
    assert going_on(AnalysisRequest("another <lora:demo:1:lbw=XYZ>"), stopped).seed == -1
    assert going_on(AnalysisRequest(PROMPT, mode="quick"), stopped).seed == -1
    assert going_on(AnalysisRequest(PROMPT, seed=9), stopped).seed == 9
    host.stops_after = None
    done = finished(sessions, asked)
    assert (done.analysis.rendered, done.analysis.reused, done.asked.seed) == (2, 2, -1)
    assert going_on(asked, done).seed == -1


# Folders -----------------------------------------------------------------------------------------


def test_two_runs_of_one_request_overwrite_nothing(host: PaintingHost, sessions: Sessions) -> None:
    first = finished(sessions)
    assert first.folder is not None
    before = content(first.folder)
    assert sorted(before) == FILES
    second = finished(sessions)
    assert second.folder is not None
    assert content(first.folder) == before
    assert sorted(content(second.folder)) == FILES
    assert first.folder != second.folder
    assert [first.folder.parent, second.folder.parent] == [host.results] * 2


def test_an_id_is_its_folders_name_with_date_lora_and_seed(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.strftime", lambda form: "2026-01-02-030405")
    assert [finished(sessions).id for _ in range(2)] == [
        "2026-01-02-030405-demo-seed3",
        "2026-01-02-030405-demo-seed3-2",
    ]
    sub = finished(sessions, AnalysisRequest("a <lora:../sub/de mo:1:lbw=XYZ>", seed=3))
    assert sub.id == "2026-01-02-030405-_sub_de mo-seed3"
    assert sub.folder is not None
    assert sub.folder.name == sub.id


def test_without_a_folder_of_results_each_has_an_id_and_writes_nothing(host: PaintingHost, sessions: Sessions) -> None:
    host.results = None
    first, second = finished(sessions), finished(sessions)
    assert first.id != second.id
    assert (first.folder, first.files, first.state) == (None, [], DONE)
    assert sessions.earlier() == []
    assert not (host.folder / "out").exists()


def _file_in_its_place(out: Path) -> None:
    out.write_text("a file")


def _file_in_place_of_its_parent(out: Path) -> None:
    out.parent.rmdir()
    out.parent.write_text("a file")


@pytest.mark.parametrize("prevent", [_file_in_its_place, _file_in_place_of_its_parent])
def test_a_folder_that_cannot_be_made_is_told_and_the_figures_come(
    host: PaintingHost, sessions: Sessions, tmp_path: Path, prevent: Callable[[Path], None]
) -> None:
    (tmp_path / "deep").mkdir()
    host.results = tmp_path / "deep" / "results"
    prevent(host.results)
    session = finished(sessions)
    assert (session.state, session.files, session.folder) == (DONE, [], None)
    assert session.figures()["ranking"] == ["IN04", "IN08", "OUT00"]
    (told,) = [str(message) for message in session.messages if "cannot be saved" in str(message)]
    assert str(host.results) in told
    assert sessions.get(session.id) is session


def test_a_disk_that_fills_up_is_told_and_the_figures_come(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        raise FileError(f"{path.name} cannot be written: no space left")

    monkeypatch.setattr("lbw.analysis.report.write_text", full)
    session = finished(sessions)
    assert (session.state, session.figures()["ranking"][0]) == (DONE, "IN04")
    assert "Not saved: analysis.json cannot be written: no space left" in map(str, session.messages)
    assert [path.name for path in session.files] == ["grid.png"]


def test_a_folder_without_files_is_taken_away(host: PaintingHost, sessions: Sessions) -> None:
    host.fails = lambda cell: True
    session = finished(sessions)
    assert (session.state, session.files) == (FAILED, [])
    assert host.results is not None
    assert list(host.results.iterdir()) == []


# Earlier analyses --------------------------------------------------------------------------------


def test_earlier_analyses_are_listed_after_a_restart_the_latest_first(
    host: PaintingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = iter(("2026-01-02-030405", "2026-01-03-030405"))
    monkeypatch.setattr("time.strftime", lambda form: next(days))
    for seed in (3, 4):
        finished(Sessions(host), AnalysisRequest(PROMPT, seed=seed))
    assert [(one.id, one.lora, one.prompt, one.report["state"]) for one in Sessions(host).earlier()] == [
        ("2026-01-03-030405-demo-seed4", "demo", PROMPT, DONE),
        ("2026-01-02-030405-demo-seed3", "demo", PROMPT, DONE),
    ]


def test_of_many_runs_in_one_second_the_last_is_listed_first(
    host: PaintingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.strftime", lambda form: "2026-01-02-030405")
    sessions = Sessions(host)
    made = [finished(sessions).id for _ in range(11)]
    assert made[-2:] == ["2026-01-02-030405-demo-seed3-10", "2026-01-02-030405-demo-seed3-11"]
    monkeypatch.setattr("time.strftime", lambda form: "2026-01-02-030406")
    made.append(finished(sessions).id)
    assert [one.id for one in sessions.earlier()] == made[::-1]


def test_an_earlier_analysis_is_opened_with_its_fields_figures_and_pictures(host: PaintingHost) -> None:
    asked = AnalysisRequest(PROMPT, "dogs", seed=3, seeds=2, threshold=7, region="0,0,50,100", diff_color="white")
    first = finished(Sessions(host), asked)
    first.sort(1.0, 8.0)
    written = json.loads((first.folder / "analysis.json").read_text(encoding="utf-8"))  # type: ignore[operator]
    opened = Sessions(host).get(first.id)
    assert isinstance(opened, AnalysisSession)
    assert opened.over.is_set()
    assert (opened.id, opened.folder, opened.state) == (first.id, first.folder, DONE)
    assert opened.request == first.request
    assert (opened.request.needed, opened.request.threshold, opened.request.region) == (8.0, 7, "0,0,50,100")
    assert opened.figures() == first.figures() == written
    assert sorted(file.name for file in opened.files) == sorted([*FILES, "grid-seed4.png"])
    for sample in first.settings.samples:
        for choice in first.settings.choices:
            for now, then in zip(opened.analysis.pictures(choice, sample), first.analysis.pictures(choice, sample)):
                assert now is not None
                assert then is not None
                assert np.array_equal(now.pictures, then.pictures)
    assert len(host.painted) == 8


def test_one_that_was_stopped_or_had_failures_says_so_when_it_is_opened(host: PaintingHost) -> None:
    host.fails = lambda cell: "IN08=0," in cell.weights
    first = finished(Sessions(host))
    opened = Sessions(host).get(first.id)
    assert isinstance(opened, AnalysisSession)
    assert opened.figures() == first.figures()
    (result,) = [result for result in opened.results if result.errors]
    assert (result.choice.label, result.errors) == ("IN08", {Sample(3): "RuntimeError: out of memory"})
    host.stops_after = len(host.painted) + 2
    stopped = finished(Sessions(host), AnalysisRequest(PROMPT, seed=9))
    again = Sessions(host).get(stopped.id)
    assert again is not None
    assert (stopped.state, again.state) == (STOPPED, STOPPED)


def test_a_quick_scan_is_opened_again(host: PaintingHost) -> None:
    host.probe = NoiseOfTwo()
    first = finished(Sessions(host), AnalysisRequest(PROMPT, seed=4, seeds=2, mode="quick"))
    opened = Sessions(host).get(first.id)
    assert isinstance(opened, AnalysisSession)
    assert opened.figures() == first.figures()
    assert opened.request.is_quick


def test_the_grid_of_one_that_is_opened_has_its_figures(host: PaintingHost) -> None:
    first = finished(Sessions(host))
    opened = Sessions(host).get(first.id)
    assert isinstance(opened, AnalysisSession)
    now, then = (page_grid(session, Sample(3)) for session in (opened, first))
    assert now is not None
    assert then is not None
    assert np.array_equal(np.asarray(now), np.asarray(then))


def test_where_the_cells_are_gone_the_saved_grids_are_shown(host: PaintingHost) -> None:
    first = finished(Sessions(host), AnalysisRequest(PROMPT, seed=3, seeds=2))
    assert first.folder is not None
    shutil.rmtree(host.folder / "cells")
    opened = Sessions(host).get(first.id)
    assert isinstance(opened, AnalysisSession)
    for seed, name in ((3, "grid.png"), (4, "grid-seed4.png")):
        shown = page_grid(opened, Sample(seed))
        assert shown is not None
        with Image.open(first.folder / name) as saved:
            assert np.array_equal(np.asarray(shown), np.asarray(saved.convert("RGB")))


def test_sorted_anew_an_earlier_one_keeps_what_was_said_of_it(host: PaintingHost) -> None:
    first = finished(Sessions(host), ASKED)
    assert first.folder is not None
    path = first.folder / "analysis.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    written["settings"]["model"] = "one that is gone"
    path.write_text(json.dumps(written), encoding="utf-8")
    opened = Sessions(host).get(first.id)
    assert isinstance(opened, AnalysisSession)
    opened.sort(3.0, 20.0)
    after = json.loads(path.read_text(encoding="utf-8"))
    assert after["settings"]["model"] == "one that is gone"
    assert after["suggestion"]["blocks"] == {"IN04": "unknown", "IN08": "not needed", "OUT00": "not needed"}
    assert (after["blocks"], after["state"], after["grids"]) == (written["blocks"], DONE, ["grid.png"])


def test_ended_sessions_are_forgotten_but_found_in_their_folders(
    host: PaintingHost, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    made = [finished(sessions, AnalysisRequest(PROMPT, seed=seed)) for seed in range(4)]
    found = [sessions.get(session.id) for session in made]
    assert [one is session for one, session in zip(found, made)] == [False, True, True, True]  # two beside the new one
    assert [one.figures() for one in found if isinstance(one, AnalysisSession)] == [one.figures() for one in made]


def test_one_that_is_shown_becomes_the_latest(host: PaintingHost, sessions: Sessions) -> None:
    first, second = finished(sessions), finished(sessions)
    assert sessions.latest is second
    assert sessions.show(first) is sessions.latest is first


@pytest.mark.parametrize("key", ["..", ".", "", "../out", "/", "cells", "nowhere", "..\\out", "\0", "a/../b"])
def test_an_id_is_never_a_path(host: PaintingHost, sessions: Sessions, key: str) -> None:
    done = finished(sessions)
    assert done.folder is not None
    shutil.copytree(done.folder, host.folder / "cells", dirs_exist_ok=True)
    shutil.copy(done.folder / "analysis.json", host.folder / "analysis.json")
    assert Sessions(host).get(key) is None


def test_only_folders_of_results_are_found(host: PaintingHost, sessions: Sessions) -> None:
    done = finished(sessions)
    assert Sessions(host).get(done.id) is not None
    assert Sessions(host).get(f"../out/{done.id}") is None
    assert list(earlier(None)) == list(earlier(host.folder / "nowhere")) == []


def test_only_the_report_of_the_analysis_that_is_asked_for_is_read(
    host: PaintingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [finished(Sessions(host), AnalysisRequest(PROMPT, seed=seed)) for seed in (3, 4, 5)]
    read, real = [], module.json.loads
    monkeypatch.setattr(module.json, "loads", lambda *given, **named: (read.append(1), real(*given, **named))[1])
    monkeypatch.setattr(module, "LISTED", 1)
    assert [Sessions(host).get(session.id).id for session in made] == [session.id for session in made]  # type: ignore[union-attr]
    assert len(read) == 3


def _changed(report: dict[str, Any], **changes: Any) -> str:
    return json.dumps({**report, **changes})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda report: "",
        lambda report: "{",
        lambda report: "[" * 100_000,
        lambda report: "[]",
        lambda report: "\ud800".encode("utf-8", "surrogatepass"),
        lambda report: _changed(report, state="running"),
        lambda report: _changed(report, state=["done"]),
        lambda report: _changed(report, settings=[]),
        lambda report: _changed(report, request="all"),
        lambda report: _changed(report, blocks={}),
        lambda report: _changed(report, blocks=[1]),
        lambda report: _changed(report, ranking="IN04"),
        lambda report: _changed(report, ranking=["OUT99"]),
        lambda report: _changed(report, ranking=[["IN04"]]),
        lambda report: _changed(report, grids=3),
        lambda report: json.dumps(report).replace('"mean": 10.0', '"mean": NaN'),
        lambda report: json.dumps({**report, "rendered": float("nan")}),
        lambda report: json.dumps({**report, "rendered": float("inf")}),
        lambda report: json.dumps(report).replace('"mean": 10.0', '"mean": 1' + "0" * 400),
        lambda report: json.dumps(report).replace('"mean": 10.0', '"mean": 1e999'),
    ],
)
def test_what_is_no_report_is_left_out(host: PaintingHost, spoil: Callable[[dict[str, Any]], str | bytes]) -> None:
    good, bad = finished(Sessions(host)), finished(Sessions(host))
    assert bad.folder is not None
    path = bad.folder / "analysis.json"
    text = spoil(json.loads(path.read_text(encoding="utf-8")))
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    again = Sessions(host)
    assert [one.id for one in again.earlier()] == [good.id]
    assert again.get(bad.id) is None


def _blocks(report: dict[str, Any], **changes: Any) -> str:
    return _changed(report, blocks=[{**block, **changes} for block in report["blocks"]])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda report: _blocks(report, percent=[]),
        lambda report: _blocks(report, percent=[1, 2]),
        lambda report: _blocks(report, percent=7),
        lambda report: _blocks(report, percent=["much"]),
        lambda report: _blocks(report, percent=[10**400]),
        lambda report: _blocks(report, percent=[{}]),
        lambda report: _blocks(report, inside=[], outside=[]),
        lambda report: _blocks(report, errors={"seed 77": "no such"}),
        lambda report: _blocks(report, errors=["no table"]),
        lambda report: _changed(report, rendered="many"),
        lambda report: _changed(report, reused=None),
        lambda report: _changed(report, rendered=1).replace('"rendered": 1', '"rendered": 1e999'),
        lambda report: _changed(report, request={**report["request"], "blocks": "IN04"}),
        lambda report: _changed(report, request={**report["request"], "mask": "a mask", "seeds": 2}),
        lambda report: _changed(report, blocks=[{**report["blocks"][0], "block": "IN99", "mean": 1}], ranking=["IN99"]),
    ],
)
def test_a_report_that_contradicts_itself_is_told(host: PaintingHost, spoil: Callable[[dict[str, Any]], str]) -> None:
    done = finished(Sessions(host))
    assert done.folder is not None
    path = done.folder / "analysis.json"
    path.write_text(spoil(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    with pytest.raises(FileError, match=r"analysis\.json is not valid"):
        Sessions(host).get(done.id)


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"seeds": 10**9}, "number of seed"), ({"range": "wide"}, "Range"), ({"prompt": "a cat"}, "lbw=XYZ")],
)
def test_a_request_that_cannot_be_is_told(host: PaintingHost, changes: dict[str, Any], named: str) -> None:
    done = finished(Sessions(host))
    assert done.folder is not None
    path = done.folder / "analysis.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(_changed(report, request={**report["request"], **changes}), encoding="utf-8")
    with pytest.raises(LbwError, match=named):
        Sessions(host).get(done.id)


def test_a_mask_or_a_grid_that_a_report_names_is_never_looked_for_elsewhere(host: PaintingHost, tmp_path: Path) -> None:
    done = finished(Sessions(host))
    assert done.folder is not None
    path = done.folder / "analysis.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    grids = ["../../secret.png", str(tmp_path / "secret.png"), "..", ""]
    path.write_text(_changed(report, request={**report["request"], "mask": "a mask"}, grids=grids), encoding="utf-8")
    opened = Sessions(host).get(done.id)
    assert isinstance(opened, AnalysisSession)
    assert opened.request.mask is None
    assert [file.name for file in opened.files] == ["analysis.json", "analysis.csv", "chart.png"]


def test_a_report_of_gigabytes_is_not_read(host: PaintingHost, monkeypatch: pytest.MonkeyPatch) -> None:
    done = finished(Sessions(host))
    monkeypatch.setattr(module, "_LARGEST", 100)
    assert done.folder is not None
    assert Sessions(host).earlier() == []
