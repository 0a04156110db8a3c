"""An XYZ plot, from a request to grids and files, whichever face asked for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lbw.core.errors import LbwError
from lbw.core.texts import t
from lbw.files.atomic import write_text

from .cells import Cell
from .prompt import tags_for_cells
from .report import plot_figures
from .request import PlotRequest
from .runner import CannotKeepError, run
from .session import FAILED, RUNNING, STOPPED, WARNING, Host, Session
from .sheet import first_rendered, plot_sheets
from .xyz import build, parse_axis, random_seed, touched_cells


class PlotSession(Session):
    """A plot: up to three axes over blocks, values, seeds, original weights and elements.

    errors: why cells failed.
    """

    name = "plot"
    request: PlotRequest

    def __init__(self, host: Host, request: PlotRequest) -> None:
        """Prepare a plot; see `Session`."""
        super().__init__(host, request, tags_for_cells(request.prompt))

    def _plan(self) -> None:
        request, made = self.request, self.prepared
        x, y, z = (
            parse_axis(*request.axis(name), name.upper(), made.architecture, made.presets, random_seed)
            for name in "xyz"
        )
        self.grid = build(x, y, z, made.architecture, made.presets, made.seed)
        self.cells = touched_cells(self.grid)
        self.errors: dict[Cell, str] = {}
        self.total = len(self.cells)

    def figures(self) -> dict[str, Any]:
        """Return the axes, and what each cell was rendered with, as the JSON file has them."""
        figures = {
            "settings": {**self.prepared.about, **self.request.plain(), "lora": self.lora},
            **plot_figures(self.grid),
            "grids": [path.name for path in self.files if path.stem.startswith("grid")],
            "errors": list(dict.fromkeys(self.errors.values())),
            "request": self.request.plain(),
            "state": self.state,
        }
        for entry, cell in zip(figures["cells"], self.grid.cells.values()):
            entry["file"] = str(self.prepared.store.path(cell))
        return figures

    def _work(self) -> None:
        made = self.prepared
        try:
            for outcome in run(self.cells, made.renderer, made.store, made.tensors):
                self.done += 1
                self.version += 1
                if outcome.error:
                    self.errors[outcome.cell] = outcome.error
        except CannotKeepError as error:
            self._fail(str(error))
        if self.done < self.total and self.state != FAILED:
            self.state = STOPPED
            self.say(t("Stopped: {count} cells are missing.", count=self.total - self.done), WARNING)
            self.say(t("Run the same settings again to continue."), WARNING)
        for reason in dict.fromkeys(self.errors.values()):
            self.say(t("A cell failed: {error}", error=reason), WARNING)
        if first_rendered(self.grid, made.store) is None:
            if self.state == RUNNING:  # otherwise it has been said why there is none
                reasons = "; ".join(sorted(set(self.errors.values())))
                raise LbwError(t("no cell was rendered: {reasons}", reasons=reasons))
            return
        self._draw_grids()
        self._save(self._write_figures, "plot.json")

    def _write_grids(self, check: Callable[[], None]) -> None:
        """Write the grid for each value of Z in full size."""
        first = first_rendered(self.grid, self.prepared.store)
        infotext = first.infotext if first else ""
        sheets = plot_sheets(self.grid, self.errors, self.prepared.store, self.lora, self.prepared.font, check)
        for number, sheet in enumerate(sheets, 1):
            self._save_grid(sheet, infotext, "grid.png" if number == 1 else f"grid-z{number}.png")

    def _write_figures(self, folder: Path) -> None:
        figures = {**self.figures(), "state": self.outcome}
        write_text(folder / "plot.json", json.dumps(figures, ensure_ascii=False, indent=1) + "\n")
