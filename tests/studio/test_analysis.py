"""The analyzer on the bundled model: it finds what was planted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers")

from lbw.analysis.effective_blocks import difference, percent_changed, weights_without
from lbw.studio.cli import main

DEMO = Path(__file__).resolve().parents[2] / "demo"


def test_the_percentage_is_the_share_of_colour_values_over_the_threshold() -> None:
    source = np.zeros((2, 2, 3), np.uint8)
    changed = source.copy()
    changed[0, 0] = (20, 21, 255)
    assert percent_changed(source, changed, 20) == pytest.approx(100 * 2 / 12)
    assert difference(changed, source).tolist()[0][0] == [20, 21, 255]
    assert weights_without("IN04", (0.5, 1.0)) == "1,IN04=0.5"


def test_the_planted_blocks_come_first_in_their_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["demo", "--seeds", "2", "--blocks", ["auto", "12ALL"][1], "-o", str(tmp_path)])
    report = json.loads((tmp_path / "planted-blocks.json").read_text(encoding="utf-8"))
    planted = json.loads((DEMO / "planted.json").read_text(encoding="utf-8"))["blocks"]
    assert status == 0
    assert report["ranking"][:3] == planted
    means = {entry["block"]: entry["mean"] for entry in report["blocks"]}
    assert means[planted[2]] > 1
    assert all(means[block] == 0 for block in report["ranking"][3:])
    assert planted[0] in capsys.readouterr().out
    assert (tmp_path / "planted-blocks.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--blocks", "IN99"], "IN99"),
        (["--blocks", "61ALL"], "61ALL"),
        (["--range", "1"], "--range 1"),
        (["--threshold", "300"], "300"),
        (["--seeds", "0"], "--seeds 0"),
        (["--lora", "nowhere"], "nowhere"),
        (["--size", "63x64"], "63x64"),
        (["--steps", "0"], "--steps 0"),
        (["--model", "/nowhere/at/all"], "/nowhere/at/all"),
    ],
)
def test_bad_input_ends_in_one_line_that_names_it(
    arguments: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", *arguments, "-o", str(tmp_path)]) == 2
    error = capsys.readouterr().err.strip()
    assert named in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_prompt_needs_one_xyz(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", "a <lora:style:1>", "-o", str(tmp_path)]) == 2
    assert "lbw=XYZ" in capsys.readouterr().err
    assert main(["analyze", "a <lora:style:1:lbw=XYZ><lora:subject:1:XYZ>", "-o", str(tmp_path)]) == 2
    assert "2 tags" in capsys.readouterr().err
