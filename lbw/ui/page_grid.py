"""The grid of an analysis for the page: drawn from downscaled pictures, small enough to be sent."""

from __future__ import annotations

import copy
from weakref import WeakKeyDictionary

import numpy as np
from PIL import Image

from lbw.analysis.analysis_session import AnalysisSession, grid_name
from lbw.analysis.cells import Cell
from lbw.analysis.effective_blocks import Analysis, Sample
from lbw.analysis.measure import Pixels
from lbw.analysis.sheet import analysis_grid
from lbw.analysis.store import CellStore, Rendered

SMALL = 256
"""The longer side of the pictures in the grid on the page; the grid on disk has them at full size."""
LARGEST_ON_PAGE = 8_000_000
"""Maximum number of pixels of the grid on the page."""

_SMALL_ANALYSES: WeakKeyDictionary[AnalysisSession, Analysis] = WeakKeyDictionary()


class SmallCells:
    """The cells of a store in the size for the page, read from disk once."""

    def __init__(self, store: CellStore) -> None:
        self.store = store
        self._read: dict[Cell, Rendered] = {}

    def load(self, cell: Cell) -> Rendered | None:
        """Return the downscaled pictures of `cell`; None if they do not exist."""
        if cell not in self._read:
            rendered = self.store.load(cell)
            if rendered is None:
                return None
            self._read[cell] = Rendered(reduced(rendered.pictures, SMALL), rendered.infotext)
        return self._read[cell]


def reduced(pictures: Pixels, side: int) -> Pixels:
    """Return a batch (count, height, width, 3) whose longer side is at most `side`."""
    _, height, width, _ = pictures.shape
    part = side / max(height, width)
    if part >= 1:
        return pictures
    size = (max(1, round(width * part)), max(1, round(height * part)))
    return np.stack([np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BOX)) for one in pictures])


def page_grid(session: AnalysisSession, sample: Sample) -> Image.Image | None:
    """Return the grid of one source; None for a quick scan.

    For an earlier analysis whose cells are gone, this is the saved grid.
    """
    if session.request.is_quick:
        return None
    analysis = session.analysis
    if session.folder is not None and analysis.sources[sample] not in analysis.store:
        saved = session.folder / grid_name(session.settings, sample)
        if saved in session.files:
            with Image.open(saved) as image:
                return image.convert("RGB")
    if session not in _SMALL_ANALYSES:
        small = copy.copy(analysis)
        small.store = SmallCells(analysis.store)  # type: ignore[assignment]
        _SMALL_ANALYSES[session] = small
    return analysis_grid(_SMALL_ANALYSES[session], sample, session.heading(sample), largest=LARGEST_ON_PAGE).image
