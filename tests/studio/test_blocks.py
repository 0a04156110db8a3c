"""`lbw blocks`: the map of a model in the terminal and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lbw.core.architectures import ARCHITECTURES
from lbw.studio.cli import main

from .conftest import DEMO


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["blocks", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("name", [*ARCHITECTURES, "anima:B20", "unknown:B24"])
def test_the_map_of_an_architecture_fits_a_terminal(capsys: pytest.CaptureFixture[str], name: str) -> None:
    lines = printed(capsys, "--architecture", name)
    assert max(map(len, lines)) <= 80
    assert lines[0].endswith(f"({name})")


def test_the_map_of_a_lora_says_where_its_parameters_lie(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "--lora", str(DEMO / "loras" / "planted.safetensors"))
    table = {line.split()[0]: line.split() for line in lines[2:23]}
    assert table["OUT04"] == ["OUT04", "output", "block", "4", "36", "8,844", "33.33"]
    assert table["all"] == ["all", "108", "26,532", "100.00"]
    assert "layout 12  BASE IN04 IN05 IN07 IN08 M00 OUT00-OUT05" in lines
    assert "group EARLY    IN00-IN08" in lines
    assert max(map(len, lines)) <= 80


def test_the_map_of_a_model_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = printed(capsys, "--model", str(DEMO / "model"), "--json")
    found = json.loads(line)
    assert (found["architecture"], found["blocks"][10]["id"]) == ("sdxl", "M00")
    assert sum(block["share"] for block in found["blocks"]) == pytest.approx(100, abs=0.01)


def test_without_an_option_the_known_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys)
    assert [line.split()[0] for line in lines[1:]] == list(ARCHITECTURES)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--architecture", "qwen", "did you mean qwen-image"),
        ("--lora", "nothing.safetensors", "nothing.safetensors cannot be read"),
        ("--model", "nothing.safetensors", "nothing.safetensors cannot be read"),
        ("--model", ".", "is not a diffusers model"),
    ],
)
def test_what_there_is_not_is_said_in_a_line(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    value: str,
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["blocks", option, value]) == 2
    error = capsys.readouterr().err
    assert (expected in error, error.count("\n")) == (True, 1)
