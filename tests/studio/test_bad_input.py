"""What the command line does with invalid files, a full disk, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("diffusers")

import torch
from safetensors.torch import save_file

from lbw.studio.cli import main

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--size", "64x64", "--steps", "1"]
NAME = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.lora_up.weight"


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1, error
    return error


def safetensors(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(begin: int, end: int) -> dict[str, object]:
    return {"dtype": "F16", "shape": [(end - begin) // 2], "data_offsets": [begin, end]}


def render(folder: Path, out: Path, *more: str) -> int:
    return main(["render", "a star <lora:bad:1>", "--lora-dir", str(folder), *SMALL, *more, "-o", str(out)])


@pytest.mark.parametrize(
    ("header", "data", "length", "named"),
    [
        ({}, b"", 10**12, "header"),
        ({}, b"", 200, "header"),
        ({NAME: entry(0, 8), "b": entry(4, 12)}, bytes(12), None, "overlaps"),
        ({NAME: entry(0, 8)}, bytes(4), None, "truncated"),
        ({NAME: {"dtype": "F16", "shape": [-4], "data_offsets": [0, 8]}}, bytes(8), None, "is invalid"),
        ([1, 2], b"", None, "not a JSON object"),
    ],
)
def test_a_hostile_lora_file_is_named_and_nothing_is_written(
    header: object, data: bytes, length: int | None, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    safetensors(tmp_path / "bad.safetensors", header, data, length)
    assert render(tmp_path, tmp_path / "out" / "a.png") == 2
    error = one_line(capsys)
    assert "bad.safetensors" in error
    assert named in error
    assert not (tmp_path / "out").exists()


def test_a_tensor_named_with_dots_writes_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "loras"
    folder.mkdir()
    safetensors(folder / "bad.safetensors", {"../../evil": entry(0, 8), "/etc/evil": entry(8, 16)}, bytes(16))
    render(folder, tmp_path / "out" / "a.png")
    assert "bad" in capsys.readouterr().err
    assert {path.name for path in tmp_path.rglob("*")} <= {"loras", "bad.safetensors", "out", "a.png"}


def test_a_pickle_is_never_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({NAME: torch.zeros(2, 2)}, tmp_path / "bad.pt")
    torch.save({NAME: torch.zeros(2, 2)}, tmp_path / "bad.safetensors")
    assert render(tmp_path, tmp_path / "a.png") == 2
    assert "not a safetensors file" in one_line(capsys)


def test_a_lora_of_another_architecture_changes_nothing_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = "lora_unet_double_blocks_0_img_attn_qkv"
    tensors = {f"{module}.lora_up.weight": torch.ones(12, 2), f"{module}.lora_down.weight": torch.ones(2, 4)}
    save_file(tensors, tmp_path / "bad.safetensors")
    assert render(tmp_path, tmp_path / "a.png") == 0
    error = one_line(capsys)
    assert "does not fit" in error
    assert "SDXL" in error


def test_a_folder_that_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert render(tmp_path, tmp_path / "a.png", "--model", str(tmp_path)) == 2
    assert "model_index.json" in one_line(capsys)


@pytest.mark.parametrize("index", ["", "[]", '{"_class_name": "Nothing"}', '{"unet": 3}'])
def test_a_model_folder_with_a_broken_index(index: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model_index.json").write_text(index)
    assert render(tmp_path, tmp_path / "a.png", "--model", str(tmp_path)) == 2
    assert str(tmp_path) in one_line(capsys)


def test_a_checkpoint_of_an_unknown_family(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file({"encoder.layer.0.weight": torch.zeros(4, 4)}, tmp_path / "other.safetensors")
    assert render(tmp_path, tmp_path / "a.png", "--model", str(tmp_path / "other.safetensors")) == 2
    error = one_line(capsys)
    assert "the known ones are SD 1.x" in error


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "lbw", *arguments]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
def test_a_full_disk_ends_in_one_line_and_leaves_no_half_file(tmp_path: Path) -> None:
    # A limit on the size of files fails the write in the middle, as a full disk does.
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300)); from lbw.studio.cli import main; sys.exit(main())"
    )
    arguments = ["render", "a star", *SMALL, "-o", str(tmp_path / "a.png")]
    done = subprocess.run(
        [sys.executable, "-B", "-c", limited, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode in (1, 2), done.stderr
    assert "a.png cannot be written" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="the signal is POSIX")
def test_ctrl_c_keeps_what_was_finished_and_nothing_half(tmp_path: Path) -> None:
    out = tmp_path / "out"
    running = subprocess.Popen(
        command("render", "a star", "--size", "64x64", "--count", "500", "-o", str(out)),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    deadline = time.monotonic() + 180
    while not (out / "2.png").exists() and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    error = running.communicate(timeout=60)[1]
    assert running.returncode == 1, error
    assert error.strip().splitlines()[-1] == "lbw: stopped"
    assert "Traceback" not in error
    from PIL import Image

    finished = sorted(out.iterdir())
    assert finished
    for path in finished:
        assert path.suffix == ".png"
        Image.open(path).load()
