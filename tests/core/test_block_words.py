"""What blocks are called, and their position in the original checkpoint."""

from __future__ import annotations

import pytest

from lbw.core.architectures import ARCHITECTURES, by_name
from lbw.core.block_words import describe
from lbw.core.blocks import locate


@pytest.mark.parametrize(
    ("name", "block", "words", "path"),
    [
        ("flux", "D07", "double stream block 7", "double_blocks.7"),
        ("flux", "S37", "single stream block 37", "single_blocks.37"),
        ("flux", "CLIP", "CLIP text encoder", ""),
        ("flux", "T5", "T5 text encoder", ""),
        ("flux", "IN", "embedders and shared modulation", "img_in, txt_in, time_in, vector_in, guidance_in"),
        ("flux", "OUT", "final layer", "final_layer"),
        ("sdxl", "IN04", "input block 4", "input_blocks.4"),
        ("sdxl", "M00", "middle block", "middle_block"),
        ("sdxl", "BASE", "text encoders and embedders", "time_embed, label_emb"),
        ("krea2", "TF02", "text fusion 2", "txtfusion.refiner_blocks.0"),
        ("anima", "ADP", "text adapter", ""),
        ("sd3.5-large", "J05", "joint block 5", "joint_blocks.5"),
        ("unknown:B24", "B23", "block 23", "blocks.23"),
    ],
)
def test_a_block_is_told_in_a_few_words(name: str, block: str, words: str, path: str) -> None:
    found = describe(block, by_name(name))
    assert (str(found), found.path) == (words, path)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_path_of_a_block_leads_back_to_it(name: str) -> None:
    architecture = ARCHITECTURES[name]
    for block in architecture.blocks:
        for path in filter(None, describe(block, architecture).path.split(", ")):
            assert locate(f"{path}.weight", architecture).block == block, path
