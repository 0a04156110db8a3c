"""What was tuned, for the next training: a preset of LyCORIS that trains the chosen blocks.

Modules are named as in the models of sd-scripts (`library/original_unet.py`, `sdxl_original_unet.py`,
`flux_models.py`), where LyCORIS looks for them: `create_modules` in its `lycoris/kohya.py`. Its presets are told in its
`docs/Preset.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lbw.core.architectures import ARCHITECTURES
from lbw.core.errors import WeightsError
from lbw.core.family import Architecture
from lbw.core.weights import format_number

from .trainer import FLUX_IN, Training, check

FLUX, SD1, SD2, SDXL = (ARCHITECTURES[name] for name in ("flux", "sd1", "sd2", "sdxl"))


@dataclass(frozen=True)
class Names:
    """Patterns of the names of each block's modules: its attention, and its convolutions."""

    attention: Mapping[str, str]
    convolutions: Mapping[str, tuple[str, ...]]


def _sd() -> Names:
    """Return the U-Net of SD 1.x and 2.x, whose modules sd-scripts names as diffusers does."""
    attention = {"M00": "mid_block.attentions.0.*"}
    convolutions: dict[str, tuple[str, ...]] = {"IN00": ("conv_in",), "M00": ("mid_block.resnets.*",)}
    for stage in range(4):
        for n in range(2):
            block = f"IN{3 * stage + 1 + n:02}"
            convolutions[block] = (f"down_blocks.{stage}.resnets.{n}.*",)
            if stage < 3:
                attention[block] = f"down_blocks.{stage}.attentions.{n}.*"
        if stage < 3:
            convolutions[f"IN{3 * stage + 3:02}"] = (f"down_blocks.{stage}.downsamplers.*",)
        for n in range(3):
            block = f"OUT{3 * stage + n:02}"
            convolutions[block] = (f"up_blocks.{stage}.resnets.{n}.*",)
            if stage > 0:
                attention[block] = f"up_blocks.{stage}.attentions.{n}.*"
        convolutions[block] += (f"up_blocks.{stage}.upsamplers.*",) if stage < 3 else ("conv_out",)
    return Names(attention, convolutions)


def _sdxl() -> Names:
    """Return the U-Net of SDXL, whose modules sd-scripts names as the original checkpoint does."""
    sides = {"IN": "input_blocks", "OUT": "output_blocks"}
    attention = {"M00": "middle_block.1.*"}
    convolutions: dict[str, tuple[str, ...]] = {"M00": ("middle_block.0.*", "middle_block.2.*")}
    for side, path in sides.items():
        for n in range(9):
            convolutions[f"{side}{n:02}"] = (f"{path}.{n}.0.*",)
    for block in SDXL.layouts[12]:
        for side, path in sides.items():
            if block.startswith(side):
                attention[block] = f"{path}.{int(block[len(side) :])}.1.*"
    for n in (2, 5):
        convolutions[f"OUT{n:02}"] += (f"output_blocks.{n}.2.*",)
    convolutions |= {"IN00": ("input_blocks.0.0",), "OUT08": (*convolutions["OUT08"], "out.*")}
    return Names(attention, convolutions)


_SD = _sd()
NAMES = {SD1.name: _SD, SD2.name: _SD, SDXL.name: _sdxl()}
_CLIP_MODULES = ("CLIPAttention", "CLIPSdpaAttention", "CLIPMLP")


def lycoris_preset(weights: Mapping[str, float], architecture: Architecture, training: Training) -> str:
    """Return a preset of LyCORIS, as TOML, that trains the blocks above 0 and no other.

    A block that is not at 1 gets its share of the rank. BASE and CLIP are the text encoders' attention and MLP; time
    embeddings are left out as in LyCORIS' own presets for SDXL, and so is T5, whose layers LyCORIS does not know.

    Raises:
        WeightsError: nothing is left to train, or the modules of `architecture` are not known.
    """
    check(weights, architecture)
    names = {
        name: weight
        for block in architecture.blocks
        if (weight := weights.get(block, 0.0)) > 0
        for name in _modules(block, architecture, training.has_convolutions)
    }
    encoder = max(weights.get("BASE", 0.0), weights.get("CLIP", 0.0))
    if not names and encoder <= 0:
        raise WeightsError("nothing to train: no block above 0 has attention; choose another, or convolutions too")
    clip = _CLIP_MODULES if encoder > 0 else ()
    lines = [
        f"enable_conv = {str(training.has_convolutions).lower()}",
        "use_fnmatch = true",
        "unet_target_module = []",
        _array("unet_target_name", names),
        _array("text_encoder_target_module", clip),
        "text_encoder_target_name = []",
    ]
    shares = {f'name_algo_map."{name}"': weight for name, weight in names.items()}
    shares |= {f"module_algo_map.{name}": encoder for name in clip}
    for table, weight in shares.items():
        if training.rank_of(weight) != training.rank:
            dim, alpha = training.rank_of(weight), format_number(training.alpha_of(weight))
            lines.append(f"\n[{table}]\ndim = {dim}\nalpha = {alpha}")
    return "\n".join(lines) + "\n"


def _modules(block: str, architecture: Architecture, has_convolutions: bool) -> tuple[str, ...]:
    """Return the names of the denoiser's modules in `block`, as patterns of file names."""
    if architecture is FLUX:
        paths = {"D": "double_blocks", "S": "single_blocks"}
        if block in ("CLIP", "T5"):
            return ()
        if block == "IN":
            return tuple(name if name in ("img_in", "txt_in") else f"{name}.*" for name in FLUX_IN)
        return ("final_layer.*",) if block == "OUT" else (f"{paths[block[0]]}.{int(block[1:])}.*",)
    names = NAMES[architecture.name]
    attention = (names.attention[block],) if block in names.attention else ()
    return attention + (names.convolutions.get(block, ()) if has_convolutions else ())


def _array(name: str, entries: Iterable[str]) -> str:
    rows = "".join(f'  "{entry}",\n' for entry in entries)
    return f"{name} = [\n{rows}]" if rows else f"{name} = []"
