"""The always-on script in txt2img and img2img: an accordion, and the entry point for API requests."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import gradio as gr
from modules import extra_networks, processing, script_callbacks, scripts

from lbw.core.errors import FileError
from lbw.core.texts import t
from lbw.files.user_presets import ROOT, PresetStore
from lbw.ui.markup import words

from . import generation, infotext, messages, predecessor
from .analyzer import AnalyzerScript
from .axes import Axes, plot_scripts
from .cards import Cards
from .hook import Hook, watch
from .options import ARGUMENTS, REGION, read_arguments, register_settings
from .page import Page

store = PresetStore()
hook = Hook(store)
page = Page()
AnalyzerScript.hook, AnalyzerScript.page = hook, page
axes = Axes(hook)
cards = Cards()


def start() -> None:
    """Start up when the WebUI's scripts are loaded, and again at each Reload UI."""
    register_settings()
    try:
        for done in store.create(predecessor.preset_folders(ROOT.parent)):
            messages.log.warning("%s: %s", messages.TITLE, done)
    except FileError as error:
        messages.log.warning("%s: %s", messages.TITLE, error)
    hook.install(extra_networks, processing)
    watch(hook, script_callbacks)
    axes.install(plot_scripts())
    script_callbacks.on_before_ui(lambda: axes.install(plot_scripts()))  # in case the plot is loaded after us
    script_callbacks.on_after_component(page.remember)
    script_callbacks.on_ui_tabs(build_tab)
    script_callbacks.on_app_started(add_api)
    script_callbacks.on_script_unloaded(stop)


@lru_cache
def sessions() -> Any:
    """Return the analyses of this server: those of the tab and those of the API."""
    from lbw.analysis.sessions import Sessions  # here, so that the start does not wait for their imports

    from .panel_host import PanelHost

    return Sessions(PanelHost(hook))


def build_tab() -> list[Any]:
    """Return the tab; an error in it does not affect anything else."""
    from .tab import Tab  # here, because the API alone does not need it

    return Tab(sessions(), page.theirs).build()


def install_cards() -> None:
    """Put block weights on the cards of LoRAs.

    Must be called after everything that hosts do before the page is built, because that creates the page of LoRAs, and
    before they build its editor.
    """
    from modules import ui_extra_networks

    cards.install(getattr(ui_extra_networks, "extra_pages", ()))


def add_api(_demo: Any, app: Any) -> None:
    """Add our routes to the host's server, which has just started."""
    from modules import shared

    from lbw.api import routes  # here, so that the start does not wait for their imports

    routes.add_routes(app, hook, getattr(shared.cmd_opts, "api_auth", None), sessions())


def stop() -> None:
    """Undo what `start` did, and unload the modules: the next load may have new files."""
    import sys

    hook.uninstall()
    axes.uninstall()
    cards.uninstall()
    for name in [name for name in sys.modules if name == "lbw" or name.startswith("lbw.")]:
        del sys.modules[name]


def _names() -> str:
    try:
        return ", ".join(store.file().names)
    except FileError as error:
        return str(error)


class BlockWeightScript(scripts.Script):
    """Always visible; switches block weights on and off, and lists the presets."""

    lbw_region_argument = REGION

    def title(self) -> str:
        return messages.TITLE

    def show(self, is_img2img: bool) -> Any:
        return scripts.AlwaysVisible

    def ui(self, is_img2img: bool) -> list[Any]:
        install_cards()
        tab = "img2img" if is_img2img else "txt2img"
        runner = scripts.scripts_img2img if is_img2img else scripts.scripts_txt2img
        # Not the host's InputAccordion, which would switch block weights off when it is merely closed.
        notice, advice = messages.host_notice(hook.unknown()), predecessor.advice(runner)
        with gr.Accordion(messages.TITLE, open=bool(notice), elem_id=f"lbw_{tab}"):
            if notice:
                gr.HTML(notice, elem_id=f"lbw_{tab}_notice")
            enabled = gr.Checkbox(value=True, label=t("Active"), elem_id=f"lbw_{tab}_active")
            gr.HTML(
                words(t("Write block weights in the prompt, as a preset name, as numbers or by block:"))
                + " <code>&lt;lora:name:1:lbw=PRESET&gt;</code> <code>lbw=1,0,0,…</code> <code>lbw=0,OUT00=1</code><br>"
                + words(t("To see what each block does, choose “LoRA Block Weight” in the “Script” list."))
                + (f"<br>{words(advice)}" if advice else ""),
                elem_id=f"lbw_{tab}_help",
            )
            with gr.Row():
                names = gr.Textbox(
                    value=_names, label=t("Presets"), lines=2, interactive=False, elem_id=f"lbw_{tab}_names", scale=4
                )
                reload_names = gr.Button(t("Reload Tags"), elem_id=f"lbw_{tab}_reload", scale=1)
            reload_names.click(fn=_names, inputs=[], outputs=[names])
            # The panels of the tab are moved here while this is open (javascript/lbw_places.js).
            with gr.Accordion(t("Analyze, Presets, Tuner"), open=False, elem_id=f"lbw_{tab}_panels_part"):
                gr.Column(elem_id=f"lbw_{tab}_panels", elem_classes=["lbw-place"])
            hidden = {
                name: gr.Textbox(value=default, visible=False, elem_id=f"lbw_{tab}_{name}")
                for name, default in ARGUMENTS
                if name != "enabled"
            }
            page.regions[tab] = hidden["region"]
            pasted = gr.Textbox(value="", visible=False, elem_id=f"lbw_{tab}_pasted")
        components = [enabled if name == "enabled" else hidden[name] for name, _ in ARGUMENTS]
        for component in [*components, names, pasted]:
            component.do_not_save_to_config = True
        self.infotext_fields = _paste_fields(pasted)
        return components

    def process(self, p: Any, *arguments: Any) -> None:
        generation.of(p).arguments = read_arguments(arguments)

    def postprocess(self, p: Any, processed: Any, *arguments: Any) -> None:
        messages.answer(p, processed)


def _paste_fields(component: Any) -> list[Any]:
    """Return a wrapper that restores the numbers of an infotext in an API request, for which there is no callback."""
    try:
        from modules.infotext_utils import PasteField
    except ImportError:
        return []
    return [PasteField(component, infotext.prompt_of, api="prompt")]
