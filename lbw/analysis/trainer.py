"""What was tuned, for the next training: arguments of kohya's sd-scripts, and a preset of LyCORIS.

The order of the numbers is that of sd-scripts: `get_block_index`, `get_block_lr_weight` and `get_block_dims_and_alphas`
in its `networks/lora.py`, and `create_network` in its `networks/lora_flux.py`. The names of modules are those of its
models (`library/original_unet.py`, `sdxl_original_unet.py`, `flux_models.py`), in which LyCORIS looks for them
(`create_modules` in `lycoris/kohya.py`; presets are told in its `docs/Preset.md`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lbw.core.architectures import FLUX, SD1, SD2, SDXL, Architecture
from lbw.core.errors import WeightsError
from lbw.core.weights import format_number


@dataclass(frozen=True)
class Training:
    """What a block at 1 is trained with.

    rank, alpha: of the LoRA. rate: the learning rate. has_convolutions: convolutions of 3×3 are trained too (LoCon).
    """

    rank: int = 16
    alpha: float = 8.0
    rate: float = 1e-4
    has_convolutions: bool = False

    def rank_of(self, weight: float) -> int:
        """Return the rank of a block at `weight`: in proportion, 0 for one that is not trained, else 1 at least."""
        return max(1, round(self.rank * weight)) if weight > 0 else 0

    def alpha_of(self, weight: float) -> float:
        """Return the alpha with which the rank of a block at `weight` has the strength that the whole rank has."""
        return round(self.alpha * self.rank_of(weight) / self.rank, 6)

    def rate_of(self, weight: float) -> float:
        """Return the learning rate of a block at `weight`."""
        return round(self.rate * max(0.0, weight), 12)


@dataclass(frozen=True)
class UNet:
    """A U-Net as sd-scripts counts it: blocks of `down_lr_weight`, `mid_lr_weight` and `up_lr_weight`.

    before, after: what `block_dims` counts besides. attention, convolutions: names of each block's modules.
    """

    down: tuple[str, ...]
    mid: tuple[str, ...]
    up: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]
    attention: Mapping[str, str]
    convolutions: Mapping[str, tuple[str, ...]]

    @property
    def counted(self) -> tuple[str, ...]:
        """The blocks of `block_dims`."""
        return (*self.before, *self.down, *self.mid, *self.up, *self.after)


def _numbered(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{place:02}" for place in range(count))


def _sd() -> UNet:
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
    return UNet(_numbered("IN", 12), ("M00",), _numbered("OUT", 12), (), (), attention, convolutions)


def _sdxl() -> UNet:
    """Return the U-Net of SDXL, named as in the original checkpoint; three of its blocks are in the middle."""
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
    mid = ("M00",) * 3
    return UNet(_numbered("IN", 9), mid, _numbered("OUT", 9), ("BASE",), ("OUT08",), attention, convolutions)


_SD = _sd()
UNETS = {SD1.name: _SD, SD2.name: _SD, SDXL.name: _sdxl()}

_FLUX_IN = ("img_in", "time_in", "vector_in", "guidance_in", "txt_in")
"""In the order of `in_dims`."""
_CLIP_MODULES = ("CLIPAttention", "CLIPSdpaAttention", "CLIPMLP")


# sd-scripts --------------------------------------------------------------------------------------


def learning_rates(weights: Mapping[str, float], architecture: Architecture, training: Training) -> str:
    """Return the arguments with which sd-scripts trains each block at its share of the learning rate.

    weights: of the blocks that are trained; one at 0 or below, or without a weight, is not.

    Raises:
        WeightsError: nothing is left to train, or sd-scripts has no such arguments for `architecture`.
    """
    _check(weights, architecture)
    rate = format_number(training.rate)
    if architecture is FLUX:
        return _command([f"--unet_lr {rate}", *_flux_encoders(weights, training)], _flux_rates(weights, training))
    unet = UNETS[architecture.name]
    parts = {"down_lr_weight": unet.down, "mid_lr_weight": unet.mid, "up_lr_weight": unet.up}
    arguments = [f"{name}={_numbers(max(0.0, weights.get(b, 0.0)) for b in part)}" for name, part in parts.items()]
    return _command([f"--unet_lr {rate}", *_encoder(weights, training)], arguments)


def ranks(weights: Mapping[str, float], architecture: Architecture, training: Training) -> str:
    """Return the arguments with which sd-scripts gives each block its share of the rank, at one strength.

    weights, and what is raised: see `learning_rates`. sd-scripts has one alpha for all blocks of Flux.
    """
    _check(weights, architecture)
    whole = [f"--network_dim {training.rank}", f"--network_alpha {format_number(training.alpha)}"]
    if architecture is FLUX:
        return _command([*whole, *_flux_encoders(weights)], _flux_ranks(weights, training))
    counted = [weights.get(block, 0.0) for block in UNETS[architecture.name].counted]
    dims, alphas = _numbers(map(training.rank_of, counted)), _numbers(map(training.alpha_of, counted))
    arguments = [f"block_dims={dims}", f"block_alphas={alphas}"]
    if training.has_convolutions:
        arguments += [f"conv_block_dims={dims}", f"conv_block_alphas={alphas}"]
    base = weights.get("BASE", 0.0)
    if base > 0:  # the text encoder's, as each block of the U-Net has its own
        whole = [f"--network_dim {training.rank_of(base)}", f"--network_alpha {format_number(training.alpha_of(base))}"]
    return _command([*whole, *_encoder(weights)], arguments)


def _check(weights: Mapping[str, float], architecture: Architecture) -> None:
    if architecture is not FLUX and architecture.name not in UNETS:
        raise WeightsError(f"sd-scripts has no settings for blocks of {architecture.title}")
    if not any(weight > 0 for weight in weights.values()):
        raise WeightsError("every block is at 0: nothing to train; the blocks to train need a weight above 0")


def _encoder(weights: Mapping[str, float], training: Training | None = None) -> list[str]:
    """Return the options of the text encoder; with its learning rate where `training` is given."""
    base = weights.get("BASE", 0.0)
    if base <= 0:
        return ["--network_train_unet_only"]
    return [f"--text_encoder_lr {format_number(training.rate_of(base))}"] if training else []


def _flux_encoders(weights: Mapping[str, float], training: Training | None = None) -> list[str]:
    clip, t5 = weights.get("CLIP", 0.0), weights.get("T5", 0.0)
    if clip <= 0 and t5 <= 0:
        return ["--network_train_unet_only"]
    if training is None:
        return []
    return [f"--text_encoder_lr {format_number(training.rate_of(clip))} {format_number(training.rate_of(t5))}"]


def _flux_chosen(weights: Mapping[str, float], training: Training) -> list[str]:
    """Return the arguments that leave out blocks of Flux; nothing in sd-scripts trains its last layer, OUT."""
    arguments = [
        f"train_{kind}_block_indices={_indices(FLUX.groups[prefix], weights)}"
        for kind, prefix in (("double", "D"), ("single", "S"))
    ]
    if weights.get("IN", 0.0) > 0:
        arguments.append(f"in_dims={_numbers([training.rank_of(weights['IN'])] * len(_FLUX_IN))}")
    return [*arguments, *(["train_t5xxl=True"] if weights.get("T5", 0.0) > 0 else [])]


def _flux_rates(weights: Mapping[str, float], training: Training) -> list[str]:
    arguments = _flux_chosen(weights, training)
    shares = _flux_shares(weights)
    inputs = weights.get("IN", 0.0)
    if 0 < inputs != 1:
        shares[f"({'|'.join(_FLUX_IN)})"] = inputs
    rates = [f"{pattern}={format_number(training.rate_of(weight))}" for pattern, weight in shares.items()]
    return [*arguments, *([f"network_reg_lrs={','.join(rates)}"] if rates else [])]


def _flux_ranks(weights: Mapping[str, float], training: Training) -> list[str]:
    arguments = _flux_chosen(weights, training)
    dims = [f"{pattern}={training.rank_of(weight)}" for pattern, weight in _flux_shares(weights).items()]
    return [*arguments, *([f"network_reg_dims={','.join(dims)}"] if dims else [])]


def _flux_shares(weights: Mapping[str, float]) -> dict[str, float]:
    """Return patterns of the modules of blocks that are trained at another weight than 1, and those weights."""
    alike: dict[tuple[str, float], list[str]] = {}
    for prefix, path in (("D", "double_blocks"), ("S", "single_blocks")):
        for block in FLUX.groups[prefix]:
            weight = weights.get(block, 0.0)
            if 0 < weight != 1:
                alike.setdefault((path, weight), []).append(str(int(block[1:])))
    return {f"{path}_({'|'.join(numbers)})_": weight for (path, weight), numbers in alike.items()}


def _indices(blocks: Sequence[str], weights: Mapping[str, float]) -> str:
    """Return the places of the blocks that are trained as sd-scripts reads them: `0,8-12`, `all` or `none`."""
    numbers = [place for place, block in enumerate(blocks) if weights.get(block, 0.0) > 0]
    if len(numbers) in (0, len(blocks)):
        return "all" if numbers else "none"
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _command(options: Sequence[str], arguments: Iterable[str]) -> str:
    return " ".join([*options, "--network_args", *(f'"{argument}"' for argument in arguments)])


def _numbers(values: Iterable[float]) -> str:
    return ",".join(map(format_number, values))


# LyCORIS -----------------------------------------------------------------------------------------


def lycoris_preset(weights: Mapping[str, float], architecture: Architecture, training: Training) -> str:
    """Return a preset of LyCORIS, as TOML, that trains the blocks above 0 and no other.

    A block that is not at 1 gets its share of the rank. BASE and CLIP are the text encoders' attention and MLP; time
    embeddings are left out as in LyCORIS' own presets for SDXL, and so is T5, whose layers LyCORIS does not know.

    Raises:
        WeightsError: nothing is left to train, or the modules of `architecture` are not known.
    """
    _check(weights, architecture)
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
            return tuple(name if name in ("img_in", "txt_in") else f"{name}.*" for name in _FLUX_IN)
        return ("final_layer.*",) if block == "OUT" else (f"{paths[block[0]]}.{int(block[1:])}.*",)
    unet = UNETS[architecture.name]
    attention = (unet.attention[block],) if block in unet.attention else ()
    return attention + (unet.convolutions.get(block, ()) if has_convolutions else ())


def _array(name: str, entries: Iterable[str]) -> str:
    rows = "".join(f'  "{entry}",\n' for entry in entries)
    return f"{name} = [\n{rows}]" if rows else f"{name} = []"
