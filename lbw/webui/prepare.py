"""What sessions need from a WebUI to render the cells of one of its generations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modules import shared

from lbw.analysis.request import AnalysisRequest, PictureRequest
from lbw.analysis.session import Prepared
from lbw.analysis.store import CellStore
from lbw.core.tag import LoraRequest

from . import cells
from .cells import WebuiRenderer, context
from .hook import Hook
from .lora_files import lora_paths, lora_tensors

RESULTS = "lora-block-weight"
"""The folder of the results, inside the WebUI's folder for grids."""


def prepared(
    hook: Hook,
    p: Any,
    loras: Sequence[LoraRequest],
    renderer: WebuiRenderer,
    presets: Mapping[str, str],
    own_arguments: range,
    output: Path | None,
    stopped: Callable[[], bool],
    request: PictureRequest,
) -> Prepared:
    """Return what a session needs to render the cells of the generation `p`.

    presets: for the values of axes. own_arguments: the positions of the analyzer's own arguments among those of the
    scripts. output: the folder for results. stopped: whether the user has stopped it.

    Raises:
        LbwError: a LoRA does not exist, or does not fit the loaded model.
    """
    probe = None
    if isinstance(request, AnalysisRequest) and request.is_quick:
        from .noise import NoiseProbe  # here, because not every WebUI supports it

        probe = NoiseProbe(renderer, stopped, request.shares)
    architecture = hook.architecture()
    tensors = lora_tensors(hook, architecture, loras)
    prompts = (request.prompt, *getattr(request, "prompts", ()))
    files = list(dict.fromkeys(path for prompt in prompts for path in lora_paths(hook, prompt)))
    return Prepared(
        seed=int(p.seed),
        seed_step=max(1, int(p.batch_size) * int(p.n_iter)),
        architecture=architecture,
        tensors=tensors,
        presets=presets,
        store=CellStore(cells.CELLS, context(p, own_arguments, files, {**presets, **renderer.elements})),
        renderer=renderer,
        probe=probe,
        sampling=f"{p.sampler_name}, {p.steps} steps, CFG scale {p.cfg_scale:g}",
        output=output,
        font=str(getattr(shared.opts, "font", "") or "") or None,
    )
