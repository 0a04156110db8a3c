"""What was tuned, for the next training: arguments of kohya's sd-scripts.

The order of the numbers is that of `get_block_index`, `get_block_lr_weight` and `get_block_dims_and_alphas` in its
`networks/lora.py`, and of `create_network` in its `networks/lora_flux.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lbw.core.architectures import ARCHITECTURES
from lbw.core.errors import WeightsError, listing
from lbw.core.family import Architecture
from lbw.core.weights import format_number

FLUX, SD1, SD2, SDXL = (ARCHITECTURES[name] for name in ("flux", "sd1", "sd2", "sdxl"))


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

    before, after: what `block_dims` counts besides.
    """

    down: tuple[str, ...]
    mid: tuple[str, ...]
    up: tuple[str, ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    @property
    def counted(self) -> tuple[str, ...]:
        """The blocks of `block_dims`."""
        return (*self.before, *self.down, *self.mid, *self.up, *self.after)


def _numbered(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{place:02}" for place in range(count))


_SD = UNet(_numbered("IN", 12), ("M00",), _numbered("OUT", 12))
_SDXL = UNet(_numbered("IN", 9), ("M00",) * 3, _numbered("OUT", 9), before=("BASE",), after=("OUT08",))
UNETS = {SD1.name: _SD, SD2.name: _SD, SDXL.name: _SDXL}
FLUX_IN = ("img_in", "time_in", "vector_in", "guidance_in", "txt_in")
"""What the block IN of Flux holds, in the order of `in_dims`."""


def learning_rates(weights: Mapping[str, float], architecture: Architecture, training: Training) -> str:
    """Return the arguments with which sd-scripts trains each block at its share of the learning rate.

    weights: of the blocks that are trained; one at 0 or below, or without a weight, is not.

    Raises:
        WeightsError: nothing is left to train, or sd-scripts has no such arguments for `architecture`.
    """
    check(weights, architecture)
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
    check(weights, architecture)
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


def remarks(weights: Mapping[str, float], architecture: Architecture) -> list[str]:
    """Return what of `weights` the settings cannot say."""
    negative = [block for block, weight in weights.items() if weight < 0]
    found = [f"nothing is trained below 0; as 0 count: {listing(negative)}"] if negative else []
    if architecture is FLUX:
        if weights.get("OUT", 0.0) > 0:
            found.append("sd-scripts does not train OUT (final_layer)")
        if weights.get("T5", 0.0) > 0:
            found.append("LyCORIS does not train T5")
        if _flux_shares(weights):
            found.append("sd-scripts has one alpha for all blocks of Flux.1, whatever their ranks")
    return found


def check(weights: Mapping[str, float], architecture: Architecture) -> None:
    """Raise WeightsError where nothing is left to train, or nothing is known of how `architecture` is trained."""
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
        arguments.append(f"in_dims={_numbers([training.rank_of(weights['IN'])] * len(FLUX_IN))}")
    return [*arguments, *(["train_t5xxl=True"] if weights.get("T5", 0.0) > 0 else [])]


def _flux_rates(weights: Mapping[str, float], training: Training) -> list[str]:
    arguments = _flux_chosen(weights, training)
    shares = _flux_shares(weights)
    inputs = weights.get("IN", 0.0)
    if 0 < inputs != 1:
        shares[f"({'|'.join(FLUX_IN)})"] = inputs
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
