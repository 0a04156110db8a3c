"""The standalone host for sessions and panels."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from lbw.analysis.noise_scan import AT
from lbw.analysis.request import RANDOM, PictureRequest
from lbw.analysis.session import Prepared, Show
from lbw.analysis.store import CellStore
from lbw.analysis.xyz import random_seed
from lbw.core.errors import WeightsError
from lbw.core.family import Architecture
from lbw.core.tag import LoraRequest
from lbw.core.texts import t
from lbw.ui.folders import open_folder

from .cells import StandaloneCells, context
from .commands import usual
from .noise import NoiseProbe
from .renderer import PictureRenderer

CELLS = Path(tempfile.gettempdir()) / "lbw-cells"


class StudioHost:
    """Renders with the model the program was started with."""

    def __init__(
        self,
        fresh: Callable[[], PictureRenderer],
        bundled: bool,
        output: Path | None = None,
        cells: Path = CELLS,
        example: str = "",
    ) -> None:
        """Use the renderer that `fresh` returns, with the current presets.

        bundled: whether it has the bundled model. output: the folder for results; None to save none. cells: the folder
        for finished pictures. example: an initial prompt.
        """
        self.fresh = fresh
        self.bundled = bundled
        self.cells = cells
        self.example = example
        self._output = output

    def output(self) -> Path | None:
        """Return the folder for results; None to save none."""
        return self._output

    def loras(self) -> list[str]:
        """Return the LoRA names that tags can use."""
        return list(self.fresh().host.library.names())

    def loaded(self) -> Architecture:
        """Return the architecture of the model."""
        return self.fresh().host.architecture

    def samplers(self) -> list[str]:
        """Return no samplers: the pipeline has its own."""
        return []

    def defaults(self) -> PictureRequest:
        """Return the default settings of pictures."""
        first = next(iter(self.loras()), "name")
        prompt = f"{self.example} <lora:{first}:1:lbw=XYZ>".strip()
        return PictureRequest(prompt, seed=1, **usual(self.fresh(), self.bundled))

    def open_folder(self, folder: Path) -> None:
        """Show `folder` in the file manager."""
        open_folder(folder)

    def prepare(
        self, request: PictureRequest, loras: Sequence[LoraRequest], show: Show, stopped: Callable[[], bool]
    ) -> Prepared:
        """Return what is needed to render the cells of `request`; see `lbw.analysis.session.Host`.

        Raises:
            LbwError: the request is not valid; nothing was rendered.
        """
        for side in ("width", "height"):
            pixels = getattr(request, side)
            if pixels % 8:
                told = {"field": request.option(side).label, "number": pixels, "example": max(8, pixels // 8 * 8)}
                raise WeightsError(t("{field} {number} is not a multiple of 8; write for example {example}", **told))
        maker = self.fresh()
        tensors: dict[str, int] = {}
        for lora in loras:
            for block, count in maker.host.tensors(lora.name).items():
                tensors[block] = tensors.get(block, 0) + count
        if request.seed == RANDOM:
            request = replace(request, seed=random_seed())
        return Prepared(
            seed=request.seed,
            architecture=maker.host.architecture,
            tensors=tensors,
            presets=maker.presets,
            store=CellStore(self.cells, context(maker, request)),
            renderer=StandaloneCells(maker, request, show, stopped),
            probe=NoiseProbe(maker, request, getattr(request, "shares", AT)),
            sampling=f"{request.steps} steps, CFG scale {request.cfg_scale:g}, {request.width}x{request.height}",
            output=self._output,
            about={"model": str(maker.model)},
        )
