"""The analyzer on the bundled model: it finds what was planted, and goes on where it was stopped."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("diffusers")

from lbw.studio.cells import StandaloneCells
from lbw.studio.cli import main

DEMO = Path(__file__).resolve().parents[2] / "demo"
FEW = ["--steps", "2"]


def runs(folder: Path) -> list[Path]:
    """Return the folders of the runs, in their order."""
    return sorted((path for path in folder.iterdir() if path.name != "cells"), key=lambda path: path.stat().st_mtime_ns)


def report(folder: Path, name: str = "analysis") -> dict[str, Any]:
    """Return what the latest run has written."""
    found: dict[str, Any] = json.loads((runs(folder)[-1] / f"{name}.json").read_text(encoding="utf-8"))
    return found


def test_the_planted_blocks_come_first_in_their_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["demo", "--seeds", "2", "--blocks", "12ALL", "-o", str(tmp_path)])
    figures = report(tmp_path)
    planted = json.loads((DEMO / "planted.json").read_text(encoding="utf-8"))["blocks"]
    assert status == 0
    assert figures["ranking"][:3] == planted
    by_block = {entry["block"]: entry for entry in figures["blocks"]}
    assert len(by_block) == 12
    assert by_block[planted[2]]["mean"] > 0.3
    assert all(by_block[block]["percent"] == [0.0, 0.0] for block in figures["ranking"][3:])
    assert figures["rendered"] == 2 * (3 + 1)
    entry = by_block[planted[0]]
    assert entry["mean"] == pytest.approx(sum(entry["percent"]) / 2)
    assert entry["std"] == pytest.approx(abs(entry["percent"][0] - entry["percent"][1]) / 2)
    out = capsys.readouterr().out
    assert planted[0] in out
    assert "8 pictures rendered, 0 reused" in out
    (folder,) = runs(tmp_path)
    assert folder.name.endswith("-planted-seed1")
    names = ["analysis.csv", "analysis.json", "chart.png", "grid-seed2.png", "grid.png"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert all(str(folder / name) in out for name in names)
    rows = list(csv.DictReader((folder / "analysis.csv").open(encoding="utf-8")))
    assert [row["block"] for row in sorted(rows, key=lambda row: int(row["rank"]))][:3] == planted
    with Image.open(folder / figures["grid"]) as grid:
        assert "lbw=XYZ" in grid.info["parameters"]
        assert "LBW: " in grid.info["parameters"]


def test_the_percentage_is_of_the_kept_pictures(tmp_path: Path) -> None:
    main(["demo", *FEW, "--blocks", "OUT04", "--threshold", "7", "-o", str(tmp_path)])
    pictures = [np.asarray(Image.open(p).convert("RGB")).astype(int) for p in (tmp_path / "cells").rglob("*.png")]
    assert len(pictures) == 2
    changed = (np.abs(pictures[0] - pictures[1]) > 7).sum()
    assert report(tmp_path)["blocks"][0]["percent"] == [pytest.approx(100 * changed / pictures[0].size)]


def test_an_interrupted_run_renders_only_what_was_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["demo", "--lora", "subject", "--blocks", "12ALL", *FEW, "-o", str(tmp_path)]
    rendered: list[str] = []
    real = StandaloneCells.render
    limit = 5

    def counting(self: Any, cell: Any) -> Any:
        if len(rendered) == limit:
            raise KeyboardInterrupt
        rendered.append(cell.weights)
        return real(self, cell)

    monkeypatch.setattr(StandaloneCells, "render", counting)
    assert main(arguments) == 1
    assert "5 of 13 pictures are kept" in capsys.readouterr().err
    limit = 100
    assert main(arguments) == 0
    assert len(rendered) == len(set(rendered)) == 13
    assert report(tmp_path)["reused"] == 5
    assert main([*arguments, "--threshold", "3"]) == 0
    assert len(rendered) == 13
    assert len(runs(tmp_path)) == 2  # nothing was finished enough to be written by the first


def test_other_settings_are_another_run(tmp_path: Path) -> None:
    for more in (["--cfg", "3"], ["--cfg", "4"], ["--cfg", "4", "--negative", "red"]):
        assert main(["demo", *FEW, "--blocks", "OUT04", *more, "-o", str(tmp_path)]) == 0
        assert report(tmp_path)["reused"] == 0


def test_a_failing_cell_is_marked_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = StandaloneCells.render

    def failing(self: Any, cell: Any) -> Any:
        if "OUT03=0," in cell.weights + ",":
            raise RuntimeError("out of memory")
        return real(self, cell)

    monkeypatch.setattr(StandaloneCells, "render", failing)
    assert main(["demo", *FEW, "--blocks", "OUT03,OUT04", "-o", str(tmp_path)]) == 1
    first, second = report(tmp_path)["blocks"]
    assert first["percent"] == [None]
    assert "out of memory" in first["errors"]["seed 1"]
    assert second["percent"][0] > 0
    assert (runs(tmp_path)[-1] / "grid.png").is_file()


def test_inside_and_outside_of_a_mask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["demo", *FEW, "--blocks", "OUT04", "--mask", "0,0,50,100", "-o", str(tmp_path)])
    (entry,) = report(tmp_path)["blocks"]
    assert entry["percent"][0] == pytest.approx((entry["inside"][0] + entry["outside"][0]) / 2)
    assert entry["focus"][0] == pytest.approx(entry["inside"][0] / (entry["inside"][0] + entry["outside"][0]))
    mask = np.zeros((128, 128), np.uint8)
    mask[:, :64] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    main(["demo", *FEW, "--blocks", "OUT04", "--mask", str(tmp_path / "mask.png"), "-o", str(tmp_path)])
    assert report(tmp_path)["blocks"][0]["inside"] == entry["inside"]
    assert "scaled to the pictures' 64x64" in capsys.readouterr().err


def test_the_suggestion_is_a_preset_that_the_program_reads(tmp_path: Path) -> None:
    main(["demo", "--needed", "15", "--not-needed", "3", "-o", str(tmp_path)])
    figures = report(tmp_path)
    means = {entry["block"]: entry["mean"] for entry in figures["blocks"]}
    wanted = {b: "needed" if m >= 15 else "not needed" if m <= 3 else "unknown" for b, m in means.items()}
    assert figures["suggestion"]["blocks"] == wanted
    assert len(set(wanted.values())) >= 2
    name, _, weights = figures["suggestion"]["preset"].partition(":")
    assert name == "planted"
    assert main(["explain", f"<lora:planted:1:lbw={weights}>", "--lora", str(DEMO / "loras/planted.safetensors")]) == 0


def test_the_text_is_encoded_once_unless_base_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import StableDiffusionXLPipeline

    calls = []
    real = StableDiffusionXLPipeline.encode_prompt

    def counting(self: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("prompt_embeds") is None:
            calls.append(1)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(StableDiffusionXLPipeline, "encode_prompt", counting)
    arguments = ["demo", "--lora", "subject", "--seeds", "2", *FEW, "-o", str(tmp_path), "--blocks"]
    assert main([*arguments, "IN04,OUT01,OUT02"]) == 0
    assert len(calls) == 1
    assert main([*arguments, "BASE,IN05,OUT03", "--fresh"]) == 0
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--blocks", "IN99"], "IN99"),
        (["--blocks", "61ALL"], "61ALL"),
        (["--blocks", ","], "Blocks is empty"),
        (["--range", "1"], '--range "1"'),
        (["--range", "0,high"], '--range "0,high"'),
        (["--threshold", "300"], '--threshold "300"'),
        (["--threshold", "2.5"], '--threshold "2.5"'),
        (["--seeds", "0"], '--seeds "0"'),
        (["--lora", "nowhere"], "nowhere"),
        (["--size", "63x64"], "63x64"),
        (["--size", "9" * 5000 + "x64"], "--size 999"),
        (["--steps", "0"], '--steps "0"'),
        (["--steps", "1000000000"], '--steps "1000000000"'),
        (["--seed", "1" + "0" * 30], '--seed "1000'),
        (["--cfg", "nan"], '--cfg "nan"'),
        (["--model", "/nowhere/at/all"], "/nowhere/at/all"),
        (["--mask", "10,10,10,40"], "is empty"),
        (["--mask", "10,10,140,40"], "is not a rectangle"),
        (["--mask", "nowhere.png"], "nowhere.png"),
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


@pytest.mark.parametrize("painted", [0, 255])
def test_a_mask_of_nothing_or_of_everything_is_refused(
    painted: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (64, 64), painted).save(tmp_path / "mask.png")
    assert main(["demo", "--mask", str(tmp_path / "mask.png"), "-o", str(tmp_path / "out")]) == 2
    assert "the mask" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_prompt_needs_one_xyz(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", "a <lora:style:1>", "-o", str(tmp_path)]) == 2
    assert "lbw=XYZ" in capsys.readouterr().err
    assert main(["analyze", "a <lora:style:1:lbw=XYZ><lora:subject:1:XYZ>", "-o", str(tmp_path)]) == 2
    assert "2 tags" in capsys.readouterr().err


# The XYZ plot ------------------------------------------------------------------------------------


def xyz(folder: Path, *arguments: str, prompt: str = "a star <lora:planted:1:lbw=XYZ>") -> int:
    return main(["xyz", prompt, *FEW, *arguments, "-o", str(folder)])


def test_a_plot_over_values_and_blocks(tmp_path: Path) -> None:
    blocks = "IN05,OUT03-OUT04,NOT IN,IN05"
    assert xyz(tmp_path, "--x", "values", "0-1 (+0.5)", "--y", "Block ID", blocks, "--z", "seed", "3,4") == 0
    found = report(tmp_path, "plot")
    assert len(found["cells"]) == 3 * 4 * 2
    assert found["grids"] == ["grid.png", "grid-z2.png"]
    assert all((runs(tmp_path)[-1] / name).is_file() for name in found["grids"])
    files = {cell["file"] for cell in found["cells"]}
    # The cells at 1 are the source of each seed, whatever their block, and the repeated block costs nothing.
    assert len(files) == len(list((tmp_path / "cells").rglob("*.png"))) == 2 * (1 + 3 * 2)


def test_zyx_is_one_minus_xyz(tmp_path: Path) -> None:
    prompt = "a star <lora:planted:1:lbw=ZYX>"
    assert xyz(tmp_path / "a", "--x", "values", "0.25", "--y", "Block ID", "OUT04", prompt=prompt) == 0
    (cell,) = report(tmp_path / "a", "plot")["cells"]
    prompt = "a star <lora:planted:1:lbw=0,OUT04=0.75>"
    assert main(["render", prompt, *FEW, "--seed", "1", "-o", str(tmp_path / "c.png")]) == 0
    assert np.array_equal(Image.open(cell["file"]).convert("RGB"), Image.open(tmp_path / "c.png").convert("RGB"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--x", "values", "0,much", "--y", "Block ID", "IN05"], 'X values: "much"'),
        (["--x", "values", "0", "--y", "Block ID", "IN77"], "IN77"),
        (["--x", "Original Weights", "ALLL"], "did you mean"),
        (["--x", "seed", "1.5"], '"1.5"'),
        (["--x", "values", "0,1"], "Block ID"),
        (["--x", "color", "red"], '"color"'),
        (["--x", "elements", "IN05:attn"], "IN05:attn"),
        (["--x", "values", "1-0 (+0.5)", "--y", "Block ID", "IN05"], "never gets"),
        ([], "no axis"),
    ],
)
def test_a_wrong_axis_is_named_before_anything_is_rendered(
    arguments: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert xyz(tmp_path, *arguments) == 2
    assert named in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
