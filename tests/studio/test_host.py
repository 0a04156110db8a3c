"""The standalone host as sessions and the tuner see it, with the bundled model."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lbw.analysis.analysis_session import AnalysisSession
from lbw.analysis.request import AnalysisRequest
from lbw.analysis.session import DONE, INFO, STOPPED
from lbw.analysis.tuner_round import round_pictures
from lbw.analysis.tuner_start import start
from lbw.core.architectures import ARCHITECTURES
from lbw.core.errors import LbwError, WeightsError

FLUX = ARCHITECTURES["flux"]


@pytest.fixture
def analyzer(maker, tmp_path: Path):  # type: ignore[no-untyped-def]
    pytest.importorskip("gradio")
    from lbw.studio.host import StudioHost

    return StudioHost(lambda: maker, True, tmp_path / "out", tmp_path / "cells", "a red star")


def request_of(analyzer: Any, **changes: Any) -> AnalysisRequest:
    prompt = "a large red star <lora:planted:1:lbw=XYZ>"
    first = AnalysisRequest(**vars(analyzer.defaults()))
    return replace(first, **{"prompt": prompt, "steps": 2, "blocks": "IN05,OUT04", **changes})


def ended(session: AnalysisSession) -> AnalysisSession:
    session.start(threading.Lock())
    assert session.over.wait(120)
    return session


def test_the_fields_begin_with_an_example_and_what_the_model_is_made_for(analyzer: Any) -> None:
    first = analyzer.defaults()
    assert first.prompt == "a red star <lora:planted:1:lbw=XYZ>"
    assert (first.seed, first.width, first.height, first.steps, first.cfg_scale) == (1, 64, 64, 20, 5.0)


def test_an_analysis_is_rendered_and_the_same_request_renders_nothing_more(analyzer: Any, tmp_path: Path) -> None:
    shown: list[tuple[int, int]] = []
    for rendered, reused in ((3, 0), (0, 3)):
        session = AnalysisSession(analyzer, request_of(analyzer))
        session.progress = lambda done, total, left: shown.append((done, total))
        ended(session)
        assert [result.errors for result in session.results] == [{}, {}]
        assert (session.state, session.analysis.rendered, session.analysis.reused) == (DONE, rendered, reused)
        assert session.lora == "planted"
        assert session.folder == tmp_path / "out" / session.id
        assert sorted(path.name for path in session.folder.iterdir()) == [
            "analysis.csv", "analysis.json", "chart.png", "grid.png",
        ]  # fmt: skip
    assert (3, 3) in shown


def test_it_stops_before_the_next_picture(analyzer: Any) -> None:
    session = AnalysisSession(analyzer, request_of(analyzer))
    session.progress = lambda done, total, left: session.stop()
    ended(session)
    assert (session.state, session.done) == (STOPPED, 0)


def test_it_stops_in_the_middle_of_a_picture_and_pictures_of_others_go_on(analyzer: Any) -> None:
    asked = []

    def stopped() -> bool:
        asked.append(1)
        return len(asked) > 3

    wanted = request_of(analyzer, steps=1000)
    session = AnalysisSession(analyzer, wanted)
    made = analyzer.prepare(session.request, session.loras, lambda done, total, left: None, stopped)
    assert list(session.analysis.run(made.renderer)) == []
    assert len(asked) == 4  # before the picture, and at three of its steps
    assert session.analysis.rendered == 0
    again = AnalysisSession(analyzer, request_of(analyzer))
    assert again.prepared.renderer.render(again.analysis.cells[0]).pictures.shape[0] == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"steps": 1_000_000_000}, "Steps .* from 1 to 1000"),
        ({"width": 1_000_000_000}, "Width .* from 8 to 8192"),
        ({"height": 1_000_000_000}, "Height .* from 8 to 8192"),
        ({"seeds": 1_000_000_000}, "number of seed .* from 1 to 1000"),
        ({"seed": 10**20}, "Seed .* from -1 to"),
        ({"cfg_scale": float("nan")}, 'CFG scale "nan" is not a number'),
        ({"cfg_scale": 1e300}, "CFG scale 1e[+]300 is out of range"),
        ({"range": "wide"}, 'Range "wide"'),
        ({"width": 65}, "Width 65 is not a multiple of 8"),
        ({"mask": np.full((64, 64), 255, np.uint8)}, "covers the whole picture"),
        ({"prompt": "<lora:none:1:lbw=XYZ>"}, '"none"'),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_rendered(
    analyzer: Any, tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    with pytest.raises(LbwError, match=expected):
        AnalysisSession(analyzer, request_of(analyzer, **changes))
    assert list(tmp_path.iterdir()) == []


def test_a_quick_scan_ranks_the_blocks(analyzer: Any) -> None:
    session = ended(AnalysisSession(analyzer, request_of(analyzer, mode="quick")))
    assert (session.state, [message.level for message in session.messages]) == (DONE, [INFO])
    assert {result.choice.label for result in session.results} == {"IN05", "OUT04"}
    first, second = session.results
    assert first.mean > second.mean > 0  # type: ignore[operator]


def test_a_random_seed_is_drawn_where_minus_one_is_asked(analyzer: Any) -> None:
    session = AnalysisSession(analyzer, request_of(analyzer, seed=-1, seeds=2))
    first, second = session.settings.seeds
    assert first >= 0
    assert second == first + 1
    assert (session.asked.seed, session.request.seed) == (-1, first)


def test_a_round_of_the_tuner_uses_the_pictures_of_the_analysis_again(
    analyzer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lbw.studio.cells import StandaloneCells

    session = ended(AnalysisSession(analyzer, request_of(analyzer)))
    assert session.analysis.rendered == 3
    source = session.analysis.sources[session.settings.samples[0]]
    rendered = []
    render = StandaloneCells.render

    def rendering(self, cell):  # type: ignore[no-untyped-def]
        rendered.append(cell)
        return render(self, cell)

    monkeypatch.setattr(StandaloneCells, "render", rendering)
    new = source.with_entry(("OUT04",), "0.5")
    asked = replace(analyzer.defaults(), prompt=session.request.prompt, steps=2, seed=session.request.seed)
    pictures = dict(round_pictures(analyzer, [source, new], asked))
    assert rendered == [new]
    kept = session.analysis.store.load(source)
    assert kept is not None
    assert np.array_equal(pictures[source], kept.pictures[0])
    assert pictures[new].shape == (asked.height, asked.width, 3)


def test_a_round_for_another_model_is_refused(analyzer: Any) -> None:
    assert analyzer.loaded() is analyzer.fresh().host.architecture
    cell = start(FLUX).cell
    with pytest.raises(WeightsError, match="choose it in Weights type"):
        list(round_pictures(analyzer, [cell], request_of(analyzer)))
