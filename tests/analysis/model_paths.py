"""Paths of layers as the models of trainers have them, one of each sort in a block."""

from __future__ import annotations

from collections.abc import Iterator

from lbw.core.family import Architecture


def modules(architecture: Architecture) -> list[str]:
    """Return those of sd-scripts' models."""
    return list(MODELS[architecture.name]())


def diffusers_modules(architecture: Architecture) -> list[str]:
    """Return those of diffusers' U-Nets."""
    return list((xl_diffusers_modules if architecture.name == "sdxl" else sd_modules)())


def sd_modules() -> Iterator[str]:
    """Yield those of `original_unet.py`: CrossAttnDownBlock2D thrice, DownBlock2D, the middle, and the way up."""
    yield from ("conv_in", "conv_out")
    for stage in range(4):
        for n in range(2):
            yield f"down_blocks.{stage}.resnets.{n}.conv1"
            if stage < 3:
                yield f"down_blocks.{stage}.attentions.{n}.transformer_blocks.0.attn1.to_q"
        if stage < 3:
            yield f"down_blocks.{stage}.downsamplers.0.conv"
            yield f"up_blocks.{stage}.upsamplers.0.conv"
        for n in range(3):
            yield f"up_blocks.{stage}.resnets.{n}.conv1"
            if stage > 0:
                yield f"up_blocks.{stage}.attentions.{n}.proj_in"
    yield from ("mid_block.attentions.0.proj_in", "mid_block.resnets.0.conv1", "mid_block.resnets.1.conv1")


def sdxl_modules() -> Iterator[str]:
    """Yield those of `sdxl_original_unet.py`."""
    yield "input_blocks.0.0"
    for n in (1, 2, 4, 5, 7, 8):
        yield f"input_blocks.{n}.0.in_layers.2"
    yield from ("input_blocks.3.0.op", "input_blocks.6.0.op")
    yield from ("middle_block.0.in_layers.2", "middle_block.2.in_layers.2")
    for n in range(9):
        yield f"output_blocks.{n}.0.in_layers.2"
    yield from ("output_blocks.2.2.conv", "output_blocks.5.2.conv", "out.2")
    ins, outs = [f"input_blocks.{n}" for n in (4, 5, 7, 8)], [f"output_blocks.{n}" for n in range(6)]
    yield from (f"{path}.1.transformer_blocks.0.attn1.to_q" for path in [*ins, "middle_block", *outs])


def xl_diffusers_modules() -> Iterator[str]:
    """Yield those of diffusers' U-Net of SDXL: DownBlock2D, CrossAttnDownBlock2D twice, the middle, and the way up."""
    yield from ("conv_in", "conv_out")
    for stage in range(3):
        for n in range(2):
            yield f"down_blocks.{stage}.resnets.{n}.conv1"
            if stage > 0:
                yield f"down_blocks.{stage}.attentions.{n}.transformer_blocks.0.attn1.to_q"
        if stage < 2:
            yield f"down_blocks.{stage}.downsamplers.0.conv"
            yield f"up_blocks.{stage}.upsamplers.0.conv"
        for n in range(3):
            yield f"up_blocks.{stage}.resnets.{n}.conv1"
            if stage < 2:
                yield f"up_blocks.{stage}.attentions.{n}.proj_in"
    yield from ("mid_block.attentions.0.proj_in", "mid_block.resnets.0.conv1", "mid_block.resnets.1.conv1")


def flux_modules() -> Iterator[str]:
    """Yield those of `flux_models.py`."""
    yield from ("img_in", "txt_in", "time_in.in_layer", "vector_in.in_layer", "guidance_in.out_layer")
    yield from (f"double_blocks.{n}.img_attn.qkv" for n in range(19))
    yield from (f"single_blocks.{n}.linear1" for n in range(38))
    yield from ("final_layer.linear", "final_layer.adaLN_modulation.1")


MODELS = {"sd1": sd_modules, "sd2": sd_modules, "sdxl": sdxl_modules, "flux": flux_modules}
