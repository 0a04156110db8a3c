"""The part *For the trainer* of the tuner: what was found, as settings of the next training."""

from __future__ import annotations

import gradio as gr

from lbw.analysis.cells import positive_number, whole_number
from lbw.analysis.trainer import Training, remarks, settings, way_called, ways
from lbw.analysis.tuner import Tuner
from lbw.core.architectures import USUAL
from lbw.core.errors import LbwError
from lbw.core.family import Architecture
from lbw.core.numbers import format_number
from lbw.core.texts import t

from .gradio_versions import Updates, Values, tooltips
from .markup import REMARK, message_view


class TrainerFields:
    """The fields, made within the page that is being built.

    fields: what the person at the page fills in; first: what they hold at first. outputs: what shows the settings.
    """

    def __init__(self) -> None:
        training = Training()
        titles = _titles(USUAL)
        with gr.Accordion(t("For the trainer"), open=False, elem_id="lbw_tuner_trainer"):
            with gr.Row(elem_classes=["lbw-row"]):
                self.way = gr.Dropdown(
                    titles, value=titles[0], label=t("Trainer"),
                    info=t("trainers that can train single blocks of this model"),
                    elem_id="lbw_tuner_way", min_width=200,
                )  # fmt: skip
                self.rank = gr.Textbox(
                    str(training.rank),
                    label=t("Rank"),
                    info=t("for a block at 1"),
                    elem_id="lbw_tuner_rank",
                    min_width=80,
                )
                self.alpha = gr.Textbox(
                    format_number(training.alpha),
                    label=t("Alpha"),
                    info=t("for a block at 1"),
                    elem_id="lbw_tuner_alpha",
                    min_width=80,
                )
                self.rate = gr.Textbox(
                    format_number(training.rate), label=t("Learning rate"), info=t("for a block at 1"),
                    elem_id="lbw_tuner_rate", min_width=80,
                )  # fmt: skip
                self.convolutions = gr.Checkbox(
                    training.has_convolutions, label=t("Convolutions too (LoCon)"), elem_id="lbw_tuner_convolutions"
                )
            self.message = gr.HTML(elem_id="lbw_tuner_trainer_message")
            self.settings = gr.Textbox(
                label=t("Training settings"), info=t("for the blocks above 0, weighted if the trainer supports it"),
                lines=8, max_lines=20, interactive=False, show_copy_button=True, elem_id="lbw_tuner_settings",
            )  # fmt: skip
        self.fields = {self.way, self.rank, self.alpha, self.rate, self.convolutions}
        self.first = {field: field.value for field in self.fields}
        self.outputs = {self.way, self.message, self.settings}
        tooltips(
            {"lbw_tuner_convolutions": t("Also trains the 3×3 convolutions of the blocks, not only their attention.")}
        )

    def showing(self, tuner: Tuner, values: Values) -> Updates:
        """Return updates that show the trainers of the model that `tuner` is for, and the settings for its weights.

        If the chosen trainer does not support this model, the first available one is chosen. values: of `fields`.
        """
        titles, title = _titles(tuner.family), values[self.way]
        choice = gr.update(choices=titles)
        if title not in titles:  # a value that is set anew, if the same, closes a list that is open
            title = (titles or [None])[0]
            choice = gr.update(choices=titles, value=title)
        messages: list[str] = []
        text = ""
        try:
            way = way_called(title or "", tuner.family)
            messages = remarks(tuner.values, tuner.family, way)
            text = settings(tuner.values, tuner.family, way, self._training(values))
        except LbwError as error:
            messages.append(str(error))
        message = message_view("; ".join(dict.fromkeys(messages)), REMARK)
        return {self.way: choice, self.message: message, self.settings: text}

    def _training(self, values: Values) -> Training:
        """Return what the fields say.

        Raises:
            WeightsError: one of them is not valid.
        """
        return Training(
            whole_number(values[self.rank], t("Rank"), 1, 4096),
            positive_number(values[self.alpha], t("Alpha"), "8"),
            positive_number(values[self.rate], t("Learning rate"), "0.0001"),
            bool(values[self.convolutions]),
        )


def _titles(architecture: Architecture) -> list[str]:
    return [way.title for way in ways(architecture)]
