"""The sliders of Make weights: their position, their values, and how the page's text is read."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from lbw.core.architectures import by_name
from lbw.core.shape import shape
from lbw.ui.sliders import sliders_view, values_in, values_text


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


def test_every_block_has_its_fields_and_only_those_of_the_layout_are_shown() -> None:
    values = {"IN00": 1.0, "IN01": 2.5, "OUT00": 0.05, "OUT01": 1.0}
    parts = [(("IN00", "IN01"), ("OUT00",))]
    fields = Fields(sliders_view(values, {"IN01", "OUT00"}, parts, "w_", "box"))
    assert fields.labels == {"w_IN00": True, "w_IN01": False, "w_OUT00": False, "w_OUT01": True}
    assert [(field["type"], field["value"]) for field in fields.inputs[2:4]] == [("range", "2.5"), ("number", "2.5")]
    assert (fields.inputs[2]["min"], fields.inputs[2]["max"]) == ("-1", "2.5")


@pytest.mark.parametrize("name", ["sdxl", "flux", "qwen-image", "z-image", "unknown:B24"])
def test_each_layout_of_a_model_has_a_slider_for_each_of_its_blocks_once(name: str) -> None:
    architecture = by_name(name)
    for blocks in architecture.layouts.values():
        view = sliders_view(dict.fromkeys(architecture.blocks, 1.0), blocks, shape(architecture), "w_", "box")
        assert view.count("type='range'") == len(architecture.blocks)
        shown = {block for block, is_hidden in Fields(view).labels.items() if not is_hidden}
        assert shown == {f"w_{block}" for block in blocks if block in architecture.blocks}


def test_what_the_page_writes_is_read_back_to_the_last_digit() -> None:
    values = {"IN00": 0.333, "IN01": -1.0, "OUT00": 1e-05}
    assert values_in(values_text(values), list(values)) == values


def test_an_empty_field_is_zero_and_a_block_without_one_stands_at_one() -> None:
    assert values_in("IN00=,IN01=x,OUT00=0.5", ["IN00", "IN01", "OUT00", "OUT01"]) == {
        "IN00": 0.0, "IN01": 0.0, "OUT00": 0.5, "OUT01": 1.0,
    }  # fmt: skip
