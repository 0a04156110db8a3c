"""The part *For the trainer* of the tuner: what was found, as settings of the next training."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lbw.analysis.cells import whole_number
from lbw.analysis.trainer import Training, remarks, settings, way_called, ways
from lbw.analysis.tuner import Tuner
from lbw.core.architectures import USUAL
from lbw.core.errors import LbwError, WeightsError, quote
from lbw.core.family import Architecture
from lbw.core.numbers import format_number, parse_number

from .gradio_versions import tooltips
from .markup import REMARK, message


class TrainerFields:
    """The fields, made within the page that is being built.

    inputs: what the person at the page says, in the order in which `showing` takes it. first: what they hold at first.
    outputs: what shows the settings, in the order of its updates.
    """

    def __init__(self) -> None:
        training = Training()
        titles = _titles(USUAL)
        with gr.Accordion("For the trainer", open=False, elem_id="lbw_tuner_trainer"):
            with gr.Row(elem_classes=["lbw-row"]):
                self.way = gr.Dropdown(
                    titles, value=titles[0], label="Trainer", info="those that can train single blocks of this model",
                    elem_id="lbw_tuner_way", min_width=200,
                )  # fmt: skip
                self.rank = gr.Textbox(
                    str(training.rank), label="Rank", info="of a block at 1", elem_id="lbw_tuner_rank", min_width=80
                )
                self.alpha = gr.Textbox(
                    format_number(training.alpha), label="Alpha", info="of a block at 1", elem_id="lbw_tuner_alpha",
                    min_width=80,
                )  # fmt: skip
                self.rate = gr.Textbox(
                    format_number(training.rate), label="Learning rate", info="of a block at 1",
                    elem_id="lbw_tuner_rate", min_width=80,
                )  # fmt: skip
                self.convolutions = gr.Checkbox(
                    training.has_convolutions, label="Convolutions too (LoCon)", elem_id="lbw_tuner_convolutions"
                )
            self.message = gr.HTML(elem_id="lbw_tuner_trainer_message")
            self.settings = gr.Textbox(
                label="Settings of the training", info="for the blocks above 0, in proportion where the trainer can",
                lines=8, max_lines=20, interactive=False, show_copy_button=True, elem_id="lbw_tuner_settings",
            )  # fmt: skip
        self.inputs = [self.way, self.rank, self.alpha, self.rate, self.convolutions]
        self.first = [field.value for field in self.inputs]
        self.outputs = [self.way, self.message, self.settings]
        tooltips({"lbw_tuner_convolutions": "Trains the 3×3 convolutions of the blocks beside their attention."})

    @staticmethod
    def showing(tuner: Tuner, title: Any, *fields: Any) -> list[Any]:
        """Return updates that show the trainers of the model that `tuner` is for, and the settings for its weights.

        title: of the trainer that was chosen; the first that there is where it does not train this model.
        """
        titles = _titles(tuner.family)
        choice = gr.update(choices=titles)
        if title not in titles:  # a value that is set anew, if the same, closes a list that is open
            title = (titles or [None])[0]
            choice = gr.update(choices=titles, value=title)
        said: list[str] = []
        text = ""
        try:
            way = way_called(title or "", tuner.family)
            said = remarks(tuner.values, tuner.family, way)
            text = settings(tuner.values, tuner.family, way, _training(*fields))
        except LbwError as error:
            said.append(str(error))
        return [choice, message("; ".join(dict.fromkeys(said)), REMARK), text]


def _titles(architecture: Architecture) -> list[str]:
    return [way.title for way in ways(architecture)]


def _training(rank: Any, alpha: Any, rate: Any, has_convolutions: bool) -> Training:
    """Return what the fields say.

    Raises:
        WeightsError: one of them cannot be understood.
    """
    return Training(
        whole_number(rank, "Rank", 1, 4096), _positive(alpha, "Alpha", "8"), _positive(rate, "Learning rate", "0.0001"),
        bool(has_convolutions),
    )  # fmt: skip


def _positive(value: Any, field: str, example: str) -> float:
    number = parse_number(str(value))
    if number is None or number <= 0:
        raise WeightsError(f"{field} {quote(str(value))} is no number above 0; write for example {example}")
    return number
