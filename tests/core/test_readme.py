"""README's table of models says what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lbw.core.architectures import ARCHITECTURES

from .tables import ranges

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = README.split("## Models\n")[1].split("\n## ")[0]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in SECTION.splitlines()
    if line.startswith("|") and "`" in line
]
LAYOUTS = [
    (name, int(count), blocks)
    for _, names, layouts, *_ in ROWS
    for name in re.findall("`(.+?)`", names)[:1]
    for count, blocks in re.findall(r"(\d+): ([A-Z0-9 -]+)", layouts)
]


def test_every_model_has_a_row() -> None:
    assert {name for row in ROWS for name in re.findall("`(.+?)`", row[1])} == set(ARCHITECTURES)


@pytest.mark.parametrize(("name", "count", "blocks"), LAYOUTS, ids=[f"{name}-{count}" for name, count, _ in LAYOUTS])
def test_a_layout_is_what_the_table_says(name: str, count: int, blocks: str) -> None:
    assert list(ARCHITECTURES[name].layouts[count]) == ranges(blocks.strip())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_short_layout_is_what_the_table_says(row: list[str]) -> None:
    names, short = re.findall("`(.+?)`", row[1]), [int(n) for n in re.findall(r"\d+", row[3])]
    counts = {len(ARCHITECTURES[name].numbered_blocks) for name in names if ARCHITECTURES[name].kind != "unet"}
    assert set(short) == counts
