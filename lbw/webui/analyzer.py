"""The selectable script: the Effective Block Analyzer and the XYZ plot for one generation."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from modules import images, processing, scripts, shared
from PIL import Image

from lbw.analysis.cells import AUTO, Cell, choose, parse_span, whole_number
from lbw.analysis.effective_blocks import BLACK, WHITE, Analysis, Settings, Suggestion, suggest
from lbw.analysis.measure import Mask, picture_mask, rectangle_mask
from lbw.analysis.prompt import tag_to_analyze, tags_for_cells
from lbw.analysis.report import plot_figures, report, write_figures
from lbw.analysis.runner import CannotKeepError, Outcome, run
from lbw.analysis.sheet import Sheet, analysis_grid, analysis_head, bar_chart, first_rendered, plot_sheets
from lbw.analysis.store import CellStore, forget_oldest
from lbw.analysis.xyz import AxisType, Grid, build, parse_axis, random_seed, touched_cells
from lbw.core.errors import FileError, LbwError, WeightsError, quote
from lbw.core.limits import SEEDS
from lbw.core.presets import merged
from lbw.core.tag import LoraRequest
from lbw.ui.markup import GUESS

from . import cells, messages
from .cells import WebuiRenderer
from .generation import running
from .hook import Hook
from .lora_files import lora_paths, lora_tensors
from .options import ARGUMENTS, RequestOptions, read_arguments
from .page import Page

MODES = ("Disable", "XYZ plot", "Effective Block Analyzer")
OFF, PLOT, ANALYZER = range(3)
FIGURES = "LBW analysis"
NAMES = tuple(name for name, _ in ARGUMENTS[:17])
AXES = [kind.value for kind in AxisType]


class Analyzer:
    """One run of the script: what was asked for, checked before anything is rendered."""

    def __init__(self, p: Any, hook: Hook, arguments: Sequence[Any], own_arguments: range, mask: str = "") -> None:
        self.p = p
        self.hook = hook
        self.given: dict[str, Any] = dict(zip(NAMES, arguments))
        self.options = read_arguments(arguments)
        self.own_arguments = own_arguments
        self.remarks: list[str] = []
        self.findings: list[str] = []
        self._mask_text = mask
        processing.fix_seed(p)
        self.seed = int(p.seed)
        self.presets = merged(hook.store.presets(), self.options.presets)
        self.elements = {**hook.store.elements(), **self.options.elements}
        self.prompt = styled_prompt(p)
        self.architecture = hook.architecture()
        if self.architecture.family.is_guess:
            self.remarks.append(GUESS)

    def text(self, name: str, default: str) -> str:
        """Return an argument as text; what is missing or empty says nothing."""
        value = self.given.get(name)
        return default if value is None or str(value).strip() == "" else str(value).strip()

    def run(self) -> Any:
        """Render the grids; return the WebUI's result."""
        forget_oldest(cells.CELLS)
        return self.plot() if mode_of(self.given.get("xyz_mode")) == PLOT else self.analyze()

    # The analyzer -----------------------------------------------------------------------------

    def analyze(self) -> Any:
        """The Effective Block Analyzer."""
        request = tag_to_analyze(self.prompt)
        tensors = self.tensors([request])
        span = parse_span(self.text("range", "0,1"))
        count = whole_number(self.text("seeds", "1"), "number of seed", 1, SEEDS)
        step = max(1, int(self.p.batch_size) * int(self.p.n_iter))
        settings = Settings(
            choices=tuple(choose(self.text("blocks", AUTO), self.architecture, tensors)),
            seeds=tuple(self.seed + number * step for number in range(count)),
            span=span,
            threshold=whole_number(self.text("threshold", "20"), "difference threshold", 0, 255),
            background=WHITE if WHITE in self.text("diff_color", BLACK).lower() else BLACK,
            swap_axes=truth(self.given.get("swap_axes")),
        )
        analysis = Analysis(settings, self.architecture, tensors, self.store(), self.mask())
        cells.expect(self.p, sum(cell not in analysis.store for cell in analysis.cells))
        for _ in analysis.run(self.renderer()):
            pass
        suggestion = suggest(analysis.results)
        if analysis.stop_reason:
            self.remarks.append(analysis.stop_reason)
        self.remarks += [f"the source of seed {s} failed: {error}" for s, error in analysis.source_errors.items()]
        for result in analysis.results:
            self.remarks += [f"{result.choice.label}: {error}" for error in dict.fromkeys(result.errors.values())]
        missing = sum(cell not in analysis.store for cell in analysis.cells)
        if missing:
            self.remarks.append(
                f"{missing} of {len(analysis.cells)} pictures are missing; the same settings again render only those"
            )
        return self.analyzed(analysis, request, suggestion)

    def analyzed(self, analysis: Analysis, request: LoraRequest, suggestion: Suggestion) -> Any:
        """Draw, save and return what an analysis found."""
        font = preferred_font()
        sheets: list[Image.Image] = []
        infotexts: list[str] = []
        paths: list[str | None] = []
        for seed in analysis.settings.seeds:
            source = analysis.store.load(analysis.sources[seed])
            if source is None:
                continue
            sheet = analysis_grid(analysis, seed, self.head(request, analysis, seed), font)
            paths.append(self.save(sheet, source.infotext, seed))
            sheets.append(sheet.image)
            infotexts.append(source.infotext)
        if not sheets:
            return self.answer([], [], {})
        saved = [Path(path) for path in paths if path]
        title = f"{request.name}: {len(analysis.settings.seeds)} seeds" if len(paths) > 1 else request.name
        sheets.append(bar_chart(analysis.results, suggestion, title, font))
        infotexts.append(infotexts[0])
        settings = {"lora": request.name, "prompt": self.prompt, "infotext": infotexts[0]}
        figures = report(analysis, settings, suggestion, request.name, [path.name for path in saved])
        if saved:
            try:
                write_figures(saved[0].with_suffix(""), figures)
            except FileError as error:
                self.remarks.append(str(error))
        best = [f"{result.choice.label} {result.mean:.2f} %" for result in analysis.ranking()[:5]]
        self.findings.append(f"the blocks of {request.name} that change most: {', '.join(best)}")
        self.findings.append(f"as a preset: {suggestion.preset(request.name)}")
        if analysis.reused:
            self.findings.append(
                f"{analysis.reused} pictures were kept from an earlier run, {analysis.rendered} are new"
            )
        return self.answer(sheets, infotexts, figures)

    def head(self, request: LoraRequest, analysis: Analysis, seed: int) -> str:
        """Return what stands above a grid."""
        p = self.p
        strength = f"{request.unet:g}" if request.te == request.unet else f"{request.te:g}:{request.unet:g}"
        how = f"strength {strength}, {p.sampler_name}, {p.steps} steps, CFG scale {p.cfg_scale:g}"
        return analysis_head(request.name, analysis.settings, seed, how)

    def mask(self) -> Mask | Callable[[int, int], Mask] | None:
        """Return the region to look at: the rectangle that was given, else the painted mask of img2img."""
        if self._mask_text:
            text = self._mask_text
            rectangle_mask(text, 100, 100)  # wrong text is told before anything is rendered
            return lambda width, height: rectangle_mask(text, width, height)
        painted = getattr(self.p, "image_mask", None) or getattr(self.p, "mask", None)
        if not isinstance(painted, Image.Image):
            return None
        import numpy as np

        pixels = np.array(painted.convert("RGBA").getchannel("A") if painted.mode == "RGBA" else painted.convert("L"))
        if getattr(self.p, "inpainting_mask_invert", 0):
            pixels = 255 - pixels
        if not pixels.any() or (pixels >= 128).all():
            return None

        def fitted(width: int, height: int) -> Mask:
            made, remark = picture_mask(pixels, width, height)
            if remark and remark not in self.remarks:
                self.remarks.append(remark)
            return made

        return fitted

    # The plot ---------------------------------------------------------------------------------

    def plot(self) -> Any:
        """The XYZ plot."""
        found = tags_for_cells(self.prompt)
        axes = [
            parse_axis(
                self.text(f"{name}_type", "none"),
                self.text(f"{name}_values", ""),
                name.upper(),
                self.architecture,
                self.presets,
                random_seed,
            )
            for name in "xyz"
        ]
        made = build(axes[0], axes[1], axes[2], self.architecture, self.presets, self.seed)
        store = self.store()
        todo = touched_cells(made)
        cells.expect(self.p, sum(cell not in store for cell in todo))
        outcomes: dict[Cell, Outcome] = {}
        try:
            for outcome in run(todo, self.renderer(), store, self.tensors(found)):
                outcomes[outcome.cell] = Outcome(outcome.cell, None, outcome.error, outcome.reused)
        except CannotKeepError as error:
            self.remarks.append(str(error))
        self.remarks += list(dict.fromkeys(f"a cell failed: {o.error}" for o in outcomes.values() if o.error))
        return self.plotted(made, outcomes, store, found)

    def plotted(
        self, made: Grid, outcomes: Mapping[Cell, Outcome], store: CellStore, found: Sequence[LoraRequest]
    ) -> Any:
        """Draw, save and return a plot, a grid for each value of Z."""
        first = first_rendered(made, store)
        if first is None:
            return self.answer([], [], {})
        names = ", ".join(request.name for request in found)
        errors = {cell: outcome.error for cell, outcome in outcomes.items()}
        sheets = []
        for z, sheet in enumerate(plot_sheets(made, errors, store, names, preferred_font())):
            self.save(sheet, first.infotext, made.cells[z, 0, 0].seed)
            sheets.append(sheet.image)
        figures = {"settings": {"loras": names, "prompt": self.prompt}, **plot_figures(made)}
        return self.answer(sheets, [first.infotext] * len(sheets), figures)

    # Both -------------------------------------------------------------------------------------

    def tensors(self, requests: Sequence[LoraRequest]) -> dict[str, int]:
        """Return how many modules the LoRAs have in each block; see `lora_tensors`."""
        return lora_tensors(self.hook, self.architecture, requests)

    def store(self) -> CellStore:
        """Return where the finished cells of these settings are kept."""
        files = lora_paths(self.hook, self.prompt)
        return CellStore(cells.CELLS, cells.context(self.p, self.own_arguments, files, self.presets | self.elements))

    def renderer(self) -> WebuiRenderer:
        """Return what renders the cells."""
        return WebuiRenderer(self.p, RequestOptions(True, self.options.presets, self.options.elements), self.elements)

    def save(self, sheet: Sheet, infotext: str, seed: int) -> str | None:
        """Save a grid where the WebUI keeps its grids, if it keeps any; return the file."""
        if sheet.remark and sheet.remark not in self.remarks:
            self.remarks.append(sheet.remark)
        if not shared.opts.grid_save or self.p.do_not_save_grid:
            return None
        path, _ = images.save_image(
            sheet.image,
            self.p.outpath_grids,
            "lbw_grid",
            seed=seed,
            prompt=self.prompt,
            extension=shared.opts.grid_format,
            info=infotext,
            short_filename=not shared.opts.grid_extended_filename,
            grid=True,
            p=self.p,
        )
        return str(path) if path else None

    def answer(self, sheets: list[Image.Image], infotexts: list[str], figures: Mapping[str, Any]) -> Any:
        """Return the WebUI's result, with the remarks under the images."""
        if not sheets:
            self.remarks.append("no grid: no picture was finished")
        messages.tell(self.p, self.remarks)
        messages.note(self.p, self.findings)
        self.p.all_seeds = [self.seed] * max(1, len(sheets))
        self.p.all_prompts = [self.p.prompt] * max(1, len(sheets))
        processed = processing.Processed(
            self.p, list(sheets), seed=self.seed, info=infotexts[0] if infotexts else "", infotexts=list(infotexts)
        )
        processed.extra_generation_params = dict(self.p.extra_generation_params)
        if figures:
            processed.extra_generation_params[FIGURES] = json.dumps(figures, ensure_ascii=False)
        messages.answer(self.p, processed)
        return processed


