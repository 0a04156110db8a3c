"""The parts of the panel Analyze that need no page."""

from __future__ import annotations

import re
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

pytest.importorskip("gradio")

import gradio as gr

from lbw.analysis.analysis_session import AnalysisSession, scan_results
from lbw.analysis.cells import Choice
from lbw.analysis.effective_blocks import Sample
from lbw.analysis.noise_scan import NoiseChange
from lbw.analysis.request import AnalysisRequest, PictureRequest
from lbw.analysis.session import ERROR, RUNNING, WARNING, Message
from lbw.ui.analyze_controls import MODES, AnalyzeControls
from lbw.ui.analyze_views import (
    block_view,
    messages_view,
    progress_view,
    prompt_with,
    results_view,
    tag_with,
    time_words,
)
from lbw.ui.picture_fields import PictureFields
from tests.analysis.session_host import PROMPT, NoiseOfTwo, PaintingHost, ended, until

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def host(tmp_path: Path) -> PaintingHost:
    return PaintingHost(tmp_path)


def analyzed(host: Any, **options: Any) -> AnalysisSession:
    session = ended(waiting(host, **options))
    assert isinstance(session, AnalysisSession)
    return session


def waiting(host: Any, **options: Any) -> AnalysisSession:
    return AnalysisSession(host, AnalysisRequest(**{"prompt": PROMPT, "seed": 5, **options}))


def test_messages_are_shown_as_grave_as_they_are() -> None:
    messages = [Message("Fine."), Message(f"Not {HOSTILE}", WARNING), Message("Bad.", ERROR)]
    shown = messages_view(messages)
    kinds = re.findall(r'lbw-message lbw-(\w+)" role="(\w+)"', shown)
    assert kinds == [("good", "status"), ("remark", "status"), ("bad", "alert")]
    assert ">Not &lt;img" in shown
    assert "<img" not in shown


def test_a_quick_scan_shows_that_it_has_no_pictures(host: PaintingHost) -> None:
    host.probe = NoiseOfTwo()
    assert "renders no pictures" in block_view(analyzed(host, mode="quick"), "IN04", Sample(5))


def test_one_block_is_shown_with_its_pictures_and_its_figure(host: PaintingHost) -> None:
    view = block_view(analyzed(host), "IN04", Sample(5))
    assert view.count("<figure") == 5  # four pictures, and two that are compared
    assert ">seed 5</span>" in view
    assert ">changed: 10.000 %</span>" in view


def test_a_block_whose_picture_failed_says_why(host: PaintingHost) -> None:
    host.fails = lambda cell: "IN08=0," in cell.weights
    view = block_view(analyzed(host), "IN08", Sample(5))
    assert ">IN08: RuntimeError: out of memory</span>" in view


def test_blocks_that_were_not_measured_are_told_apart_from_those_that_are_not_needed(host: PaintingHost) -> None:
    host.fails = lambda cell: "IN08=0," in cell.weights
    session = analyzed(host, blocks="IN04,IN08")
    view = results_view(session)
    assert re.findall(r'lbw-verdict lbw-([\w-]+)"', view) == ["needed", "not-measured"]
    assert '– <span class="lbw-text">not measured</span>' in view
    assert ">Not measured, so they stay at 1: IN08 OUT00</span>" in view
    assert session.figures()["suggestion"]["blocks"] == {"IN04": "needed", "IN08": "not measured"}


@pytest.mark.parametrize(("seeds", "deviation"), [(1, "–"), (2, "0.000")])
def test_a_deviation_is_shown_where_there_are_several_sources(host: PaintingHost, seeds: int, deviation: str) -> None:
    view = results_view(analyzed(host, blocks="IN04", seeds=seeds))
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", view)
    assert cells == ["1", deviation]


def test_names_are_escaped_in_the_views(host: PaintingHost) -> None:
    session = waiting(host)
    session.analysis.results = scan_results([NoiseChange(Choice(HOSTILE, (HOSTILE,)), (0.5,))], (Sample(5),))
    assert "<img" not in results_view(session)
    assert "&lt;img" in results_view(session)


