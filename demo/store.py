"""Where everything lies, and how it is written: whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file


@dataclass(frozen=True)
class Places:
    """Paths of the results, and of the working folder that git ignores."""

    root: Path

    @property
    def model(self) -> Path:
        """The pipeline folder."""
        return self.root / "model"

    @property
    def loras(self) -> Path:
        """The folder of the three LoRA files."""
        return self.root / "loras"

    @property
    def work(self) -> Path:
        """Checkpoints and data sets of an unfinished training."""
        return self.root / ".train"


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Lets ``write`` fill a file beside ``path`` and then puts it in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    try:
        write(beside)
        beside.chmod(0o644)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` as indented JSON, atomically."""
    text = json.dumps(value, indent=2) + "\n"
    write_atomically(path, lambda p: p.write_text(text, encoding="utf-8"))


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Writes ``tensors`` as a half-precision safetensors file, atomically."""
    half = {
        name: (t.half() if t.is_floating_point() else t).detach().contiguous().clone() for name, t in tensors.items()
    }
    write_atomically(path, lambda p: save_file(half, p, metadata or {"format": "pt"}))


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes the state of an unfinished training, atomically."""
    write_atomically(path, lambda p: torch.save(state, p))


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state that ``save_checkpoint`` wrote, or None where there is none."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state
