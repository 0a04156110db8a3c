"""The part *For the trainer* of the tuner: what was found, as settings of the next training."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lbw.analysis.cells import whole_number
from lbw.analysis.lycoris_preset import lycoris_preset
from lbw.analysis.trainer import Training, learning_rates, ranks, remarks
from lbw.analysis.tuner import Tuner
from lbw.core.errors import LbwError, WeightsError, quote
from lbw.core.weights import format_number, parse_number

from .gradio_versions import tooltips
from .markup import REMARK, message


class TrainerFields:
    """The fields, made within the page that is being built.

    inputs: what the person at the page says, in the order in which `showing` takes it. first: what they hold at first.
    outputs: what shows the settings, in the order of its updates.
    """

    def __init__(self) -> None:
        training = Training()
        with gr.Accordion("For the trainer", open=False, elem_id="lbw_tuner_trainer"):
            with gr.Row(elem_classes=["lbw-row"]):
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
            self.rates = gr.Textbox(
                label="Learning rates", info="arguments of sd-scripts, in proportion to the weights", lines=2,
                max_lines=4, interactive=False, show_copy_button=True, elem_id="lbw_tuner_rates",
            )  # fmt: skip
            self.ranks = gr.Textbox(
                label="Ranks and alphas", info="arguments of sd-scripts, in proportion to the weights", lines=2,
                max_lines=4, interactive=False, show_copy_button=True, elem_id="lbw_tuner_ranks",
            )  # fmt: skip
            self.lycoris = gr.Textbox(
                label="LyCORIS preset", info="a .toml file for its argument preset=: these blocks and no other",
                lines=8, max_lines=16, interactive=False, show_copy_button=True, elem_id="lbw_tuner_lycoris",
            )  # fmt: skip
        self.inputs = [self.rank, self.alpha, self.rate, self.convolutions]
        self.first = [field.value for field in self.inputs]
        self.outputs = [self.message, self.rates, self.ranks, self.lycoris]
        tooltips({"lbw_tuner_convolutions": "Trains the 3×3 convolutions of the blocks beside their attention."})

    @staticmethod
    def showing(tuner: Tuner, *fields: Any) -> list[Any]:
        """Return updates that show the settings for what `tuner` stands at."""
        try:
            training = _training(*fields)
        except LbwError as error:
            return [message(str(error), REMARK), "", "", ""]
        texts, said = [], remarks(tuner.values, tuner.family)
        for make in (learning_rates, ranks, lycoris_preset):
            try:
                texts.append(make(tuner.values, tuner.family, training))
            except LbwError as error:
                texts.append("")
                said.append(str(error))
        return [message("; ".join(dict.fromkeys(said)), REMARK), *texts]


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
