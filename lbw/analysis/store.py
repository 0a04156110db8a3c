"""Finished cells on disk, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from lbw.files.atomic import write, write_text

from .cells import Cell
from .measure import Pixels
from .png import encoded

LIMIT = 2 << 30
"""Bytes that the cells of all runs may take before the oldest runs are forgotten."""

CONTEXT = "context.json"
"""What the pictures in a folder follow from."""

_open_png: Any = PngImagePlugin.PngImageFile  # some versions of Pillow have no types for it


@dataclass(frozen=True)
class Rendered:
    """The pictures of a cell, (count, height, width, 3), and the infotext of the first."""

    pictures: Pixels
    infotext: str = ""


class CellStore:
    """The cells of one run, each a PNG of its batch, one picture above the other."""

    def __init__(self, root: Path, context: Mapping[str, object]) -> None:
        """Open the folder below `root` that belongs to `context`: everything that the pictures follow from."""
        self._context = json.dumps(context, sort_keys=True, indent=1, default=str)
        self.folder = root / hashlib.sha256(self._context.encode()).hexdigest()[:24]

    def path(self, cell: Cell) -> Path:
        """Return where the cell is, or would be."""
        key = repr((cell.weights, cell.seed, cell.elements, *filter(None, (cell.prompt,))))
        return self.folder / f"{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}.png"

    def __contains__(self, cell: object) -> bool:
        return isinstance(cell, Cell) and self.path(cell).is_file()

    def save(self, cell: Cell, rendered: Rendered) -> None:
        """Keep the pictures of `cell`.

        Raises:
            FileError: they cannot be written.
        """
        count, height, width, _ = rendered.pictures.shape
        tall = Image.fromarray(rendered.pictures.reshape(count * height, width, 3))
        if not (self.folder / CONTEXT).exists():
            write_text(self.folder / CONTEXT, self._context)
        write(self.path(cell), encoded(tall, rendered.infotext, compress_level=1, texts={"count": str(count)}))

    def forget(self) -> None:
        """Delete the cells of this run."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def load(self, cell: Cell) -> Rendered | None:
        """Return the pictures of `cell`; None if they are not there, or cannot be read."""
        try:
            # Not Image.open: its limit is for pictures of strangers, and a tall batch of ours may exceed it.
            with _open_png(self.path(cell)) as tall:
                pixels = np.asarray(tall if tall.mode == "RGB" else tall.convert("RGB"))
                count = int(tall.info["count"])
                infotext = str(tall.info.get("parameters", ""))
            return Rendered(pixels.reshape(count, -1, pixels.shape[1], 3), infotext)
        except (OSError, ValueError, KeyError, SyntaxError):
            return None


def forget_oldest(root: Path, limit: int = LIMIT) -> None:
    """Delete the runs below `root` that were used longest ago, until the rest takes no more than `limit` bytes."""
    try:
        runs = [folder for folder in root.iterdir() if folder.is_dir()]
        sized = []
        for run in runs:
            states = [file.stat() for file in run.iterdir()]
            sized.append((max((s.st_mtime for s in states), default=0.0), sum(s.st_size for s in states), run))
    except OSError:
        return
    total = sum(size for _, size, _ in sized)
    for _, size, run in sorted(sized):
        if total <= limit:
            return
        shutil.rmtree(run, ignore_errors=True)
        total -= size
