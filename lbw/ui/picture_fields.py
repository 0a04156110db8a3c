"""The fields of the tuner that say what its pictures are rendered with."""

from __future__ import annotations

import gradio as gr

from lbw.analysis.request import PictureRequest
from lbw.core.texts import t

from .gradio_versions import Updates, Values
from .panel_host import PanelHost


class PictureFields:
    """The fields, made within the page that is being built.

    fields: by the names of a request's options.
    """

    def __init__(self, host: PanelHost) -> None:
        first = host.defaults()
        samplers = host.samplers()
        self.prompt = gr.Textbox(
            first.prompt, label=t("Prompt"), info=t("with lbw=XYZ in the tag of the LoRA to tune"), lines=2,
            elem_id="lbw_tuner_prompt", elem_classes=["lbw-prompt"],
        )  # fmt: skip
        self.negative = gr.Textbox(
            first.negative_prompt, label=t("Negative prompt"), info=t("what the pictures should not show"), lines=1,
            elem_id="lbw_tuner_negative",
        )  # fmt: skip
        with gr.Row():
            self.steps = gr.Number(
                first.steps, label=t("Steps"), info=t("per picture"), elem_id="lbw_tuner_steps", min_width=80
            )
            self.width = gr.Number(
                first.width, label=t("Width"), info=t("pixels"), elem_id="lbw_tuner_width", min_width=80
            )
            self.height = gr.Number(
                first.height, label=t("Height"), info=t("pixels"), elem_id="lbw_tuner_height", min_width=80
            )
            self.cfg = gr.Number(
                first.cfg_scale, label=t("CFG scale"), info=t("guidance"), elem_id="lbw_tuner_cfg", min_width=80
            )
            self.sampler = gr.Dropdown(
                samplers, value=first.sampler_name or (samplers[0] if samplers else None), label=t("Sampler"),
                info=t("for the pictures"), visible=bool(samplers), elem_id="lbw_tuner_sampler",
            )  # fmt: skip
        self.fields = {
            "prompt": self.prompt, "negative_prompt": self.negative, "steps": self.steps, "width": self.width,
            "height": self.height, "cfg_scale": self.cfg, "sampler_name": self.sampler,
        }  # fmt: skip

    def request(self, seed: int, values: Values) -> PictureRequest:
        """Return what the fields ask for. values: of `fields`.

        Raises:
            WeightsError: one of them is not valid.
        """
        return PictureRequest.read({"seed": seed, **{name: values[control] for name, control in self.fields.items()}})

    def showing(self, request: PictureRequest) -> Updates:
        """Return updates that show `request`."""
        shown = {control: getattr(request, name) for name, control in self.fields.items()}
        return {**shown, self.sampler: request.sampler_name or None}
