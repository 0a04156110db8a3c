"""The WebUI as the host of the tab's panels: their questions become generations of the WebUI."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from modules import call_queue, processing, scripts, sd_samplers, shared

from lbw.analysis.cells import Cell, whole_number
from lbw.analysis.effective_blocks import Analysis
from lbw.analysis.measure import Pixels
from lbw.analysis.prompt import tag_to_analyze
from lbw.analysis.runner import StoppedError
from lbw.analysis.sheet import analysis_head
from lbw.analysis.store import CellStore, forget_oldest
from lbw.core.errors import HostError
from lbw.core.family import Architecture
from lbw.core.presets import merged
from lbw.ui.analyzer_host import Prepared, Question, Show, tuner_round
from lbw.ui.folders import open_folder

from . import cells
from .cells import WebuiRenderer
from .hook import Hook
from .lora_files import lora_paths, lora_tensors
from .noise import NoiseProbe
from .options import RequestOptions


class PanelHost:
    """Answers the panels of the tab."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook

    def loras(self) -> list[str]:
        """Return the names of all LoRAs that the WebUI knows."""
        return sorted(self.hook.lora_files(), key=str.casefold)

    def loaded(self) -> Architecture | None:
        """Return the architecture of the model that the WebUI has loaded, None if it is not known."""
        return self.hook.loaded()

    def model_file(self) -> Path | None:
        """Return the checkpoint that the WebUI has loaded, None if it does not say."""
        model = getattr(shared, "sd_model", None)
        name = getattr(getattr(model, "sd_checkpoint_info", None), "filename", None)
        return Path(name) if name else None

    def samplers(self) -> list[str]:
        """Return the WebUI's samplers."""
        return [sampler.name for sampler in sd_samplers.samplers]

    def defaults(self) -> Question:
        """Return what the fields hold at first."""
        names = self.samplers()
        return Question("", sampler="Euler a" if "Euler a" in names else (names or [""])[0])

    def open_folder(self, folder: Path) -> None:
        """Show `folder` in the file manager, unless the WebUI is told to hide its folders."""
        if getattr(shared.cmd_opts, "hide_ui_dir_config", False):
            raise HostError("this WebUI hides its folders (--hide-ui-dir-config)")
        open_folder(folder)

    def prepare(self, question: Question, show: Show, stopped: Callable[[], bool]) -> Prepared:
        """Return the analysis that `question` describes; see `AnalyzerHost`."""
        architecture = self.hook.architecture()
        request = tag_to_analyze(question.prompt)
        tensors = lora_tensors(self.hook, architecture, [request])
        p = self._generation(question)
        settings = question.settings(architecture, tensors, int(p.seed))
        mask, remarks = question.region(int(p.width), int(p.height))
        forget_oldest(cells.CELLS)
        how = f"{p.sampler_name}, {p.steps} steps, CFG scale {p.cfg_scale:g}"
        head = analysis_head(request.name, settings, int(p.seed), how)
        safe = "".join(letter if letter.isalnum() or letter in "-_ ." else "_" for letter in request.name)
        stem = self._grids() / f"lbw-{safe}-{time.strftime('%Y%m%d-%H%M%S')}"
        analysis = Analysis(settings, architecture, tensors, self._store(p), mask)
        renderer = self._renderer(p, show, stopped)
        probe = NoiseProbe(renderer, stopped)
        return Prepared(analysis, renderer, probe, request.name, head, stem, remarks)

    def rounds(self, todo: Sequence[Cell], question: Question) -> Iterator[tuple[Cell, Pixels]]:
        """Yield the pictures of a round of the tuner, as they are rendered.

        Raises:
            LbwError: something is wrong, or a picture failed.
        """
        architecture = self.hook.architecture()
        tensors = lora_tensors(self.hook, architecture, [tag_to_analyze(question.prompt)])
        p = self._generation(question)
        renderer = self._renderer(p, lambda done, total, left: None, lambda: False)
        yield from tuner_round(todo, architecture, tensors, renderer, self._store(p))

    def _generation(self, question: Question) -> Any:
        """Return the WebUI's generation for `question`, without scripts, its seed drawn where it is -1."""
        sizes = {"steps": (1, 1000), "width": (64, 4096), "height": (64, 4096)}
        numbers = {name: whole_number(getattr(question, name), name, *bounds) for name, bounds in sizes.items()}
        p = processing.StableDiffusionProcessingTxt2Img(
            sd_model=shared.sd_model,
            outpath_samples=shared.opts.outdir_samples or shared.opts.outdir_txt2img_samples,
            outpath_grids=str(self._grids()),
            prompt=question.prompt,
            negative_prompt=question.negative,
            seed=int(question.seed),
            sampler_name=question.sampler or self.defaults().sampler,
            cfg_scale=float(question.cfg),
            do_not_save_samples=True,
            do_not_save_grid=True,
            override_settings={},
            **{**numbers, "width": numbers["width"] // 8 * 8, "height": numbers["height"] // 8 * 8},
        )
        p.scripts = scripts.ScriptRunner()  # without any in it: reForge looks for one of its own
        processing.fix_seed(p)
        return p

    def _grids(self) -> Path:
        """Return the folder in which the WebUI keeps its grids."""
        return Path(shared.opts.outdir_grids or shared.opts.outdir_txt2img_grids)

    def _store(self, p: Any) -> CellStore:
        presets = {**self.hook.store.presets(), **self.hook.store.elements()}
        return CellStore(cells.CELLS, cells.context(p, range(0), lora_paths(self.hook, p.prompt), presets))

    def _renderer(self, p: Any, show: Show, stopped: Callable[[], bool]) -> WebuiRenderer:
        presets = merged(self.hook.store.presets(), {})
        return TabRenderer(p, RequestOptions(True, presets, {}), self.hook.store.elements(), show, stopped)


class TabRenderer(WebuiRenderer):
    """Renders cells beside what else the WebUI does: each generation waits for its turn in the WebUI's queue."""

    def __init__(self, p: Any, options: RequestOptions, elements: Any, show: Show, stopped: Callable[[], bool]) -> None:
        super().__init__(p, options, elements)
        self.show = show
        self.stopped = stopped

    def process(self, p: Any) -> Any:
        """Return what the WebUI makes of `p`, when it is its turn."""
        with call_queue.queue_lock:
            if self.stopped():
                raise StoppedError
            shared.state.begin(job="lbw")
            try:
                return _in_the_main_thread(super().process, p)
            finally:
                shared.state.end()

    def progress(self, done: int, total: int, seconds_left: float | None) -> None:
        """Tell the panel how far it is."""
        self.show(done, total, seconds_left)


def _in_the_main_thread(function: Callable[[Any], Any], argument: Any) -> Any:
    """Return what `function` returns; Forge wants generations of its page in its main thread."""
    main = sys.modules.get("modules_forge.main_thread")
    if main is None or threading.current_thread() is threading.main_thread():
        return function(argument)
    outcome: list[Any] = []

    def call() -> None:
        try:
            outcome.append(function(argument))
        except BaseException as error:  # the main thread would print it and go on
            outcome.append(error)

    main.run_and_wait_result(call)
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
