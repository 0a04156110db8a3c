"""Renders the cells of a grid on the standalone host."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lbw.analysis.cells import Cell
from lbw.analysis.prompt import cell_elements, cell_presets
from lbw.analysis.request import PictureRequest
from lbw.analysis.runner import StoppedError
from lbw.analysis.session import Show
from lbw.analysis.store import Rendered
from lbw.core.tag import requests_in

from .renderer import PictureRenderer
from .sampling import stoppable


@dataclass
class StandaloneCells:
    """Renders cells of `request`.

    show: called with the progress. stopped: returns whether the user has stopped it.
    """

    maker: PictureRenderer
    request: PictureRequest
    show: Show = lambda done, total, left: None
    stopped: Callable[[], bool] = lambda: False
    told: dict[str, None] = field(default_factory=dict)

    def render(self, cell: Cell) -> Rendered:
        """Return the picture of `cell`; messages about its tags are printed to standard error, once."""
        if self.stopped():
            raise StoppedError
        with self.maker.turn, stoppable(self.maker.host.pipeline, self.stopped):
            made = self.cell_maker(cell).render(self.cell_request(cell))
        for problem in made.problems:
            if problem not in self.told:
                self.told[problem] = None
                print(f"lbw: {problem}", file=sys.stderr)
        return Rendered(np.asarray(made.image.convert("RGB"))[None], made.infotext)

    def cell_request(self, cell: Cell) -> PictureRequest:
        """Return the request of one cell."""
        return replace(self.request, seed=cell.seed, prompt=cell.prompt or self.request.prompt)

    def cell_maker(self, cell: Cell) -> PictureRenderer:
        """Return the renderer for which the cell's names are presets."""
        presets = {**self.maker.presets, **cell_presets(cell)}
        elements = {**self.maker.elements, **cell_elements(cell, self.maker.elements)}
        return replace(self.maker, presets=presets, elements=elements)

    def progress(self, done: int, total: int, seconds_left: float | None) -> None:
        """Show the progress."""
        self.show(done, total, seconds_left)


def context(maker: PictureRenderer, request: PictureRequest) -> dict[str, Any]:
    """Return everything that determines the pictures apart from the cells."""
    model = maker.model or Path()
    files = [path for path in (model.rglob("*") if model.is_dir() else [model]) if path.is_file()]
    prompts = [request.prompt, *getattr(request, "prompts", ())]
    names = dict.fromkeys(lora.name for prompt in prompts for lora in requests_in(prompt, {}))
    loras = [maker.host.library.find(name) for name in names]
    picture = {name: getattr(request, name) for name in PictureRequest.options() if name != "seed"}
    return {
        "request": picture,
        "model": [_mark(path) for path in sorted(files)],
        "loras": [_mark(path) for path in loras if path is not None],
        "presets": dict(maker.presets),
        "elements": dict(maker.elements),
        "device": str(getattr(maker.host.pipeline, "device", "")),
    }


def _mark(path: Path) -> tuple[str, int, int]:
    state = path.stat()
    return str(path), state.st_size, state.st_mtime_ns
