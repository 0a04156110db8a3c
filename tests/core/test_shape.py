"""Where blocks are when a model is drawn."""

from __future__ import annotations

import pytest

from lbw.core.architectures import ARCHITECTURES, by_name
from lbw.core.shape import shape


@pytest.mark.parametrize("name", [*ARCHITECTURES, "anima:B20", "unknown:B24", "flux:D2,S1"])
def test_every_block_stands_in_one_place(name: str) -> None:
    architecture = by_name(name)
    placed = [block for part in shape(architecture) for column in part for block in column]
    assert sorted(placed) == sorted(architecture.blocks)
    assert all(column for part in shape(architecture) for column in part)


def test_a_unet_goes_down_the_left_and_up_the_right() -> None:
    ways, below = shape(ARCHITECTURES["sdxl"])
    assert ways[0][:2] == ("IN00", "IN01")
    assert ways[1][:2] == ("OUT08", "OUT07")
    assert below == (("M00",), ("BASE",))


def test_the_stacks_of_a_transformer_stand_in_thirds_one_below_the_other() -> None:
    before, double, single, behind = shape(ARCHITECTURES["flux"])
    assert before == (("CLIP",), ("T5",), ("IN",))
    assert [(column[0], column[-1]) for column in double] == [("D00", "D05"), ("D06", "D12"), ("D13", "D18")]
    assert [(column[0], column[-1]) for column in single] == [("S00", "S12"), ("S13", "S24"), ("S25", "S37")]
    assert behind == (("OUT",),)


def test_stacks_of_a_few_blocks_beside_the_main_one_stand_in_its_row() -> None:
    before, layers, behind = shape(ARCHITECTURES["z-image"])
    assert [block for (block,) in before] == ["TE", "IN", "CR00", "CR01", "NR00", "NR01"]
    assert [len(third) for third in layers] == [10, 10, 10]
    assert behind == (("OUT",),)
