"""Renders the cells of a grid on a WebUI, each as a separate generation with the settings of the page."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from modules import processing, shared

from lbw.analysis.cells import Cell
from lbw.analysis.prompt import cell_elements, cell_presets
from lbw.analysis.runner import SkippedError, StoppedError
from lbw.analysis.session import Show
from lbw.analysis.store import Rendered
from lbw.core.errors import HostError
from lbw.core.texts import t
from lbw.files.user_presets import ROOT

from . import generation
from .options import RequestOptions

CELLS = ROOT / "cells"
_DEPTH = 5


class WebuiRenderer:
    """Renders cells as copies of the generation `p`."""

    def __init__(self, p: Any, options: RequestOptions, elements: Mapping[str, str], show: Show) -> None:
        """options: the presets that are valid for this run alone. elements: all elemental presets. show: is told how
        far it is.
        """
        self.p = p
        self.options = options
        self.elements = elements
        self.show = show

    def render(self, cell: Cell) -> Rendered:
        """Return the pictures of all batches of `cell`."""
        processed = self.process(self.generation(cell))
        first = processed.index_of_first_image
        images = processed.images[first : first + len(processed.all_prompts)]
        if not images:
            raise HostError(t("the WebUI returned no picture"))
        infotext = processed.infotexts[first] if len(processed.infotexts) > first else processed.info
        return Rendered(np.stack([np.asarray(image.convert("RGB")) for image in images]), infotext)

    def generation(self, cell: Cell) -> Any:
        """Return the generation of `cell`."""
        p = copy.copy(self.p)
        p.seed = cell.seed
        if cell.prompt:
            p.prompt = cell.prompt
        p.do_not_save_grid = True
        p.extra_generation_params = dict(self.p.extra_generation_params)
        generation.of(p).cell = RequestOptions(
            presets={**self.options.presets, **cell_presets(cell)},
            elements={**self.options.elements, **cell_elements(cell, self.elements)},
        )
        return p

    def process(self, p: Any) -> Any:
        """Return the WebUI's result of the generation `p`.

        Raises:
            StoppedError, SkippedError: requested by the user.
        """
        if is_stopped():
            raise StoppedError
        shared.state.skipped = False
        processed = processing.process_images(p)
        if is_stopped():
            raise StoppedError
        if shared.state.skipped:
            raise SkippedError
        return processed

    def progress(self, done: int, total: int, seconds_left: float | None) -> None:
        """Show the progress in the WebUI's own bar, which counts jobs and derives the remaining time from them."""
        shared.state.job = f"{min(done + 1, total)} out of {total}"
        self.show(done, total, seconds_left)


def expect(p: Any, pictures: int) -> None:
    """Tell the WebUI's progress bars how many cells will be rendered."""
    passes = pictures * max(1, int(p.n_iter))
    shared.state.job_count = passes
    steps = int(p.steps) + (int(getattr(p, "hr_second_pass_steps", 0) or p.steps) if _is_hires(p) else 0)
    shared.total_tqdm.updateTotal(steps * passes)


def _is_hires(p: Any) -> bool:
    return bool(getattr(p, "enable_hr", False))


def is_stopped() -> bool:
    """Return whether the user has interrupted the WebUI's generation, or wants it to end after this picture."""
    return bool(shared.state.interrupted or getattr(shared.state, "stopping_generation", False))


# What the pictures follow from -------------------------------------------------------------------

_IGNORED = ("seed", "seeds", "all_seeds", "sd_model", "comments", "user", "is_api")
_IGNORED_BEGINNINGS = ("script", "cached_", "lbw_", "_")


def context(p: Any, own_arguments: range, loras: Sequence[str], presets: Mapping[str, str]) -> dict[str, object]:
    """Return everything that determines the pictures of the generation `p` apart from the cells.

    own_arguments: the positions of the analyzer's own arguments among the scripts'. loras: the files of the prompt's
    LoRAs.
    """
    fields = {
        name: value
        for name, value in vars(p).items()
        if name not in _IGNORED and not name.startswith(_IGNORED_BEGINNINGS)
    }
    if not getattr(p, "subseed_strength", 0):
        fields.pop("subseed", None)
    arguments = [value for index, value in enumerate(p.script_args or ()) if index and index not in own_arguments]
    checkpoint = getattr(getattr(shared.sd_model, "sd_checkpoint_info", None), "filename", "")
    return {
        "fields": fingerprint(fields),
        "scripts": fingerprint(arguments),
        "files": [_mark(path) for path in (checkpoint, *loras)],
        "presets": dict(presets),
        "settings": fingerprint(dict(shared.opts.data)),
    }


def _mark(path: str) -> tuple[str, int, int]:
    try:
        state = Path(path).stat()
    except OSError:
        return path, 0, 0
    return path, state.st_size, state.st_mtime_ns


def fingerprint(value: Any, depth: int = _DEPTH) -> Any:
    """Return `value` as plain data for comparison: pictures by their pixels."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if hasattr(value, "tobytes"):  # a picture, or an array
        size = getattr(value, "size", None)
        return [type(value).__name__, str(getattr(value, "mode", "")), str(size), fingerprint(value.tobytes())]
    if depth == 0:
        return type(value).__name__
    if isinstance(value, Mapping):
        return {str(key): fingerprint(item, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [fingerprint(item, depth - 1) for item in value]
        return sorted(items, key=str) if isinstance(value, (set, frozenset)) else items
    plain = getattr(value, "__dict__", None)
    return [type(value).__name__, fingerprint(plain, depth - 1) if plain else ""]
