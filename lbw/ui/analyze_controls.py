"""The controls of the panel *Analyze*, and their arrangement on the page."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from lbw.analysis.request import FULL, QUICK, AnalysisRequest
from lbw.core.texts import t

from .analyze_views import NOTHING_YET
from .gradio_versions import tooltips
from .mask_painter import NO_SOURCE
from .panel_host import PanelHost

MODES = {t("full: pictures"): FULL, t("quick scan: no pictures"): QUICK}
PAINTED = "lbw_analyze_painted"
"""Where the page writes the painted mask."""


class AnalyzeControls:
    """The controls, created within the current page.

    fields: the controls of a request, by the names of its options. views: the controls that show an analysis.
    """

    def __init__(self, host: PanelHost) -> None:
        first = AnalysisRequest(**vars(host.defaults()))
        with gr.Row(elem_classes=["lbw-row"]):
            with gr.Column(scale=3, min_width=320):
                self._add_what(first)
            with gr.Column(scale=2, min_width=300):
                self._add_pictures(first, host.samplers())
        self._add_mask()
        with gr.Row():
            self.start = gr.Button(t("Analyze"), variant="primary", elem_id=_id("start"))
            self.stop = gr.Button(t("Stop"), elem_id=_id("stop"))
        self.earlier = gr.Dropdown(
            [], label=t("Earlier analyses"), info=t("reopens an analysis with its settings"), elem_id=_id("earlier")
        )
        self.message = gr.HTML(NOTHING_YET, elem_id=_id("message"))
        self.progress = gr.HTML(elem_id=_id("progress"))
        self.pick = gr.Textbox(label="Picked", elem_id=_id("pick"), elem_classes=["lbw-unseen"])
        with gr.Column(visible=False, elem_id=_id("results")) as self.found:
            self._add_results()
            self._add_next()
        self.fields = {
            "mode": self.mode, "prompt": self.prompt, "negative_prompt": self.negative, "seed": self.seed,
            "steps": self.steps, "width": self.width, "height": self.height, "cfg_scale": self.cfg,
            "sampler_name": self.sampler, "range": self.span, "blocks": self.blocks, "seeds": self.seeds,
            "threshold": self.threshold, "diff_color": self.background, "swap_axes": self.swap,
            "region": self.rectangle, "more_prompts": self.more_prompts,
        }  # fmt: skip
        self.views = {
            self.message, self.progress, self.table, self.chart, self.grid, self.low, self.high, self.block,
            self.shown_source, self.large, self.folder, self.files, self.name, self.mask, self.found, self.earlier,
        }  # fmt: skip
        tooltips(_TOOLTIPS)

    def _add_what(self, first: AnalysisRequest) -> None:
        """What is analyzed: LoRA, prompts, blocks, seeds."""
        option = AnalysisRequest.option
        with gr.Row():
            self.lora = gr.Dropdown(
                [], label="LoRA", info=t("adds its tag to the prompt"), elem_id=_id("lora"), scale=2
            )
            self.mode = gr.Radio(
                list(MODES), value=next(iter(MODES)), label=option("mode").label,
                info=t("quick: compares predictions"),
                scale=3,                        elem_id=_id("mode"),
            )  # fmt: skip
        self.prompt = gr.Textbox(
            first.prompt, label=t("Prompt"), info=t("with lbw=XYZ in the tag of the LoRA to analyze"), lines=2,
            elem_id=_id("prompt"), elem_classes=["lbw-prompt"],
        )  # fmt: skip
        self.negative = gr.Textbox(
            first.negative_prompt,
            label=t("Negative prompt"),
            info=t("what the pictures should not show"),
            lines=1,
            elem_id=_id("negative"),
        )
        self.more_prompts = gr.Textbox(
            "",
            label=option("more_prompts").label,
            info=t("one per line; the tag of the first is added to each"),
            lines=1,
            max_lines=6,
            elem_id=_id("more_prompts"),
        )
        with gr.Row():
            self.span = gr.Textbox(
                first.range, label=option("range").label, info=t("the block, all others"), elem_id=_id("range")
            )
            self.blocks = gr.Textbox(
                first.blocks,
                label=option("blocks").label,
                info=t("auto, 12ALL, EARLY, IN04"),
                elem_id=_id("blocks"),
            )
            self.seeds = gr.Textbox(
                str(first.seeds),
                label=option("seeds").label,
                info=t("each with its own source"),
                elem_id=_id("seeds"),
            )
            self.threshold = gr.Textbox(
                str(first.threshold), label=option("threshold").label, info=t("0 to 255"),
                elem_id=_id("threshold"),
            )  # fmt: skip

    def _add_pictures(self, first: AnalysisRequest, samplers: Sequence[str]) -> None:
        """How pictures are rendered and shown."""
        option = AnalysisRequest.option
        with gr.Row():
            self.seed = gr.Number(first.seed, label=t("Seed"), info=t("-1: random"), elem_id=_id("seed"), min_width=80)
            self.steps = gr.Number(
                first.steps, label=t("Steps"), info=t("per picture"), elem_id=_id("steps"), min_width=80
            )
            self.cfg = gr.Number(
                first.cfg_scale, label=t("CFG scale"), info=t("guidance"), elem_id=_id("cfg"), min_width=80
            )
        with gr.Row():
            self.width = gr.Number(first.width, label=t("Width"), info=t("pixels"), elem_id=_id("width"), min_width=80)
            self.height = gr.Number(
                first.height, label=t("Height"), info=t("pixels"), elem_id=_id("height"), min_width=80
            )
        self.sampler = gr.Dropdown(
            samplers, value=first.sampler_name or (samplers[0] if samplers else None), label=t("Sampler"),
            info=t("for the pictures"), visible=bool(samplers), elem_id=_id("sampler"),
        )  # fmt: skip
        with gr.Row():
            self.background = gr.Radio(
                list(option("diff_color").allowed), value=first.diff_color, label=option("diff_color").label,
                info=t("background of the difference"),
                elem_id=_id("background"), min_width=150,
            )  # fmt: skip
            self.swap = gr.Checkbox(
                first.swap_axes, label=option("swap_axes").label, info=t("blocks in columns"),
                elem_id=_id("swap_axes"),
                min_width=150,
            )  # fmt: skip

    def _add_mask(self) -> None:
        """The region that is measured apart: a rectangle, or painted."""
        option = AnalysisRequest.option
        self.is_masked = gr.Checkbox(
            False, label=t("Mask: measure changes inside and outside of a region separately"), elem_id=_id("masked")
        )
        with gr.Column(visible=False, elem_id=_id("mask_part")) as self.mask_part:
            self.rectangle = gr.Textbox(
                "", label=option("region").label, info=t("left,top,right,bottom in percent, for example 25,0,75,50"),
                elem_id=_id("rectangle"),
            )  # fmt: skip
            self.mask = gr.HTML(NO_SOURCE, elem_id=_id("mask"))
            self.painted = gr.Textbox(label="Painted", elem_id=PAINTED, elem_classes=["lbw-unseen"])

    def _add_results(self) -> None:
        """The table, the thresholds, and the pictures of a block."""
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                self.table = gr.HTML(elem_id=_id("table"))
            with gr.Column(scale=2, min_width=320):
                self.low = gr.Slider(
                    0,
                    100,
                    value=0,
                    step=0.001,
                    label=t("Not needed at most"),
                    info=t("mean %, for the suggestion"),
                    elem_id=_id("low"),
                )
                self.high = gr.Slider(
                    0, 100, value=0, step=0.001, label=t("Needed at least"), info=t("mean %, for the suggestion"),
                    elem_id=_id("high"),
                )  # fmt: skip
                self.automatic = gr.Button(t("Automatic thresholds"), elem_id=_id("automatic"))
                self.chart = gr.HTML(elem_id=_id("chart"))
        with gr.Row():
            self.block = gr.Dropdown(
                [],
                label=t("Block"),
                info=t("shown at full size; or click a row of the table"),
                elem_id=_id("block"),
            )
            self.shown_source = gr.Dropdown(
                [], label=t("Source shown"), info=t("at full size and in the grid"), elem_id=_id("shown_source")
            )
        self.large = gr.HTML(elem_id=_id("large"))
        self.grid = gr.HTML(elem_id=_id("grid"))

    def _add_next(self) -> None:
        """What can be done with the results."""
        with gr.Row(elem_classes=["lbw-row"]):
            self.to_tuner = gr.Button(t("Send to tuner"), elem_id=_id("to_tuner"), min_width=130)
            self.name = gr.Textbox("", label=t("Identifier"), info=t("the name of the preset"), elem_id=_id("name"))
            self.save = gr.Button(t("Save suggestion as preset"), elem_id=_id("save"), min_width=130)
            self.send_tag = gr.Button(t("Send tag to prompt"), elem_id=_id("send_tag"), min_width=130)
        self.tag = gr.Textbox(
            label=t("Tag"), info=t("with the suggestion; also added to the prompt"), interactive=False, lines=1,
            show_copy_button=True, elem_id=_id("tag"),
        )  # fmt: skip
        with gr.Row(elem_classes=["lbw-row"]):
            self.folder = gr.Textbox(
                label=t("Folder"), info=t("where the results are saved"), interactive=False, show_copy_button=True,
                elem_id=_id("folder"), scale=2,
            )  # fmt: skip
            self.open_folder = gr.Button(t("Open folder"), elem_id=_id("open_folder"), min_width=110)
        with gr.Row():
            self.files = gr.File(label=t("Results: JSON, CSV, pictures"), file_count="multiple", elem_id=_id("files"))


def _id(control: str) -> str:
    return f"lbw_analyze_{control}"


_TOOLTIPS = {
    _id("start"): t("Renders the missing pictures and measures the changes; pictures from earlier runs are reused."),
    _id("stop"): t("Stops after the current picture; finished pictures are kept."),
    _id("automatic"): t("Sets the thresholds to one tenth and one half of the largest mean."),
    _id("to_tuner"): t("Starts the tuner with the suggestion."),
    _id("save"): t("Adds the suggestion to the preset editor and saves the file."),
    _id("send_tag"): t("Writes the LoRA's tag with the suggested block weights."),
    _id("open_folder"): t("Opens it in the file manager of the machine where the server is running."),
    _id("files"): t("JSON, CSV, grid and chart for download."),
    _id("table"): t("Click a heading to sort, or a row to see its pictures."),
    _id("masked"): t("The region is a rectangle, or painted on the source picture."),
}
