"""The selectable script: the Effective Block Analyzer and the XYZ plot for one generation."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from modules import processing, scripts, shared
from PIL import Image

from lbw.analysis.analysis_session import CHART, AnalysisSession
from lbw.analysis.effective_blocks import ranking
from lbw.analysis.plot_session import PlotSession
from lbw.analysis.request import AnalysisRequest, PictureRequest, PlotRequest
from lbw.analysis.session import INFO, NOT_DRAWN, Drawn, Prepared, Show
from lbw.analysis.xyz import AxisType
from lbw.core.errors import LbwError, WeightsError, quote
from lbw.core.presets import merged
from lbw.core.tag import LoraRequest
from lbw.core.texts import t
from lbw.ui.markup import words

from . import cells, messages
from .cells import WebuiRenderer, is_stopped
from .generation import running
from .hook import Hook
from .options import ARGUMENTS, RequestOptions, read_arguments
from .page import Page
from .prepare import RESULTS, prepared

MODES = (t("Disable"), t("XYZ plot"), t("Effective Block Analyzer"))
OFF, PLOT, ANALYZER = range(3)
FIGURES = "LBW analysis"
NAMES = tuple(name for name, _ in ARGUMENTS[:17])
AXES = [kind.value for kind in AxisType]


class ScriptHost:
    """Renders the cells of one generation `p`, for the sessions of the script."""

    def __init__(self, p: Any, hook: Hook, options: RequestOptions, own_arguments: range) -> None:
        self.p = p
        self.hook = hook
        self.options = options
        self.own_arguments = own_arguments

    def prepare(
        self, request: PictureRequest, loras: Sequence[LoraRequest], show: Show, stopped: Callable[[], bool]
    ) -> Prepared:
        """Return what is needed to render the cells of `request`; see `lbw.analysis.session.Host`."""
        p, store, options = self.p, self.hook.store, self.options
        presets = merged(store.presets(), options.presets)
        elements = {**store.elements(), **options.elements}
        renderer = WebuiRenderer(p, RequestOptions(True, options.presets, options.elements), elements, show)
        saves = shared.opts.grid_save and not p.do_not_save_grid
        output = Path(p.outpath_grids) / RESULTS if saves else None
        made = prepared(self.hook, p, loras, renderer, presets, self.own_arguments, output, stopped, request)
        return replace(made, stopped=is_stopped)


def conduct(p: Any, hook: Hook, arguments: Sequence[Any], own_arguments: range, region: str = "") -> Any:
    """Run the analysis or the plot in the script's arguments, and return the WebUI's result.

    own_arguments: the positions of the script's arguments among those of all scripts. region: a rectangle in percent.

    Raises:
        LbwError: an argument is not valid; nothing was rendered.
    """
    given = dict(zip(NAMES, arguments))
    host = ScriptHost(p, hook, read_arguments(arguments), own_arguments)
    processing.fix_seed(p)
    picture = {
        "prompt": styled_prompt(p), "negative_prompt": first_of(p.negative_prompt), "seed": int(p.seed),
        "steps": p.steps, "width": p.width, "height": p.height, "cfg_scale": p.cfg_scale,
        "sampler_name": p.sampler_name,
    }  # fmt: skip
    session: AnalysisSession | PlotSession
    if mode_of(given.get("xyz_mode")) == PLOT:
        session = PlotSession(host, PlotRequest.read({**given, **picture}))
        todo = list(session.cells)
    else:
        asked = AnalysisRequest.read({**given, **picture, "region": region, "mask": painted_mask(p)})
        session = AnalysisSession(host, asked)
        todo = session.analysis.cells
    cells.expect(p, sum(cell not in session.prepared.store for cell in todo))
    session.keeps_grids = True
    session.run()
    return answer(p, session)


def answer(p: Any, session: AnalysisSession | PlotSession) -> Any:
    """Return the WebUI's result of a session, with messages below the images."""
    drawn = list(session.grids)
    if drawn and isinstance(session, AnalysisSession):
        drawn.append(Drawn(session.chart(), drawn[0].infotext, session.folder and session.folder / CHART))
    for one in drawn:
        if one.path is not None:
            one.image.already_saved_as = str(one.path)  # the host's gallery shows this file instead of creating another
    remarks = [str(message) for message in session.messages if message.level != INFO]
    if not drawn and NOT_DRAWN not in remarks:
        remarks.append(t("no grid, because no picture was finished"))
    messages.tell(p, remarks)
    messages.note(p, findings(session) if drawn else [])
    seed, infotexts = session.request.seed, [one.infotext for one in drawn]
    p.all_seeds = [seed] * max(1, len(drawn))
    p.all_prompts = [p.prompt] * max(1, len(drawn))
    processed = processing.Processed(
        p, [one.image for one in drawn], seed=seed, info=infotexts[0] if infotexts else "", infotexts=infotexts
    )
    processed.extra_generation_params = dict(p.extra_generation_params)
    if drawn:
        processed.extra_generation_params[FIGURES] = json.dumps(session.figures(), ensure_ascii=False)
    messages.answer(p, processed)
    return processed


