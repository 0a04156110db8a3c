"""`lbw explain` on the command line: its exit status, and what it prints first."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lbw.studio.cli import main

KEY = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    path = tmp_path / "subject.safetensors"
    save_file({f"{KEY}.lora_down.weight": torch.ones(2, 768), f"{KEY}.lora_up.weight": torch.ones(4, 2)}, path)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["explain", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_a_tag_that_can_be_used_is_explained(lora: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "<lora:subject:1:lbw=0,IN04=0.5>", "--lora", str(lora))
    assert status == 0
    assert "IN04      0.5" in out
    assert "warning" not in out


def test_a_tag_that_names_another_lora_is_warned_of_first(lora: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "<lora:other:1:lbw=0>", "--lora", str(lora))
    assert status == 0
    assert out.startswith('warning: the tag names the LoRA "other", but the file is subject.safetensors')


@pytest.mark.parametrize("tag", ["<lora:sub/subject:1:lbw=0>", "<lora:Subject.safetensors:1:lbw=0>"])
def test_a_tag_with_the_files_folder_or_ending_names_it(
    tag: str, lora: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "warning" not in run(capsys, tag, "--lora", str(lora))[1]


@pytest.mark.parametrize("text", ["a cat", "subject", "<lora:subject:1:lbw=0"])
def test_text_that_is_no_tag_is_refused(text: str, lora: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, text, "--lora", str(lora))
    assert (status, out) == (2, "")
    assert "is not a tag" in err


@pytest.mark.parametrize(
    ("items", "word"),
    [("lbw=NOSUCH", "unknown preset"), ("lbw=1,2,3", "3 numbers"), ("lbw=0,IN04=1e9", "out of range")],
)
def test_a_tag_whose_block_weights_cannot_be_used_ends_with_status_2(
    items: str, word: str, lora: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(capsys, f"<lora:subject:1:{items}>", "--lora", str(lora))
    assert status == 2
    assert out.startswith("warning: ")
    assert word in out.splitlines()[0]


def test_a_likely_slip_is_a_warning_alone(lora: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "<lora:subject:1:lbw=0:strat=3>", "--lora", str(lora))
    assert status == 0
    assert "did you mean start=?" in out.splitlines()[0]
