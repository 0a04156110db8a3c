"""The tab *LoRA Block Weight*: the panels, with the WebUI as their host."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from lbw.analysis.sessions import Sessions
from lbw.core.texts import t
from lbw.ui.analyze import analyze_panel
from lbw.ui.block_map import block_map_panel
from lbw.ui.gradio_versions import Updates, Values, listen, tooltips
from lbw.ui.hints import hints_panel
from lbw.ui.presets import presets_panel
from lbw.ui.tuner import tuner_panel
from lbw.ui.weights import weights_panel

from .messages import TITLE, host_notice
from .page import FIELDS, TABS
from .panel_host import PanelHost

TAKE = {"txt2img": t("Take from txt2img"), "img2img": t("Take from img2img")}
"""What the buttons say, by the host's tab."""


class Tab:
    """The tab: its panels, and their connection to the host's own tabs.

    theirs: the host's components by `elem_id`; see `Page`.
    """

    def __init__(self, sessions: Sessions, theirs: Mapping[str, Any]) -> None:
        """sessions: of the WebUI's server."""
        assert isinstance(sessions.host, PanelHost)
        self.host = sessions.host
        self.sessions = sessions
        self.store = self.host.hook.store
        self.theirs = theirs

    def build(self) -> list[tuple[Any, str, str]]:
        """Return the tab in the form expected by the host's `on_ui_tabs`."""
        with gr.Blocks(analytics_enabled=False) as page:
            if notice := host_notice(self.host.hook.unknown()):
                gr.HTML(notice, elem_id="lbw_notice")
            with gr.Tabs(elem_id="lbw_tabs"):
                analyze_tab = gr.Tab(t("Analyze"), elem_id="lbw_tab_analyze")
                with gr.Tab(t("Presets"), elem_id="lbw_tab_presets"):
                    editor = presets_panel(self.store)
                    with gr.Tab(t("Make weights"), elem_id="lbw_tab_weights"):
                        weights_panel(editor, self.host.loaded, self.host.hook)
                    with gr.Tab(t("Block map"), elem_id="lbw_tab_map"):
                        block_map_panel(self.host.hook, self.host.loaded, self.host.model_file)
                    with gr.Tab(t("Elemental presets"), elem_id="lbw_tab_elements"):
                        presets_panel(self.store, "elements")
                with gr.Tab(t("Tuner"), elem_id="lbw_tab_tuner"):
                    tuner_buttons = self._take_buttons("tuner")
                    tuner = tuner_panel(self.host, self.store, editor, self.host.hook)
                    hints_panel(self.store, tuner)
                with analyze_tab:
                    buttons = self._take_buttons("analyze")
                    panel = analyze_panel(self.host, self.sessions, editor, tuner)
            self._connect(buttons, panel.fields, -1)
            self._connect(tuner_buttons, {**tuner.picture.fields, "seed": tuner.seed}, gr.update())
        for component in page.blocks.values():
            component.do_not_save_to_config = True
        return [(page, TITLE, "lbw")]

    def _take_buttons(self, panel: str) -> dict[str, Any]:
        """Return the buttons that copy the fields from the host's own tabs."""
        with gr.Row():
            buttons = {tab: gr.Button(TAKE[tab], elem_id=f"lbw_{panel}_take_{tab}") for tab in TABS}
        texts = {
            f"lbw_{panel}_take_{tab}": t("Copies the prompt, size, steps, CFG scale, sampler and last seed from there.")
            for tab in TABS
        }
        tooltips(texts)
        return buttons

    def _connect(self, buttons: Mapping[str, Any], fields: Mapping[str, Any], no_seed: Any) -> None:
        """Let the buttons take what the host's fields hold, as far as the host has them.

        fields: of our panel, by the options of a request. no_seed: what becomes of the seed where the host's is random
        and there is no picture yet.
        """
        for tab, button in buttons.items():
            sources = {
                fields[option]: self.theirs[f"{tab}_{name}"]
                for option, name in FIELDS.items()
                if f"{tab}_{name}" in self.theirs
            }
            info = self.theirs.get(f"generation_info_{tab}")
            if sources:
                take = _taker(sources, fields["seed"], info, no_seed)
                listen(button.click, take, {*sources.values(), *([] if info is None else [info])}, set(sources))


def _taker(sources: Mapping[Any, Any], seed: Any, info: Any, no_seed: Any) -> Callable[[Values], Updates]:
    """Return the handler that gives each of our fields what the host's holds that is its source.

    seed: the field that gets `no_seed` where the host's is random and `info`, which tells of the host's last picture,
    has none either.
    """

    def take(values: Values) -> Updates:
        taken = {field: values[source] for field, source in sources.items()}
        if seed in taken:
            last = _last_seed(taken[seed], None if info is None else values[info])
            taken[seed] = no_seed if last == -1 else last
        return taken

    return take


def _last_seed(seed: Any, info: Any) -> Any:
    """Return `seed` or, if it is -1, the seed of the last picture, if there is one."""
    if str(seed) not in ("-1", "-1.0", ""):
        return seed
    try:
        return int(json.loads(info or "{}").get("seed", -1))
    except (TypeError, ValueError):
        return -1