def findings(session: AnalysisSession | PlotSession) -> list[str]:
    """Return the text below the grids: the blocks with the largest change, the suggestion, and the folder."""
    found = [str(message) for message in session.messages if message.level == INFO]
    if isinstance(session, AnalysisSession):
        best = [f"{result.choice.label} {result.mean:.2f} %" for result in ranking(session.results)[:5]]
        found = [
            t("the blocks of {lora} that change most: {blocks}", lora=session.lora, blocks=", ".join(best)),
            t("as a preset: {preset}", preset=session.suggestion.preset(session.preset_name)),
            *found,
        ]
    return [*found, t("saved in {folder}", folder=session.folder)] if session.files else found


def painted_mask(p: Any) -> np.ndarray[Any, Any] | None:
    """Return the mask painted in img2img as a grayscale picture; None if there is none, or everything is painted."""
    painted = getattr(p, "image_mask", None) or getattr(p, "mask", None)
    if not isinstance(painted, Image.Image):
        return None
    pixels = np.array(painted.convert("RGBA").getchannel("A") if painted.mode == "RGBA" else painted.convert("L"))
    if getattr(p, "inpainting_mask_invert", 0):
        pixels = 255 - pixels
    return None if not pixels.any() or (pixels >= 128).all() else pixels


def mode_of(value: Any) -> int:
    """Return the mode in an argument: its number, or its name.

    Raises:
        WeightsError: there is no such mode.
    """
    text = str(value if value is not None else "").strip()
    if text in ("", "None", "False"):
        return OFF
    if text in ("0", "1", "2"):
        return int(text)
    if text in MODES:
        return MODES.index(text)
    raise WeightsError(
        t(
            "unknown mode {text}; write 1 for the XYZ plot or 2 for the Effective Block Analyzer",
            text=quote(text),
        )
    )


def first_of(text: Any) -> str:
    """Return the text, or the first one if a generation has a list."""
    return str(text[0] if isinstance(text, list) else text)


def styled_prompt(p: Any) -> str:
    """Return the prompt of `p` with its styles; a tag may be in one of them."""
    prompt = first_of(p.prompt)
    styles = getattr(shared, "prompt_styles", None)
    return str(styles.apply_styles_to_prompt(prompt, p.styles) if styles and p.styles else prompt)


def runs(arguments: Sequence[Any]) -> bool:
    """Return whether the script's arguments request grids."""
    given = dict(zip(NAMES, arguments))
    return read_arguments(arguments).enabled and mode_of(given.get("xyz_mode")) != OFF


