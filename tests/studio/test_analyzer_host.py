"""The studio's side of the panel Analyze, with the bundled model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lbw.ui.analyze_run import Run

from lbw.analysis.tuner_start import start
from lbw.core.architectures import ARCHITECTURES
from lbw.core.errors import LbwError, WeightsError

FLUX = ARCHITECTURES["flux"]


@pytest.fixture
def analyzer(maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    pytest.importorskip("gradio")
    from lbw.studio import analyzer_host

    monkeypatch.setattr(analyzer_host, "CELLS", tmp_path / "cells")
    return analyzer_host.StudioAnalyzerHost(lambda: maker, True, "a red star", tmp_path / "out")


def question(analyzer, **changes):  # type: ignore[no-untyped-def]
    prompt = "a large red star <lora:planted:1:lbw=XYZ>"
    return replace(analyzer.defaults(), prompt=prompt, steps=2, blocks="IN05,OUT04", **changes)


def test_an_analysis_is_rendered_and_the_same_question_renders_nothing_more(analyzer) -> None:  # type: ignore[no-untyped-def]
    shown: list[tuple[int, int]] = []
    for rendered, reused in ((3, 0), (0, 3)):
        made = analyzer.prepare(
            question(analyzer), lambda done, total, left: shown.append((done, total)), lambda: False
        )
        outcomes = list(made.analysis.run(made.renderer))
        assert [outcome.error for outcome in outcomes] == ["", "", ""]
        assert (made.analysis.rendered, made.analysis.reused) == (rendered, reused)
    assert (3, 3) in shown
    assert made.lora == "planted"
    assert made.stem.name == "planted-blocks"


def test_it_stops_before_the_next_picture(analyzer) -> None:  # type: ignore[no-untyped-def]
    made = analyzer.prepare(question(analyzer), lambda *_: None, lambda: True)
    assert list(made.analysis.run(made.renderer)) == []


def test_it_stops_in_the_middle_of_a_picture_and_pictures_of_others_go_on(analyzer) -> None:  # type: ignore[no-untyped-def]
    asked = []

    def stopped() -> bool:
        asked.append(1)
        return len(asked) > 3

    made = analyzer.prepare(replace(question(analyzer), steps=1000), lambda done, total, left: None, stopped)
    assert list(made.analysis.run(made.renderer)) == []
    assert len(asked) == 4  # before the picture, and at three of its steps
    assert made.analysis.rendered == 0
    again = analyzer.prepare(question(analyzer), lambda done, total, left: None, lambda: False)
    assert again.renderer.render(again.analysis.cells[0]).pictures.shape[0] == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": 1_000_000_000}, "steps .* from 1 to 1000"),
        ({"width": 1_000_000_000}, "width .* from 8 to 8192"),
        ({"height": 1_000_000_000}, "height .* from 8 to 8192"),
        ({"seeds": "1000000000"}, "number of seed .* from 1 to 1000"),
        ({"seed": 10**20}, "seed .* from -1 to"),
        ({"cfg": float("nan")}, "CFG scale nan is out of range"),
    ],
)
def test_a_picture_that_would_take_for_ever_is_refused(analyzer, changes, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(LbwError, match=said):
        analyzer.prepare(replace(question(analyzer), **changes), lambda done, total, left: None, lambda: False)


def test_a_quick_scan_ranks_the_blocks(analyzer) -> None:  # type: ignore[no-untyped-def]
    run = Run(analyzer, question(analyzer), is_quick=True)
    run.start()
    assert run.over.wait(60)
    assert run.said[-1][1] == "good"
    assert {result.choice.label for result in run.results} == {"IN05", "OUT04"}
    first, second = run.results
    assert first.mean > second.mean > 0  # type: ignore[operator]


def test_what_is_wrong_is_told_before_anything_is_rendered(analyzer) -> None:  # type: ignore[no-untyped-def]
    for changes, words in (
        ({"span": "wide"}, 'Range "wide"'),
        ({"width": 65}, "Width 65 is no multiple of 8"),
        ({"mask": np.full((64, 64), 255, np.uint8)}, "covers the whole picture"),
    ):
        with pytest.raises(WeightsError, match=words):
            analyzer.prepare(replace(question(analyzer), **changes), lambda *_: None, lambda: False)
    with pytest.raises(LbwError):
        analyzer.prepare(replace(question(analyzer), prompt="<lora:none:1:lbw=XYZ>"), lambda *_: None, lambda: False)


def test_a_random_seed_is_drawn_where_minus_one_is_asked(analyzer) -> None:  # type: ignore[no-untyped-def]
    made = analyzer.prepare(question(analyzer, seed=-1, seeds="2"), lambda *_: None, lambda: False)
    first, second = made.analysis.settings.seeds
    assert first >= 0
    assert second == first + 1


def test_a_round_of_the_tuner_uses_the_pictures_of_the_analysis_again(analyzer, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from lbw.studio import analyze

    asked = question(analyzer)
    made = analyzer.prepare(asked, lambda *_: None, lambda: False)
    assert len(list(made.analysis.run(made.renderer))) == 3
    seed = made.analysis.settings.seeds[0]
    source = made.analysis.sources[seed]
    rendered = []
    render = analyze.CellRenderer.render

    def rendering(self, cell):  # type: ignore[no-untyped-def]
        rendered.append(cell)
        return render(self, cell)

    monkeypatch.setattr(analyze.CellRenderer, "render", rendering)
    new = source.with_entry(("OUT04",), "0.5")
    pictures = dict(analyzer.rounds([source, new], replace(asked, seed=seed)))
    assert rendered == [new]
    kept = made.analysis.store.load(source)
    assert kept is not None
    assert np.array_equal(pictures[source], kept.pictures[0])
    assert pictures[new].shape == (asked.height, asked.width, 3)


def test_a_round_for_another_model_is_refused(analyzer) -> None:  # type: ignore[no-untyped-def]
    assert analyzer.loaded() is analyzer.fresh().host.architecture
    cell = start(FLUX).cell
    with pytest.raises(WeightsError, match="choose it at Weights type"):
        list(analyzer.rounds([cell], question(analyzer)))
