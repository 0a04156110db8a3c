"""The sliders of Make weights: where they stand, what they hold, and what is read of what the page writes."""

from __future__ import annotations

from html.parser import HTMLParser

from lbw.core.architectures import ARCHITECTURES
from lbw.ui.sliders import shape, sliders_view, values_in, values_text

FLUX = ARCHITECTURES["flux"]
SDXL = ARCHITECTURES["sdxl"]


class Fields(HTMLParser):
    """The labels of a view, hidden or not, and the attributes of its inputs."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.labels: dict[str, bool] = {}
        self.inputs: list[dict[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        if tag == "label":
            self.labels[str(found["id"])] = "hidden" in found
        elif tag == "input":
            self.inputs.append(found)


def test_a_unet_goes_down_the_left_and_up_the_right() -> None:
    form = shape(SDXL.blocks)
    assert form.columns[0][:2] == ("IN00", "IN01")
    assert form.columns[1][:2] == ("OUT08", "OUT07")
    assert form.below == ("M00", "BASE")


def test_a_transformer_stands_in_columns_that_fit_on_a_page() -> None:
    form = shape(FLUX.blocks)
    assert [(column[0], column[-1]) for column in form.columns] == [("D00", "D18"), ("S00", "S18"), ("S19", "S37")]
    assert set(form.below) == {"CLIP", "T5", "IN", "OUT"}


def test_every_block_has_its_fields_and_only_those_of_the_layout_are_shown() -> None:
    fields = Fields(sliders_view({"IN00": 1.0, "IN01": 2.5, "OUT00": 0.05}, {"IN01", "OUT00"}, "w_", "box"))
    assert fields.labels == {"w_IN00": True, "w_IN01": False, "w_OUT00": False}
    assert [(field["type"], field["value"]) for field in fields.inputs[2:4]] == [("range", "2.5"), ("number", "2.5")]
    assert (fields.inputs[2]["min"], fields.inputs[2]["max"]) == ("-1", "2.5")


def test_what_the_page_writes_is_read_back_to_the_last_digit() -> None:
    values = {"IN00": 0.333, "IN01": -1.0, "OUT00": 1e-05}
    assert values_in(values_text(values), list(values)) == values


def test_an_empty_field_is_zero_and_a_block_without_one_stands_at_one() -> None:
    assert values_in("IN00=,IN01=x,OUT00=0.5", ["IN00", "IN01", "OUT00", "OUT01"]) == {
        "IN00": 0.0, "IN01": 0.0, "OUT00": 0.5, "OUT01": 1.0,
    }  # fmt: skip
