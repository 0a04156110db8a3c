"""The picture of a model's blocks: what it shows, and that nothing of a file becomes a part of the page."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from lbw.core.architectures import ARCHITECTURES, by_name
from lbw.files.block_map import BlockCount, BlockMap
from lbw.ui.block_map import map_view


class Blocks(HTMLParser):
    """The buttons of a picture: their labels and shades, in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.labels: list[str] = []
        self.shades: list[float] = []
        self.empty: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        if tag == "button":
            self.labels.append(found["aria-label"])
            self.shades.append(float(found["style"].split(":")[1].rstrip("%")))
            if "lbw-map-empty" in found["class"]:
                self.empty.append(found["aria-label"].split()[0])


@pytest.mark.parametrize("name", [*ARCHITECTURES, "anima:B20", "unknown:B24"])
def test_every_block_is_a_button_that_says_what_it_is(name: str) -> None:
    architecture = by_name(name)
    shown = Blocks(map_view(BlockMap(architecture)))
    assert sorted(label.split()[0] for label in shown.labels) == sorted(architecture.blocks)
    assert all(" · " in label for label in shown.labels)


def test_blocks_are_shaded_by_their_share_and_those_without_anything_are_marked() -> None:
    counts = {block: BlockCount() for block in ARCHITECTURES["flux"].blocks}
    counts |= {"D00": BlockCount(2, 900), "S37": BlockCount(4, 100)}
    shown = Blocks(map_view(BlockMap(ARCHITECTURES["flux"], counts)))
    shades = {label.split()[0]: shade for label, shade in zip(shown.labels, shown.shades)}
    assert shades["D00"] == 62
    assert shades["S37"] == pytest.approx(62 / 3, abs=0.1)
    assert (shades["D01"], len(shown.empty)) == (0, 59)
    assert "S37 · single stream block 37 · single_blocks.37 · 4 tensors · 100 parameters · 10.00 %" in shown.labels


def test_what_a_file_says_is_text() -> None:
    view = map_view(BlockMap(ARCHITECTURES["flux"], None, ("odd <img src=x onerror=alert(1)>",)))
    assert "<img" not in view
