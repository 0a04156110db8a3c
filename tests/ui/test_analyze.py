"""The parts of the panel Analyze that need no page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gradio")

from lbw.ui.analyze_run import Run, going_on, preset_name, reduced, scan_results
from lbw.ui.analyzer_host import Prepared, Question

from lbw.analysis.cells import Cell, Choice
from lbw.analysis.effective_blocks import Analysis, BlockResult, Settings
from lbw.analysis.noise_scan import NoiseChange
from lbw.analysis.store import CellStore
from lbw.core.architectures import ARCHITECTURES, by_name
from lbw.core.errors import WeightsError
from lbw.core.family import Architecture
from lbw.ui.analyze_views import (
    block_view,
    progress_view,
    prompt_with,
    results_view,
    tag_with,
    time_words,
)
from lbw.ui.markup import GUESS, plain
from tests.analysis.doubles import Painter, same_areas, weights_of

SDXL = ARCHITECTURES["sdxl"]

HOSTILE = "<img src=x onerror=alert(1)>"
TENSORS = {"IN04": 1, "IN08": 1, "OUT00": 1}


class Probe:
    """Noise of size 2 with the whole LoRA; IN04 adds a tenth of it for each unit of the seed."""

    def __init__(self) -> None:
        self.asked: list[Cell] = []
        self.run: Run | None = None

    def noise(self, cell: Cell) -> np.ndarray:
        self.asked.append(cell)
        if self.run is not None:
            self.run.stop()
        return np.array([2.0, 0.2 * cell.seed * (1 - weights_of(cell)["IN04"])], np.float32)


class Host:
    def __init__(self, folder: Path, painter: Painter, architecture: Architecture = SDXL) -> None:
        self.folder = folder
        self.painter = painter
        self.architecture = architecture
        self.probe = Probe()

    def prepare(self, question: Question, show: Any, stopped: Any) -> Prepared:
        if question.blocks == "QQ":
            raise WeightsError("no such block")
        choices = tuple(Choice(block, (block,)) for block in TENSORS if block in self.architecture.blocks)
        seed = 5 if question.seed == -1 else question.seed
        seeds = tuple(range(seed, seed + int(question.seeds)))
        analysis = Analysis(Settings(choices, seeds), self.architecture, TENSORS, CellStore(self.folder / "cells", {}))
        stem = self.folder / "out" / "x"
        return Prepared(analysis, self.painter, self.probe, "one:two", f"seed {seed}", stem, ("a remark",))


@pytest.fixture
def painter() -> Painter:
    return Painter(same_areas(IN04=40, IN08=8, OUT00=2))


def finished(run: Run) -> Run:
    run.start()
    assert run.over.wait(20)
    return run


def test_a_run_writes_its_figures_and_pictures(tmp_path: Path, painter: Painter) -> None:
    run = finished(Run(Host(tmp_path, painter), Question("a prompt")))  # type: ignore[arg-type]
    assert run.is_complete
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["x-chart.png", "x.csv", "x.json", "x.png"]
    assert run.suggestion.verdicts == {"IN04": "needed", "IN08": "unknown", "OUT00": "not needed"}
    assert run.said == [("a remark", "remark"), (("Done:", 4, "pictures rendered,", 0, "kept from before."), "good")]
    assert run.grid(5) is not None


def test_what_a_host_raises_is_said(tmp_path: Path, painter: Painter) -> None:
    run = finished(Run(Host(tmp_path, painter), Question("", blocks="QQ")))  # type: ignore[arg-type]
    assert run.said == [("no such block", "bad")]
    painter.fails = lambda cell: True
    run = finished(Run(Host(tmp_path, painter), Question("")))  # type: ignore[arg-type]
    words = [plain(text) for text, _ in run.said]
    assert "Done: 0 pictures rendered, 0 kept from before, 4 failed." in words
    assert "IN04, IN08, OUT00: RuntimeError: out of memory" in words


def test_that_the_blocks_are_a_guess_is_said_before_all_else(tmp_path: Path, painter: Painter) -> None:
    run = finished(Run(Host(tmp_path, painter, by_name("unknown:B24")), Question("x")))
    assert [plain(text) for text, _ in run.said][:2] == [GUESS, "a remark"]
    assert GUESS not in [plain(text) for text, _ in finished(Run(Host(tmp_path, painter), Question("x"))).said]


def test_a_stopped_run_with_a_random_seed_goes_on_with_that_seed(tmp_path: Path, painter: Painter) -> None:
    painter.stops_after = 2
    host: Any = Host(tmp_path, painter)
    before = finished(Run(host, Question("a prompt")))
    assert plain(before.said[-1][0]).endswith("2 missing. Press Analyze to go on.")
    assert going_on(Question("a prompt"), False, before).seed == 5
    assert going_on(Question("another"), False, before).seed == -1
    assert going_on(Question("a prompt"), True, before).seed == -1
    painter.stops_after = None
    after = finished(Run(host, going_on(Question("a prompt"), False, before)))
    assert after.is_complete
    assert going_on(Question("a prompt"), False, after).seed == -1


def test_a_quick_scan_is_percent_of_the_noise(tmp_path: Path, painter: Painter) -> None:
    run = finished(Run(Host(tmp_path, painter), Question("", seeds="2"), is_quick=True))  # type: ignore[arg-type]
    assert [(result.choice.label, result.mean) for result in run.results] == [
        ("IN04", pytest.approx(55)),
        ("IN08", 0),
        ("OUT00", 0),
    ]
    assert {seed: change.percent for seed, change in run.results[0].changes.items() if change} == {
        5: pytest.approx(50),
        6: pytest.approx(60),
    }
    assert (run.done, run.total, run.said[-1][1]) == (8, 8, "good")
    assert painter.painted == []
    assert "renders no pictures" in block_view(run, "IN04", 5)


def test_a_quick_scan_stops_before_the_next_cell(tmp_path: Path, painter: Painter) -> None:
    host: Any = Host(tmp_path, painter)
    run = host.probe.run = Run(host, Question(""), is_quick=True)
    finished(run)
    assert len(host.probe.asked) == 1
    assert run.said[-1][0].startswith("Stopped. A quick scan keeps nothing")
    assert run.results == []


def test_names_are_escaped_in_the_views() -> None:
    results = scan_results([NoiseChange(Choice(HOSTILE, (HOSTILE,)), (0.5,))], (1,))
    run = Run(None, Question(""), is_quick=True, results=results)  # type: ignore[arg-type]
    assert "<img" not in results_view(run)
    assert "&lt;img" in results_view(run)


def test_the_progress_says_what_is_done_and_how_long_it_takes() -> None:
    run = Run(None, Question(""), done=3, total=12, left=90.0, told=time.monotonic())  # type: ignore[arg-type]
    assert 'aria-valuetext="3 / 12 pictures · time left: 1 min 30 s"' in progress_view(run)
    assert "<span>12</span> <span>pictures</span> <span>·</span> <span>time left:</span>" in progress_view(run)
    run.stop()
    assert "stopping after this picture" in progress_view(run)
    quick = Run(None, Question(""), is_quick=True, done=3, total=12)  # type: ignore[arg-type]
    quick.stop()
    assert 'aria-valuetext="3 / 12 steps · stopping after this step"' in progress_view(quick)
    assert [time_words(seconds) for seconds in (4.4, 60, 3720)] == ["4 s", "1 min 0 s", "1 h 2 min"]


def test_a_chosen_lora_takes_the_place_of_the_one_looked_at() -> None:
    assert prompt_with("", "new") == "<lora:new:1:lbw=XYZ>"
    assert prompt_with("a cat <lora:other:1>", "new") == "a cat <lora:other:1> <lora:new:1:lbw=XYZ>"
    assert prompt_with("<lora:old:0.5:lbw=XYZ>, a cat", "new") == "<lora:new:1:lbw=XYZ>, a cat"


def test_the_tag_keeps_all_but_its_weights() -> None:
    assert tag_with("a <lora:XYZ:0.5:lbw=XYZ:start=3>", "0,IN04=1") == "<lora:XYZ:0.5:lbw=0,IN04=1:start=3>"
    assert tag_with("a <lora:n:0.5:XYZ>", "0") == "<lora:n:0.5:0>"
    assert tag_with("a cat", "0") == ""


def test_pictures_are_reduced_to_a_side_and_never_enlarged() -> None:
    assert reduced(np.zeros((2, 512, 256, 3), np.uint8), 128).shape == (2, 128, 64, 3)
    assert reduced(np.zeros((1, 20, 20, 3), np.uint8), 128).shape == (1, 20, 20, 3)


def test_a_preset_is_named_after_the_lora() -> None:
    assert preset_name("sub/my:lora#1") == "sub/mylora1"
    assert preset_name("<>") == "SUGGESTION"


def test_a_block_that_is_not_there_shows_nothing() -> None:
    run = Run(None, Question(""), results=[BlockResult(Choice("IN04", ("IN04",)))])  # type: ignore[arg-type]
    assert block_view(run, "OUT99", 1) == ""