def test_the_progress_says_what_is_done_and_how_long_it_takes(host: PaintingHost) -> None:
    host.go.clear()
    session = waiting(host)
    session.start(Lock())
    until(lambda: session.state == RUNNING and session.seconds_left is None)
    session.done, session.total = 3, 12
    session._show(3, 12, 90.0)
    assert 'aria-valuetext="3 / 12 pictures · time left: 1 min 30 s"' in progress_view(session)
    assert ">3 / 12 pictures</span>" in progress_view(session)
    session.stop()
    assert "stopping after this picture" in progress_view(session)
    host.go.set()
    assert session.over.wait(20)
    assert 'aria-valuetext="3 / 12 pictures · stopped"' in progress_view(session)
    assert [time_words(seconds) for seconds in (4.4, 60, 3720)] == ["4 s", "1 min 0 s", "1 h 2 min"]


def test_the_progress_of_a_quick_scan_counts_steps(host: PaintingHost) -> None:
    seen = []

    def look() -> None:
        seen.append(progress_view(session))
        session.stop()
        seen.append(progress_view(session))

    host.probe = NoiseOfTwo()
    host.probe.then = look
    session = waiting(host, mode="quick")
    ended(session)
    assert 'aria-valuetext="0 / 4 steps"' in seen[0]
    assert 'aria-valuetext="0 / 4 steps · stopping after this step"' in seen[1]


def test_one_that_waits_says_so_and_nothing_has_no_progress(host: PaintingHost) -> None:
    assert "Waiting for another analysis to finish" in progress_view(waiting(host))
    assert progress_view(None) == ""


def test_a_chosen_lora_takes_the_place_of_the_one_looked_at() -> None:
    assert prompt_with("", "new") == "<lora:new:1:lbw=XYZ>"
    assert prompt_with("a cat <lora:other:1>", "new") == "a cat <lora:other:1> <lora:new:1:lbw=XYZ>"
    assert prompt_with("<lora:old:0.5:lbw=XYZ>, a cat", "new") == "<lora:new:1:lbw=XYZ>, a cat"


def test_the_tag_keeps_all_but_its_weights() -> None:
    assert tag_with("a <lora:XYZ:0.5:lbw=XYZ:start=3>", "0,IN04=1") == "<lora:XYZ:0.5:lbw=0,IN04=1:start=3>"
    assert tag_with("a <lora:n:0.5:XYZ>", "0") == "<lora:n:0.5:0>"
    assert tag_with("a cat", "0") == ""


def test_a_block_that_is_not_there_shows_nothing(host: PaintingHost) -> None:
    assert block_view(analyzed(host), "OUT99", Sample(5)) == ""


def test_the_fields_of_the_page_are_labelled_as_their_options_are(host: PaintingHost) -> None:
    host.defaults, host.samplers = lambda: PictureRequest(PROMPT), lambda: ["Euler"]  # type: ignore[attr-defined]
    with gr.Blocks():
        controls = AnalyzeControls(host)  # type: ignore[arg-type]
        picture = PictureFields(host)  # type: ignore[arg-type]
    options = AnalysisRequest.options()
    for fields in (controls.fields, picture.fields):
        assert {name: control.label for name, control in fields.items()} == {n: options[n].label for n in fields}
    assert controls.low.label == options["not_needed"].label
    assert controls.high.label == options["needed"].label
    first = AnalysisRequest(**vars(host.defaults()))
    for name, control in controls.fields.items():
        if name not in ("mode", "sampler_name"):
            assert AnalysisRequest.read({name: control.value}) == AnalysisRequest.read({name: getattr(first, name)})
    assert MODES[controls.mode.value] == first.mode
    assert set(options) - set(controls.fields) == {"needed", "not_needed", "at", "fresh"}
