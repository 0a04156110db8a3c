"""The fields of the tuner that say what its pictures are rendered with."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lbw.analysis.cells import whole_number
from lbw.core.errors import WeightsError, quote
from lbw.core.numbers import parse_number

from .analyzer_host import Question, TunerHost


class PictureFields:
    """The fields, made within the page that is being built.

    all: in the order in which `question` takes their values and `showing` returns updates.
    """

    def __init__(self, host: TunerHost) -> None:
        first = host.defaults()
        samplers = host.samplers()
        self.prompt = gr.Textbox(
            first.prompt, label="Prompt", info="with lbw=XYZ in the tag of the LoRA to tune", lines=2,
            elem_id="lbw_tuner_prompt", elem_classes=["lbw-prompt"],
        )  # fmt: skip
        self.negative = gr.Textbox(
            first.negative, label="Negative prompt", info="what the pictures should not show", lines=1,
            elem_id="lbw_tuner_negative",
        )  # fmt: skip
        with gr.Row():
            self.steps = gr.Number(
                first.steps, label="Steps", info="of each picture", elem_id="lbw_tuner_steps", min_width=80
            )
            self.width = gr.Number(first.width, label="Width", info="pixels", elem_id="lbw_tuner_width", min_width=80)
            self.height = gr.Number(
                first.height, label="Height", info="pixels", elem_id="lbw_tuner_height", min_width=80
            )
            self.cfg = gr.Number(first.cfg, label="CFG scale", info="guidance", elem_id="lbw_tuner_cfg", min_width=80)
            self.sampler = gr.Dropdown(
                samplers, value=first.sampler or (samplers[0] if samplers else None), label="Sampler",
                info="of the pictures", visible=bool(samplers), elem_id="lbw_tuner_sampler",
            )  # fmt: skip
        self.all = [self.prompt, self.negative, self.steps, self.width, self.height, self.cfg, self.sampler]

    @staticmethod
    def question(
        seed: int, prompt: str, negative: str, steps: Any, width: Any, height: Any, cfg: Any, sampler: str | None
    ) -> Question:
        """Return what the fields ask for.

        Raises:
            WeightsError: one of them cannot be understood.
        """
        guidance = parse_number(str(cfg))
        if guidance is None:
            raise WeightsError(f"CFG scale {quote(str(cfg))} is no number; write for example 7")
        return Question(
            prompt=prompt or "",
            negative=negative or "",
            seed=seed,
            steps=whole_number(steps, "Steps", 1, 1000),
            width=whole_number(width, "Width", 8, 8192),
            height=whole_number(height, "Height", 8, 8192),
            cfg=guidance,
            sampler=sampler or "",
        )

    def showing(self, question: Question | None) -> list[Any]:
        """Return updates that show `question`; the fields stay as they are where there is none."""
        if question is None:
            return [gr.update() for _ in self.all]
        return [
            question.prompt, question.negative, question.steps, question.width, question.height, question.cfg,
            question.sampler or None,
        ]  # fmt: skip