class AnalyzerScript(scripts.Script):
    """In the Script list of txt2img and img2img."""

    hook: Hook
    page: Page

    def region_of(self, p: Any) -> str:
        """Return the rectangle in the accordion's last argument."""
        for script in getattr(p.scripts, "alwayson_scripts", ()):
            if getattr(script, "lbw_region_argument", None) is not None:
                index = script.args_from + script.lbw_region_argument
                value = p.script_args[index] if index < len(p.script_args) else None
                return str(value or "").strip()
        return ""

    def title(self) -> str:
        return messages.TITLE

    def show(self, is_img2img: bool) -> Any:
        return True

    def ui(self, is_img2img: bool) -> list[Any]:
        """Seventeen components, in the order of the predecessor's arguments."""
        tab = "img2img" if is_img2img else "txt2img"

        known = AnalysisRequest.options()

        def name(field: str) -> str:
            return f"lbw_{tab}_script_{field}"

        def text(field: str) -> Any:
            return gr.Textbox(str(known[field].default), label=known[field].label, elem_id=name(field))

        gr.HTML(
            words(t("Grids that show what each block of a LoRA does. Use this tag in the prompt:"))
            + " <code>&lt;lora:name:1:lbw=XYZ&gt;</code><br>"
            + words(t("You do not need this to apply block weights: see the accordion “LoRA Block Weight”.")),
            elem_id=name("help"),
        )
        mode = gr.Radio(list(MODES), value=MODES[ANALYZER], type="index", label=t("Mode"), elem_id=name("mode"))
        with gr.Column() as analyzer:
            with gr.Row():
                span = text("range")
                blocks = gr.Textbox(
                    known["blocks"].default, label=known["blocks"].label, elem_id=name("blocks"),
                    placeholder=t("auto, 12ALL … 63ALL, EARLY, IN04-IN08,OUT01"),
                )  # fmt: skip
                seeds = gr.Number(
                    known["seeds"].default, precision=0, label=known["seeds"].label, elem_id=name("seeds")
                )
            with gr.Row():
                color = gr.Radio(
                    list(known["diff_color"].allowed), value=known["diff_color"].default,
                    label=known["diff_color"].label, elem_id=name("color"),
                )  # fmt: skip
                threshold = text("threshold")
                swap = gr.Checkbox(known["swap_axes"].default, label=known["swap_axes"].label, elem_id=name("swap"))
            region = gr.Textbox(
                known["region"].default, label=known["region"].label, elem_id=name("region"),
                placeholder=t("left,top,right,bottom in percent: measures changes inside and outside of it"),
            )  # fmt: skip
        if tab in self.page.regions:
            region.change(lambda text: text, [region], [self.page.regions[tab]], show_progress=False)
        axes: dict[str, tuple[Any, Any]] = {}
        with gr.Column(visible=False) as plot:
            for axis, kind, values in (
                ("x", AxisType.VALUES, "0,0.25,0.5,0.75,1"),
                ("y", AxisType.BLOCKS, "BASE,IN,M00,OUT"),
                ("z", AxisType.NONE, ""),
            ):
                with gr.Row():
                    axes[axis] = (
                        gr.Dropdown(
                            AXES, value=kind.value, label=f"{axis.upper()} Types", elem_id=name(f"{axis}_type")
                        ),
                        gr.Textbox(values, label=f"{axis.upper()} Values", elem_id=name(f"{axis}_values")),
                    )
        presets = gr.Textbox("", visible=False, label="Presets", elem_id=name("presets"))
        enabled = gr.Checkbox(True, visible=False, label="Active", elem_id=name("active"))
        elements = gr.Textbox("", visible=False, label="Elemental presets", elem_id=name("elements"))
        print_change = gr.Checkbox(False, visible=False, label="print change", elem_id=name("print"))
        mode.change(
            lambda index: [gr.update(visible=index == ANALYZER), gr.update(visible=index == PLOT)],
            inputs=[mode],
            outputs=[analyzer, plot],
            show_progress=False,
        )
        (x_type, x), (y_type, y), (z_type, z) = axes["x"], axes["y"], axes["z"]
        return [
            presets, enabled, mode, x_type, x, y_type, y, z_type, z, span, blocks, seeds, color, threshold, swap,
            elements, print_change,
        ]  # fmt: skip

    def run(self, p: Any, *arguments: Any) -> Any:
        if not runs(arguments):
            return None
        try:
            with running(p):
                return conduct(p, self.hook, arguments, range(self.args_from, self.args_to), self.region_of(p))
        except LbwError as error:
            messages.log.warning("%s: %s", messages.TITLE, error)
            raise
