"""The WebUI as the host of the tab's panels: their requests become generations of the WebUI."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from modules import call_queue, processing, scripts, sd_samplers, shared

from lbw.analysis.request import PictureRequest
from lbw.analysis.runner import StoppedError
from lbw.analysis.session import Prepared, Show
from lbw.core.errors import HostError
from lbw.core.family import Architecture
from lbw.core.presets import merged
from lbw.core.tag import LoraRequest
from lbw.core.texts import t
from lbw.ui.folders import open_folder

from .cells import WebuiRenderer
from .hook import Hook
from .options import RequestOptions
from .prepare import RESULTS, prepared


class PanelHost:
    """The host of the panels in the tab."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook

    def loras(self) -> list[str]:
        """Return the names of all LoRAs that the WebUI knows."""
        return sorted(self.hook.lora_files(), key=str.casefold)

    def loaded(self) -> Architecture | None:
        """Return the architecture of the model that the WebUI has loaded, None if it is unknown."""
        return self.hook.loaded()

    def model_file(self) -> Path | None:
        """Return the checkpoint that the WebUI has loaded, None if it does not say."""
        model = getattr(shared, "sd_model", None)
        name = getattr(getattr(model, "sd_checkpoint_info", None), "filename", None)
        return Path(name) if name else None

    def samplers(self) -> list[str]:
        """Return the WebUI's samplers."""
        return [sampler.name for sampler in sd_samplers.samplers]

    def defaults(self) -> PictureRequest:
        """Return the initial values of the fields."""
        names = self.samplers()
        return PictureRequest(sampler_name="Euler a" if "Euler a" in names else (names or [""])[0])

    def open_folder(self, folder: Path) -> None:
        """Show `folder` in the file manager, unless the WebUI is configured to hide its folders."""
        if getattr(shared.cmd_opts, "hide_ui_dir_config", False):
            raise HostError(t("this WebUI hides its folders (--hide-ui-dir-config)"))
        open_folder(folder)

    def output(self) -> Path:
        """Return the folder in which the WebUI keeps its grids."""
        return Path(shared.opts.outdir_grids or shared.opts.outdir_txt2img_grids) / RESULTS

    def prepare(
        self, request: PictureRequest, loras: Sequence[LoraRequest], show: Show, stopped: Callable[[], bool]
    ) -> Prepared:
        """Return what is needed to render the cells of `request`; see `lbw.analysis.session.Host`."""
        p = self._generation(request)
        presets = merged(self.hook.store.presets(), {})
        elements = self.hook.store.elements()
        options = RequestOptions(True, presets, {})
        renderer = TabRenderer(p, options, elements, show, stopped)
        return prepared(self.hook, p, loras, renderer, presets, range(0), self.output(), stopped, request)

    def _generation(self, request: PictureRequest) -> Any:
        """Return the WebUI's generation for `request`, without scripts, with a random seed if it has none."""
        p = processing.StableDiffusionProcessingTxt2Img(
            sd_model=shared.sd_model,
            outpath_samples=shared.opts.outdir_samples or shared.opts.outdir_txt2img_samples,
            outpath_grids=str(self.output()),
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            seed=request.seed,
            sampler_name=request.sampler_name or self.defaults().sampler_name,
            cfg_scale=request.cfg_scale,
            steps=request.steps,
            width=max(64, request.width // 8 * 8),
            height=max(64, request.height // 8 * 8),
            do_not_save_samples=True,
            do_not_save_grid=True,
            override_settings={},
        )
        p.scripts = scripts.ScriptRunner()  # without any script in it: reForge looks for one of its own
        processing.fix_seed(p)
        return p


class TabRenderer(WebuiRenderer):
    """Renders cells alongside other work of the WebUI: each generation waits for its turn in the WebUI's queue."""

    def __init__(self, p: Any, options: RequestOptions, elements: Any, show: Show, stopped: Callable[[], bool]) -> None:
        super().__init__(p, options, elements, show)
        self.stopped = stopped

    def process(self, p: Any) -> Any:
        """Return the WebUI's result of `p`, when it is its turn."""
        with call_queue.queue_lock:
            if self.stopped():
                raise StoppedError
            shared.state.begin(job="lbw")
            try:
                return _in_the_main_thread(super().process, p)
            finally:
                shared.state.end()

    def progress(self, done: int, total: int, seconds_left: float | None) -> None:
        """Report the progress to the panel."""
        self.show(done, total, seconds_left)


def _in_the_main_thread(function: Callable[[Any], Any], argument: Any) -> Any:
    """Return what `function` returns; Forge needs generations of its page to run in its main thread."""
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
