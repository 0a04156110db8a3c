"""The controls of the panel *Tuner*, and how they stand on the page."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lbw.analysis.effective_blocks import NEEDED, NOT_NEEDED, UNKNOWN
from lbw.analysis.tuner import BOTH, MINUS, PLUS, STEPS
from lbw.core.architectures import USUAL
from lbw.core.numbers import format_number
from lbw.core.texts import t

from .gradio_versions import tooltips
from .panel_host import PanelHost
from .picture_fields import PictureFields
from .trainer_fields import TrainerFields
from .tuner_fields import Fields
from .tuner_models import new_tuner_of, title_of, titles
from .tuner_views import Shown, state_view


class TunerControls:
    """The controls, made within the page that is being built.

    state: the state that holds the `Tuner`. fields: those of `Fields`, by its names. settings: what says the same as
    the state, and is shown anew when another tuner begins. views: what shows a tuner.
    """

    def __init__(self, host: PanelHost, has_presets: bool) -> None:
        """Make them; has_presets: whether there is an editor to write into."""
        tuner, first = new_tuner_of(USUAL), Fields()
        self.state = gr.State(tuner)
        self.pictures = gr.State(Shown())
        self.picture = PictureFields(host)
        self.message = gr.HTML(elem_id="lbw_tuner_message")
        with gr.Row(elem_classes=["lbw-row"]):
            self.model = gr.Dropdown(
                titles(None),
                value=title_of(tuner),
                label=t("Weights type"),
                info=t("the model, and the blocks to tune"),
                elem_id="lbw_tuner_type",
                scale=2,
                min_width=280,
            )
            self.new = gr.Button(t("Start over"), elem_id="lbw_tuner_new", scale=0, min_width=130)
            self.weights = gr.Textbox(
                label=t("Preset or weights"), info=t("in any layout"), placeholder=t("MIDD or 1,0,0,…"), scale=2,
                elem_id="lbw_tuner_weights",
            )  # fmt: skip
            self.fill = gr.Textbox("0.5", label=t("Fill value"), info=t("for missing blocks"), elem_id="lbw_tuner_fill")
            self.load_button = gr.Button(t("Load weights"), elem_id="lbw_tuner_load", scale=0, min_width=130)
        with (
            gr.Accordion(t("Start from a suggestion"), open=False, elem_id="lbw_tuner_start"),
            gr.Row(elem_classes=["lbw-row"]),
        ):
            self.suggestion = gr.Textbox(
                label=t("Suggestion"), info=t("the analyzer's .json, or a saved state of the tuner"), lines=2,
                max_lines=4, scale=4, elem_id="lbw_tuner_suggestion",
            )  # fmt: skip
            self.from_suggestion = gr.Button(t("Start from it"), elem_id="lbw_tuner_from_suggestion", scale=1)
        self.view = gr.HTML(state_view(tuner), elem_id="lbw_tuner_view")
        with gr.Row():
            self.blocks = gr.Textbox(
                label=t("Blocks"),
                info=t("click blocks above, or type IN04-IN08, OUT"),
                scale=2,
                elem_id="lbw_tuner_blocks",
            )
            self.value = gr.Textbox("0.5", label=t("Value"), info=t("for Set value"), elem_id="lbw_tuner_value")
        with gr.Row():
            self.sorters = {
                verdict: gr.Button(label, elem_id=f"lbw_tuner_{name}", min_width=90)
                for verdict, label, name in (
                    (NEEDED, t("✓ Needed"), "needed"), (NOT_NEEDED, t("✗ Not needed"), "not_needed"),
                    (UNKNOWN, t("? Unknown"), "unknown"),
                )
            }  # fmt: skip
            self.fix = gr.Button(t("Fix"), elem_id="lbw_tuner_fix", min_width=90)
            self.open = gr.Button(t("Open"), elem_id="lbw_tuner_open", min_width=90)
            self.set_value = gr.Button(t("Set value"), elem_id="lbw_tuner_set_value", min_width=90)
            self.undo = gr.Button(t("Undo"), elem_id="lbw_tuner_undo", min_width=90)
        with gr.Row(elem_classes=["lbw-row"]):
            self.groups = gr.Textbox(
                first.groups, label=t("Groups"), info=t("blocks that move together: IN04-IN05, IN07 IN08, OUT00-OUT02"),
                scale=4, elem_id="lbw_tuner_groups",
            )  # fmt: skip
            self.usual_groups = gr.Button(t("Usual groups"), elem_id="lbw_tuner_usual_groups", scale=1, min_width=130)
        with gr.Row():
            self.step = gr.Dropdown(
                [format_number(step) for step in STEPS], value=first.step, label=t("Step"),
                info=t("any number above 0"), allow_custom_value=True, elem_id="lbw_tuner_step",
            )  # fmt: skip
            self.direction = gr.Radio(
                [MINUS, PLUS, BOTH], value=first.direction, label=t("Direction"), info=t("of the step"),
                elem_id="lbw_tuner_direction",
            )  # fmt: skip
            self.bounds = gr.Textbox(
                first.bounds, label=t("Range"), info=t("limits for the values"), elem_id="lbw_tuner_range"
            )
            self.seed = gr.Textbox(first.seed, label=t("Seed"), info=t("for the pictures"), elem_id="lbw_tuner_seed")
        with gr.Row(elem_classes=["lbw-row"]):
            self.next = gr.Button(t("Next round"), variant="primary", elem_id="lbw_tuner_next")
            self.stop = gr.Button(t("Stop"), elem_id="lbw_tuner_stop")
            self.fix_accepted = gr.Checkbox(False, label=t("Fix accepted blocks"), elem_id="lbw_tuner_fix_accepted")
        self.progress = gr.HTML(elem_id="lbw_tuner_progress")
        self.gallery = gr.Gallery(
            label=t("Click the picture that looks better"), columns=5, height="auto", object_fit="contain",
            allow_preview=False, elem_id="lbw_tuner_gallery",
        )  # fmt: skip
        with gr.Row(elem_classes=["lbw-row"]):
            self.name = gr.Textbox(
                first.name, label=t("Identifier"), info=t("the name of the preset"), elem_id="lbw_tuner_name"
            )
            if has_presets:
                self.add = gr.Button(t("Add to presets"), elem_id="lbw_tuner_add")
                self.add_and_save = gr.Button(t("Add to presets and Save"), elem_id="lbw_tuner_add_save")
        self.preset = _result(t("Preset"), t("as a line of the preset file"), "preset", 2)
        self.lines = _result(t("Weights"), t("one line for each layout that can express them"), "lines", 4)
        self.open_blocks = _result(t("Open blocks"), t("for the Blocks field of the analyzer"), "open_blocks", 1)
        self.prompt_sr = _result(
            t("Prompt S/R"), t("for the X/Y/Z plot; the first value must be in the prompt, after lbw="), "prompt_sr", 4
        )
        self.kept = _result(t("State"), t("everything above, to continue later: paste it into Suggestion"), "state", 2)
        self.trainer = TrainerFields()
        self.fields = {
            "name": self.name, "direction": self.direction, "step": self.step, "bounds": self.bounds,
            "seed": self.seed, "groups": self.groups,
        }  # fmt: skip
        self.settings = {self.model, self.step, self.bounds, self.seed, self.groups}
        self.views = {
            self.state, self.message, self.view, self.gallery, self.preset, self.lines, self.open_blocks,
            self.prompt_sr, self.kept, *self.trainer.outputs,
        }  # fmt: skip
        tooltips(
            {
                "lbw_tuner_new": t("Starts with every block unknown, open and at 0.5."),
                "lbw_tuner_load": t("Loads the values; how the blocks are sorted and fixed stays the same."),
                "lbw_tuner_from_suggestion": t("Starts with the blocks as the analyzer sorted them."),
                "lbw_tuner_needed": t("Fixes the blocks at 1."),
                "lbw_tuner_not_needed": t("Fixes the blocks at 0."),
                "lbw_tuner_unknown": t("Opens the blocks at 0.5."),
                "lbw_tuner_fix": t("The blocks keep their values and are no longer rendered."),
                "lbw_tuner_open": t("The blocks are rendered in the next round."),
                "lbw_tuner_set_value": t("Sets the blocks to the value."),
                "lbw_tuner_undo": t("Undoes the last change."),
                "lbw_tuner_usual_groups": t("Fills in the usual groups for this model."),
                "lbw_tuner_next": t("Renders every open block or group at its value minus and plus the step."),
                "lbw_tuner_stop": t("Ends the round; finished pictures are kept."),
                "lbw_tuner_fix_accepted": t("When you click a picture, its blocks are fixed and no longer rendered."),
                "lbw_tuner_add": t("Adds the preset to the preset editor."),
                "lbw_tuner_add_save": t("Adds the preset to the preset editor and saves the file."),
            }
        )


def _result(label: str, info: str, name: str, lines: int) -> Any:
    return gr.Textbox(
        label=label, info=info, lines=lines, max_lines=lines, interactive=False, show_copy_button=True,
        elem_id=f"lbw_tuner_{name}",
    )  # fmt: skip
