"""The page: rendering prompts with tags, and finding out which blocks of a LoRA matter."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI

from lbw.analysis.png import encoded
from lbw.analysis.request import PictureRequest
from lbw.analysis.sessions import Sessions
from lbw.core.errors import LbwError
from lbw.core.texts import t
from lbw.files.user_presets import ROOT
from lbw.ui.analyze import analyze_panel
from lbw.ui.block_map import block_map_panel
from lbw.ui.gradio_versions import Updates, Values, listen
from lbw.ui.hints import hints_panel
from lbw.ui.markup import picture, png_uri
from lbw.ui.presets import presets_panel
from lbw.ui.tuner import tuner_panel
from lbw.ui.weights import weights_panel

from .commands import renderer, usual
from .host import CELLS, StudioHost
from .renderer import PictureRenderer
from .server import StudioFiles, application, head, serve
from .store import StudioPresets

EXAMPLE = "a large red star on a white background, flat style"

_SMALLEST = 384
"""Minimum size of a picture on the page, in pixels: those of the bundled model are small."""


def run(options: argparse.Namespace) -> int:
    """Serve the page on this machine until Ctrl-C."""
    scripts = head(options.language)  # before the model is loaded, so that errors are reported at once
    store = StudioPresets(weights=options.presets, rules=options.elements)
    app = build(renderer(options), options.model is None, store, scripts)
    serve(app, options.port, not options.no_browser)
    return 0


def build(
    maker: PictureRenderer,
    bundled: bool,
    store: StudioPresets,
    scripts: str,
    output: Path = Path("lbw-output"),
    cells: Path = CELLS,
) -> FastAPI:
    """Return the page for the model and the LoRA files of `maker`, and the routes, as a server.

    bundled: whether it has the bundled model. scripts: the result of `head`. output: the folder for analyses. cells:
    the folder for finished pictures.
    """

    def fresh() -> PictureRenderer:
        return replace(maker, presets=store.presets(), elements=store.elements())

    host = StudioHost(fresh, bundled, output.resolve(), cells, EXAMPLE)
    files = StudioFiles(store, maker.host.library, maker.host.architecture)
    sessions = Sessions(host)
    page = _page(maker, fresh, sessions, host, files, bundled, scripts).queue(default_concurrency_limit=1)
    return application(page, files, sessions)


def _page(
    maker: PictureRenderer,
    fresh: Callable[[], PictureRenderer],
    sessions: Sessions,
    host: StudioHost,
    files: StudioFiles,
    bundled: bool,
    scripts: str,
) -> gr.Blocks:
    store = files.store
    values = usual(maker, bundled)
    names = maker.host.library.names()
    first = names[0] if names else "name"
    css = (ROOT / "style.css").read_text(encoding="utf-8")
    with gr.Blocks(title=t("LoRA Block Weight"), analytics_enabled=False, css=css, head=scripts) as page:
        gr.HTML("<h1>LoRA Block Weight</h1>")
        with gr.Tab(t("Picture")):
            PicturePanel(fresh, values, first)
        with gr.Tab(t("Analyze")):
            analyzer = gr.Column()
        with gr.Tab(t("Presets")):
            editor = presets_panel(store)
            with gr.Tab(t("Make weights")):
                weights_panel(editor, host.loaded, files)
            with gr.Tab(t("Block map")):
                block_map_panel(files, host.loaded, lambda: maker.model)
            with gr.Tab(t("Elemental presets")):
                presets_panel(store, "elements")
        with gr.Tab(t("Tuner")):
            tuner = tuner_panel(host, store, editor, files)
            hints_panel(store, tuner)
        with analyzer:
            analyze_panel(host, sessions, editor, tuner)
    return page


class PicturePanel:
    """The tab *Picture*, within the current page: renders a prompt with its tags.

    fields: the controls of a request, by the names of its options; `size` sets both its width and its height.
    """

    def __init__(self, fresh: Callable[[], PictureRenderer], values: Mapping[str, Any], lora: str) -> None:
        """Add the controls.

        fresh: returns a renderer with the latest presets. values: the first size, steps and CFG scale. lora: the name
        of the LoRA in the first prompt.
        """
        self._fresh = fresh
        with gr.Row():
            self.size = gr.Slider(
                64, 1024, value=values["width"], step=8, label=t("Size"), info=t("width and height, in pixels")
            )
            steps = gr.Slider(1, 60, value=values["steps"], step=1, label=t("Sampling steps"))
            cfg = gr.Slider(1, 15, value=values["cfg_scale"], step=0.5, label=t("CFG scale"))
            seed = gr.Number(value=1, precision=0, label=t("Seed"))
        prompt = gr.Textbox(
            f"{EXAMPLE} <lora:{lora}:1:lbw=1>",
            label=t("Prompt"),
            lines=2,
            elem_id="prompt",
            elem_classes=["lbw-prompt"],
        )
        self.generate = gr.Button(t("Generate"), variant="primary", elem_id="generate")
        self.picture = gr.HTML(elem_id="picture")
        self.infotext = gr.Textbox(label=t("Infotext and messages"), interactive=False, lines=4, elem_id="infotext")
        self.fields = {"prompt": prompt, "steps": steps, "cfg_scale": cfg, "seed": seed}
        asked, shown = {self.size, *self.fields.values()}, {self.picture, self.infotext}
        listen(self.generate.click, self._rendered, asked, shown, queue=True, show_progress="full")

    def _rendered(self, values: Values) -> Updates:
        side = int(values[self.size]) // 8 * 8
        given = {name: values[control] for name, control in self.fields.items()}
        try:
            made = self._fresh().render(PictureRequest.read({**given, "width": side, "height": side}))
        except LbwError as error:
            return {self.picture: "", self.infotext: str(error)}
        view = picture(png_uri(encoded(made.image, made.infotext)), "picture", max(made.image.width, _SMALLEST))
        return {self.picture: view, self.infotext: "\n".join([made.infotext, *made.problems])}
