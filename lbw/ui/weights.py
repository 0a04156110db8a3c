"""The panel *Make weights*: sliders in the shape of the model, and the resulting preset."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import gradio as gr

from lbw.analysis.cells import plain_number
from lbw.analysis.session import GUESS
from lbw.analysis.weights_image import PER_ROW, weights_image
from lbw.core.errors import LbwError, WeightsError
from lbw.core.family import Architecture
from lbw.core.numbers import format_number
from lbw.core.presets import check_name, parse_presets
from lbw.core.shape import shape
from lbw.core.texts import t

from .gradio_versions import Updates, Values, listen, on_page_load, tooltips
from .layouts import Layout, first_layout, layout_called, load, names_text, numbers_text, slider_blocks, titles
from .lora_files import LoraFiles, lora_architecture, lora_names
from .markup import BAD, REMARK, data_uri, message_view, picture
from .presets import PresetsPanel
from .sliders import sliders_view, values_in, values_text

_NUMBERS, _NAMES = t("list of numbers"), t("by name")
_FIELD_WIDTH = 58


# The panel ---------------------------------------------------------------------------------------


class WeightsPanel:
    """Sliders for every layout, within the current page; they read and write the text of `presets`."""

    def __init__(
        self, presets: PresetsPanel, loaded: Callable[[], Architecture | None], loras: LoraFiles | None = None
    ) -> None:
        """Build them.

        loaded: returns the architecture whose layout the page shows at first, None if it is unknown. loras: the host's,
        to choose one to make weights for.
        """
        self.presets = presets
        self.loaded = loaded
        self.loras = loras
        self._build()
        self._wire()

    def _build(self) -> None:
        shown = first_layout(None)
        self.message = gr.HTML(elem_id="lbw_weights_message")
        with gr.Row(elem_classes=["lbw-row"]):
            self.lora = gr.Dropdown(
                [],
                label="LoRA",
                info=t("to make weights for"),
                visible=self.loras is not None,
                elem_id="lbw_weights_lora",
            )
            self.layout = gr.Dropdown(
                titles(None),
                value=shown.title,
                label=t("Weights type"),
                info=t("how many numbers, and for which models"),
                elem_id="lbw_weights_type",
            )
            self.preset = gr.Dropdown(
                [], label=t("Preset or weights"), info=t("choose a preset, or type block weights"),
                allow_custom_value=True, elem_id="lbw_weights_preset",
            )  # fmt: skip
            self.load_button = gr.Button(t("Load"), elem_id="lbw_weights_load", scale=0, min_width=100)
        with gr.Row(elem_classes=["lbw-row"]):
            self.zero = gr.Button(t("Set All 0"), elem_id="lbw_weights_all_0", min_width=100)
            self.one = gr.Button(t("Set All 1"), elem_id="lbw_weights_all_1", min_width=100)
            self.custom = gr.Button(t("Set custom"), elem_id="lbw_weights_custom", min_width=100)
            self.custom_value = gr.Textbox(
                "0.5", label=t("Custom value"), info=t("the number for Set custom"), elem_id="lbw_weights_custom_value"
            )
        self.image = gr.HTML(elem_id="lbw_weights_image")
        first = dict.fromkeys(slider_blocks(shown), 1.0)
        self.sliders = gr.HTML(_sliders(first, shown), elem_id="lbw_weights_sliders")
        self.values = gr.Textbox(
            values_text(first), label="Values", elem_id="lbw_weights_values", elem_classes=["lbw-unseen"]
        )
        with gr.Row():
            self.form = gr.Radio(
                [_NUMBERS, _NAMES], value=_NUMBERS, label=t("Form"), info=t("how to write the weights"),
                elem_id="lbw_weights_form",
            )  # fmt: skip
            self.line = gr.Textbox(
                label=t("Weights"), info=t("to copy into a tag, after lbw="), lines=2, interactive=False,
                show_copy_button=True, elem_id="lbw_weights_line", scale=3,
            )  # fmt: skip
        with gr.Row(elem_classes=["lbw-row"]):
            self.name = gr.Textbox(
                label=t("Identifier"),
                info=t("the name of the preset"),
                placeholder="MYSTYLE",
                elem_id="lbw_weights_name",
            )
            self.add = gr.Button(t("Add to presets"), elem_id="lbw_weights_add")
            self.add_and_save = gr.Button(
                t("Add to presets and Save"), variant="primary", elem_id="lbw_weights_add_save"
            )
        tooltips(
            {
                "lbw_weights_load": t("Sets the sliders to the preset or the weights."),
                "lbw_weights_all_0": t("Sets every slider to 0."),
                "lbw_weights_all_1": t("Sets every slider to 1."),
                "lbw_weights_custom": t("Sets every slider to the custom value."),
                "lbw_weights_sliders": t("The weight of each block: 0 is off, 1 is the LoRA's full strength."),
                "lbw_weights_image": t("The weights as they would be applied."),
                "lbw_weights_add": t("Adds the preset to the editor, replacing one of the same name."),
                "lbw_weights_add_save": t("Adds the preset to the editor and saves the file."),
            }
        )

    def _wire(self) -> None:
        views = {self.line, self.image}
        self._whole = {self.message, self.layout, self.sliders, self.values, *views}
        chosen = {self.layout, self.form, self.values}
        listen(self.values.input, self._moved, chosen, views)
        listen(self.form.input, self._moved, chosen, views)
        listen(self.layout.input, self._chosen, chosen, self._whole)
        listen(self.lora.input, self._lora_chosen, {self.lora, self.form, self.values}, self._whole)
        loaded = {self.preset, self.presets.text, self.layout, self.form}
        listen(self.load_button.click, self._loaded, loaded, self._whole)
        for button, value in ((self.zero, 0.0), (self.one, 1.0)):
            listen(button.click, self._all_set_to(value), {self.layout, self.form}, self._whole)
        listen(self.custom.click, self._customized, {self.custom_value, self.layout, self.form}, self._whole)
        for button, handler in ((self.add, self._added), (self.add_and_save, self._saved)):
            written = {self.name, self.line, *self.presets.inputs}
            listen(button.click, handler, written, {self.message, self.preset, *self.presets.outputs})
        for button in (self.presets.save_button, self.presets.reload_button, self.presets.tags_button):
            listen(button.click, self._choices, {self.presets.text}, {self.preset})
        on_page_load(self._opened, {self.lora, self.preset, *self._whole})

    # What the controls do ------------------------------------------------------------------------

    def _opened(self) -> Updates:
        loaded = self.loaded()
        first = first_layout(loaded)
        try:
            names = self.presets.store.file().names
        except LbwError:  # the editor shows what is wrong with the file
            names = []
        values = dict.fromkeys(slider_blocks(first), 1.0)
        return {
            self.lora: gr.update(choices=lora_names(self.loras) if self.loras else []),
            self.preset: gr.update(choices=names),
            **self._showing(first, values, _NUMBERS, first=loaded),
        }

    def _lora_chosen(self, values: Values) -> Updates:
        assert self.loras
        try:
            architecture = lora_architecture(self.loras, values[self.lora] or "", self.loaded())
        except LbwError as error:
            return self._refused(str(error))
        layout = first_layout(architecture)
        message = message_view(GUESS, REMARK) if architecture.family.is_guess else ""
        weights = values_in(values[self.values], slider_blocks(layout))
        return self._showing(layout, weights, values[self.form], message, architecture)

    def _choices(self, values: Values) -> Updates:
        return {self.preset: gr.update(choices=parse_presets(values[self.presets.text]).names)}

    def _moved(self, values: Values) -> Updates:
        layout = layout_called(values[self.layout])
        return self._views(values_in(values[self.values], slider_blocks(layout)), layout, values[self.form])

    def _chosen(self, values: Values) -> Updates:
        layout = layout_called(values[self.layout])
        return self._showing(layout, values_in(values[self.values], slider_blocks(layout)), values[self.form])

    def _all_set_to(self, value: float) -> Callable[[Values], Updates]:
        """Return the handler of a button that sets every slider to `value`."""

        def handler(values: Values) -> Updates:
            layout = layout_called(values[self.layout])
            return self._showing(layout, dict.fromkeys(slider_blocks(layout), value), values[self.form])

        return handler

    def _customized(self, values: Values) -> Updates:
        try:
            number = plain_number(values[self.custom_value] or "", t("Custom value"), "0.5")
        except WeightsError as error:
            return self._refused(str(error))
        return self._all_set_to(number)(values)

    def _loaded(self, values: Values) -> Updates:
        text = values[self.preset] or ""
        if not text.strip():
            return self._refused(t("Choose a preset, or write block weights, for example 0,OUT00=1."))
        try:
            presets = parse_presets(values[self.presets.text]).presets
            found = load(text, layout_called(values[self.layout]), presets)
        except LbwError as error:
            return self._refused(str(error))
        weights = {**dict.fromkeys(slider_blocks(found.layout), 0.0), **found.values}
        return self._showing(found.layout, weights, values[self.form], message_view(found.remark, REMARK))

    def _added(self, values: Values) -> Updates:
        return self._written(values, is_saved=False)

    def _saved(self, values: Values) -> Updates:
        return self._written(values, is_saved=True)

    def _written(self, values: Values, is_saved: bool) -> Updates:
        try:
            name = check_name(values[self.name] or "")
        except LbwError as error:
            return self._refused(str(error))
        updates = self.presets.with_preset(name, values[self.line], values, is_saved)
        names = [*parse_presets(values[self.presets.text]).names, name]
        return {
            **updates,
            self.message: updates[self.presets.message],
            self.preset: gr.update(choices=list(dict.fromkeys(names))),
        }

    # Updates -------------------------------------------------------------------------------------

    def _showing(
        self,
        layout: Layout,
        weights: Mapping[str, float],
        form: str,
        message: str = "",
        first: Architecture | None = None,
    ) -> Updates:
        """Return updates of the whole panel: the layout's sliders at `weights`.

        first: the model whose layouts are first in the list from now on; without one, the list stays the same.
        """
        return {
            self.message: message,
            self.layout: gr.update(choices=titles(first), value=layout.title) if first else layout.title,
            self.sliders: _sliders(weights, layout),
            self.values: values_text(weights),
            **self._views(weights, layout, form),
        }

    def _views(self, weights: Mapping[str, float], layout: Layout, form: str) -> Updates:
        return {
            self.line: names_text(weights, layout) if form == _NAMES else numbers_text(weights, layout),
            self.image: image_view({block: weights[block] for block in layout.blocks}),
        }

    def _refused(self, text: str) -> Updates:
        return {self.message: message_view(text, BAD)}


def weights_panel(
    presets: PresetsPanel, loaded: Callable[[], Architecture | None] = lambda: None, loras: LoraFiles | None = None
) -> WeightsPanel:
    """Add the sliders to the current page; see `WeightsPanel`."""
    return WeightsPanel(presets, loaded, loras)


def image_view(values: Mapping[str, float]) -> str:
    """Return the picture of block weights as HTML, with a text description."""
    words = ", ".join(f"{block} {format_number(value)}" for block, value in values.items())
    address = data_uri(weights_image(values, scale=2), is_photo=False)
    return picture(address, words, _FIELD_WIDTH * min(PER_ROW, len(values)))


def _sliders(values: Mapping[str, float], layout: Layout) -> str:
    return sliders_view(values, layout.blocks, shape(layout.architecture), "lbw_weights_", "lbw_weights_values")
