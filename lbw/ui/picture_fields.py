"""The fields of the tuner that say what its pictures are rendered with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from lbw.analysis.request import PictureRequest

from .panel_host import PanelHost


class PictureFields:
    """The fields, made within the page that is being built.

    fields: by the names of a request's options.
    """

    def __init__(self, host: PanelHost) -> None:
        first = host.defaults()
        samplers = host.samplers()
        self.prompt = gr.Textbox(
            first.prompt, label="Prompt", info="with lbw=XYZ in the tag of the LoRA to tune", lines=2,
            elem_id="lbw_tuner_prompt", elem_classes=["lbw-prompt"],
        )  # fmt: skip
        self.negative = gr.Textbox(
            first.negative_prompt, label="Negative prompt", info="what the pictures should not show", lines=1,
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
            self.cfg = gr.Number(
                first.cfg_scale, label="CFG scale", info="guidance", elem_id="lbw_tuner_cfg", min_width=80
            )
            self.sampler = gr.Dropdown(
                samplers, value=first.sampler_name or (samplers[0] if samplers else None), label="Sampler",
                info="of the pictures", visible=bool(samplers), elem_id="lbw_tuner_sampler",
            )  # fmt: skip
        self.fields = {
            "prompt": self.prompt, "negative_prompt": self.negative, "steps": self.steps, "width": self.width,
            "height": self.height, "cfg_scale": self.cfg, "sampler_name": self.sampler,
        }  # fmt: skip
        self.all = list(self.fields.values())

    def request(self, seed: int, values: Sequence[Any]) -> PictureRequest:
        """Return what the fields ask for. values: of `all`.

        Raises:
            WeightsError: one of them cannot be understood.
        """
        return PictureRequest.read({**dict(zip(self.fields, values)), "seed": seed})

    def showing(self, request: PictureRequest | None) -> list[Any]:
        """Return updates that show `request`; the fields stay as they are where there is none."""
        if request is None:
            return [gr.update() for _ in self.all]
        return [
            getattr(request, name) or None if name == "sampler_name" else getattr(request, name) for name in self.fields
        ]