def mode_of(value: Any) -> int:
    """Return the mode that an argument names: its number, or its name.

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
    raise WeightsError(f"mode {quote(text)} is none; write 1 for the XYZ plot, 2 for the Effective Block Analyzer")


def truth(value: Any) -> bool:
    """Return whether an argument is on; a request may write it as text."""
    return value is True or str(value).strip().lower() in ("true", "1", "yes", "on")


def styled_prompt(p: Any) -> str:
    """Return the prompt of `p` with its styles; a tag may stand in one of them."""
    prompt = p.prompt[0] if isinstance(p.prompt, list) else p.prompt
    styles = getattr(shared, "prompt_styles", None)
    return str(styles.apply_styles_to_prompt(prompt, p.styles) if styles and p.styles else prompt)


def preferred_font() -> str | None:
    """Return the font that the user has set for grids."""
    return str(getattr(shared.opts, "font", "") or "") or None


def runs(arguments: Sequence[Any]) -> bool:
    """Tell whether the script's arguments ask for grids at all."""
    given = dict(zip(NAMES, arguments))
    return read_arguments(arguments).enabled and mode_of(given.get("xyz_mode")) != OFF


class AnalyzerScript(scripts.Script):
    """In the Script list of txt2img and img2img."""

    hook: Hook
    page: Page

    def region_of(self, p: Any) -> str:
        """Return the rectangle that the accordion's last argument names."""
        for script in getattr(p.scripts, "alwayson_scripts", ()):
            if getattr(script, "lbw_region_argument", None) is not None:
                place = script.args_from + script.lbw_region_argument
                value = p.script_args[place] if place < len(p.script_args) else None
                return str(value or "").strip()
        return ""

    def title(self) -> str:
        return messages.TITLE

    def show(self, is_img2img: bool) -> Any:
        return True

    def ui(self, is_img2img: bool) -> list[Any]:
        """Seventeen components, in the order of the predecessor's arguments."""
        tab = "img2img" if is_img2img else "txt2img"

        def name(field: str) -> str:
            return f"lbw_{tab}_script_{field}"

        gr.HTML(
            "Grids that show what each block of a LoRA does. Write this tag in the prompt: "
            "<code>&lt;lora:name:1:lbw=XYZ&gt;</code>"
            "<br>To apply block weights, nothing has to be chosen here: see the accordion “LoRA Block Weight”.",
            elem_id=name("help"),
        )
        mode = gr.Radio(list(MODES), value=MODES[ANALYZER], type="index", label="Mode", elem_id=name("mode"))
        with gr.Column() as analyzer:
            with gr.Row():
                span = gr.Textbox("0,1", label="Range", elem_id=name("range"))
                blocks = gr.Textbox(
                    AUTO,
                    label="Blocks",
                    placeholder="auto, 12ALL … 63ALL, EARLY, IN04-IN08,OUT01",
                    elem_id=name("blocks"),
                )
                seeds = gr.Number(1, precision=0, label="number of seed", elem_id=name("seeds"))
            with gr.Row():
                colour = gr.Radio([BLACK, WHITE], value=BLACK, label="diff image color", elem_id=name("color"))
                threshold = gr.Textbox("20", label="difference threshold", elem_id=name("threshold"))
                swap = gr.Checkbox(False, label="change X-Y", elem_id=name("swap"))
            region = gr.Textbox(
                "",
                label="Region",
                placeholder="left,top,right,bottom in percent: what changes inside and outside of it",
                elem_id=name("region"),
            )
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
            presets, enabled, mode, x_type, x, y_type, y, z_type, z, span, blocks, seeds, colour, threshold, swap,
            elements, print_change,
        ]  # fmt: skip

    def run(self, p: Any, *arguments: Any) -> Any:
        if not runs(arguments):
            return None
        try:
            with running(p):
                return Analyzer(p, self.hook, arguments, range(self.args_from, self.args_to), self.region_of(p)).run()
        except LbwError as error:
            messages.log.warning("%s: %s", messages.TITLE, error)
            raise
