"""Architectures as data: what SYNTAX.md 3 says of blocks and layouts."""

from __future__ import annotations

from itertools import chain

import pytest

from lbw.core.architectures import ARCHITECTURES, layout_owners
from lbw.core.blocks import locate
from lbw.core.family import Architecture
from lbw.core.weights import parse_block_weights

from .tables import BLOCKS, FLUX_LAYOUTS, UNET_LAYOUTS, words

FLUX = ARCHITECTURES["flux"]
SD1 = ARCHITECTURES["sd1"]
SD2 = ARCHITECTURES["sd2"]
SDXL = ARCHITECTURES["sdxl"]


def weighted(text: str, architecture: Architecture) -> list[str]:
    """Return the blocks that `text` gives 1, in layout order; all others get 0."""
    blocks = parse_block_weights(text).resolve(architecture, {}).blocks
    assert set(blocks.values()) <= {0.0, 1.0}
    return [block for block in BLOCKS[architecture.name] if blocks[block]]


EVERY = pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=lambda a: a.name)


@pytest.mark.parametrize("count", UNET_LAYOUTS)
@pytest.mark.parametrize("architecture", [SD1, SD2, SDXL], ids=lambda a: a.name)
def test_a_unet_layout_lists_the_blocks_of_the_specification(architecture: Architecture, count: int) -> None:
    assert list(architecture.layouts[count]) == UNET_LAYOUTS[count]


@pytest.mark.parametrize("count", FLUX_LAYOUTS)
def test_a_flux_layout_lists_the_blocks_of_the_specification(count: int) -> None:
    assert list(FLUX.layouts[count]) == FLUX_LAYOUTS[count]


def test_no_architecture_takes_another_count_of_numbers() -> None:
    assert set(SD1.layouts) == set(SD2.layouts) == set(SDXL.layouts) == {12, 17, 20, 26}
    assert set(FLUX.layouts) == {57, 61}


@EVERY
def test_the_blocks_are_those_of_the_full_layout(architecture: Architecture) -> None:
    assert list(architecture.blocks) == BLOCKS[architecture.name]
    assert architecture.full_layout == len(BLOCKS[architecture.name])


@EVERY
def test_only_the_short_layout_of_numbered_blocks_leaves_the_others_at_1(architecture: Architecture) -> None:
    short = {len(architecture.numbered_blocks): 1.0} if architecture.kind != "unet" else {}
    assert dict(architecture.unlisted) == short
    assert all(architecture.layouts[count] == architecture.numbered_blocks for count in short)


@pytest.mark.parametrize(
    ("count", "owners"),
    [
        (12, ["sd1", "sd2", "sdxl", "sdxl-refiner"]),
        (17, ["sd1", "sd2", "sdxl-refiner"]),
        (26, ["sd1", "sd2", "sdxl-refiner", "lumina2"]),
        (57, ["flux", "chroma"]),
        (61, ["flux"]),
        (28, ["sd3-medium", "flux2-klein-4b", "anima", "krea2"]),
        (18, []),
        (0, []),
    ],
)
def test_a_count_of_numbers_leads_to_the_models_that_take_it(count: int, owners: list[str]) -> None:
    assert [a.name for a in layout_owners(count)] == owners


@EVERY
def test_tables_lead_only_to_blocks_that_exist(architecture: Architecture) -> None:
    named = {*architecture.family.outside, *architecture.encoders.values(), architecture.family.rest}
    named |= {block for group in architecture.groups.values() for block in group}
    assert named <= set(BLOCKS[architecture.name])


@EVERY
def test_early_middle_and_late_are_thirds_of_the_numbered_blocks_in_every_model(architecture: Architecture) -> None:
    parts = [weighted(f"0,{third}=1", architecture) for third in ("EARLY", "MIDDLE", "LATE")]
    if architecture.kind == "unet":
        ins, outs = ([b for b in BLOCKS[architecture.name] if b.startswith(side)] for side in ("IN", "OUT"))
        assert parts == [ins, ["M00"], outs]
        return
    outside = words("BASE CLIP T5 TE ADP IN OUT CR00 CR01 NR00 NR01 TF00 TF01 TF02 TF03")
    assert [*chain(*parts)] == [block for block in BLOCKS[architecture.name] if block not in outside]
    early, middle, late = map(len, parts)
    assert early == late
    assert abs(early - middle) <= 1


@EVERY
def test_base_is_all_text_encoders_in_every_model(architecture: Architecture) -> None:
    encoders = [b for b in BLOCKS[architecture.name] if b in ("BASE", "CLIP", "T5", "TE", "ADP")]
    assert weighted("0,BASE=1", architecture) == weighted("0,ENCODER=1", architecture) == encoders


@pytest.mark.parametrize("architecture", [SD1, SD2, SDXL, FLUX], ids=lambda a: a.name)
def test_every_block_has_a_tensor(architecture: Architecture) -> None:
    names = [
        "text_encoder.text_model.encoder.layers.0.mlp.fc1",
        "t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.q",
        "time_embed.0",
    ]
    names += [f"diffusion_model.input_blocks.{n}.0.x" for n in range(12)]
    names += [f"diffusion_model.output_blocks.{n}.0.x" for n in range(12)]
    names += ["diffusion_model.middle_block.1.x", "diffusion_model.img_in", "diffusion_model.final_layer.linear"]
    names += [f"diffusion_model.double_blocks.{n}.img_attn.qkv" for n in range(19)]
    names += [f"diffusion_model.single_blocks.{n}.linear1" for n in range(38)]
    assert {locate(name, architecture).block for name in names} == set(BLOCKS[architecture.name])
