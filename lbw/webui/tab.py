"""The tab *LoRA Block Weight*: the panels, with the WebUI as their host."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from lbw.analysis.sessions import Sessions
from lbw.ui.analyze import AnalyzePanel, analyze_panel
from lbw.ui.block_map import block_map_panel
from lbw.ui.gradio_versions import listen, tooltips
from lbw.ui.hints import hints_panel
from lbw.ui.picture_fields import PictureFields
from lbw.ui.presets import presets_panel
from lbw.ui.tuner import tuner_panel
from lbw.ui.weights import weights_panel

from .messages import TITLE, host_notice
from .page import FIELDS, TABS
from .panel_host import PanelHost


class Tab:
    """The tab, as far as it is not of its panels: their connection with the host's own tabs.

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
        """Return the tab, as the host's `on_ui_tabs` takes it."""
        with gr.Blocks(analytics_enabled=False) as page:
            if notice := host_notice(self.host.hook.unknown()):
                gr.HTML(notice, elem_id="lbw_notice")
            with gr.Tabs(elem_id="lbw_tabs"):
                analyze_tab = gr.Tab("Analyze", elem_id="lbw_tab_analyze")
                with gr.Tab("Presets", elem_id="lbw_tab_presets"):
                    editor = presets_panel(self.store)
                    with gr.Tab("Make weights", elem_id="lbw_tab_weights"):
                        weights_panel(editor, self.host.loaded, self.host.hook)
                    with gr.Tab("Block map", elem_id="lbw_tab_map"):
                        block_map_panel(self.host.hook, self.host.loaded, self.host.model_file)
                    with gr.Tab("Elemental presets", elem_id="lbw_tab_elements"):
                        presets_panel(self.store, "elements")
                with gr.Tab("Tuner", elem_id="lbw_tab_tuner"):
                    tuner_buttons = self._take_buttons("tuner")
                    tuner = tuner_panel(self.host, self.store, editor)
                    hints_panel(self.store, tuner)
                with analyze_tab:
                    buttons = self._take_buttons("analyze")
                    panel = analyze_panel(self.host, self.sessions, editor, tuner)
            self._connect(buttons, _fields_of(panel, panel.seed), -1)
            self._connect(tuner_buttons, _fields_of(tuner.picture, tuner.seed), gr.update())
        for component in page.blocks.values():
            component.do_not_save_to_config = True
        return [(page, TITLE, "lbw")]

    def _take_buttons(self, panel: str) -> dict[str, Any]:
        """Return the buttons that take the fields from the host's own tabs."""
        with gr.Row():
            buttons = {tab: gr.Button(f"Take from {tab}", elem_id=f"lbw_{panel}_take_{tab}") for tab in TABS}
        texts = {
            f"lbw_{panel}_take_{tab}": "Prompt, size, steps, CFG scale, sampler and the last seed, as they stand there."
            for tab in TABS
        }
        tooltips(texts)
        return buttons

    def _connect(self, buttons: dict[str, Any], fields: Sequence[Any], no_seed: Any) -> None:
        """Let the buttons take what the host's fields hold, as far as the host has them.

        no_seed: what becomes of the seed where the host's is random and there is no picture yet.
        """
        for tab, button in buttons.items():
            theirs = [self.theirs.get(f"{tab}_{field}") for field in FIELDS]
            pairs = [(mine, other) for mine, other in zip(fields, theirs) if other is not None]
            info = self.theirs.get(f"generation_info_{tab}")
            places = [place for place, (mine, _) in enumerate(pairs) if mine is fields[FIELDS.index("seed")]]
            if pairs:
                inputs = [other for _, other in pairs] + ([info] if info is not None else [])
                listen(button.click, _taker(len(pairs), places, no_seed), inputs, [mine for mine, _ in pairs])


def _fields_of(panel: AnalyzePanel | PictureFields, seed: Any) -> list[Any]:
    """Return the fields of `panel` in the order of the host's."""
    return [panel.prompt, panel.negative, seed, panel.steps, panel.width, panel.height, panel.cfg, panel.sampler]


def _taker(count: int, seed_places: Sequence[int], no_seed: Any) -> Any:
    """Return what takes `count` values, and behind them what the host says of the last picture."""

    def take(*values: Any) -> Any:
        taken = list(values[:count])
        for place in seed_places:
            seed = _last_seed(taken[place], values[count] if len(values) > count else None)
            taken[place] = no_seed if seed == -1 else seed
        return taken if len(taken) > 1 else taken[0]

    return take


def _last_seed(seed: Any, info: Any) -> Any:
    """Return `seed`; where it is -1, that of the last picture, if there is one."""
    if str(seed) not in ("-1", "-1.0", ""):
        return seed
    try:
        return int(json.loads(info or "{}").get("seed", -1))
    except (TypeError, ValueError):
        return -1
