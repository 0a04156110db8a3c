"""Arguments of sd-scripts and musubi-tuner for the blocks to train; see `NetworkArguments` of `lbw.core.trainers`.

Patterns are written without backslashes, which shells and TOML interpret differently.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lbw.core.family import Architecture, flat
from lbw.core.numbers import format_number
from lbw.core.trainers import Musubi, NetworkArguments, UNetArguments

from .training import LEARNING_RATES, RANKS, Training, chosen, outside_paths, stack_of

_WHOLE = "([.].*)?"
"""After the name of a module: the module and everything below it."""


def unet_arguments(weights: Mapping[str, float], trainer: UNetArguments, says: str, training: Training) -> str:
    """Return the arguments with which sd-scripts trains each block of a U-Net according to its weight.

    says: LEARNING_RATES or RANKS; with ranks, each block has an alpha that keeps the strength the same.
    """
    base = weights.get(trainer.encoder, 0.0)
    only_unet = [] if base > 0 else ["--network_train_unet_only"]
    module = "--network_module networks.lora"
    if says == LEARNING_RATES:
        parts = {"down_lr_weight": trainer.down, "mid_lr_weight": trainer.mid, "up_lr_weight": trainer.up}
        arguments = [f"{name}={_numbers(max(0.0, weights.get(b, 0.0)) for b in part)}" for name, part in parts.items()]
        encoder = only_unet or [f"--text_encoder_lr {format_number(training.rate_of(base))}"]
        return _command([module, f"--unet_lr {format_number(training.rate)}", *encoder], arguments)
    counted = [weights.get(block, 0.0) for block in trainer.counted]
    dims, alphas = _numbers(map(training.rank_of, counted)), _numbers(map(training.alpha_of, counted))
    arguments = [f"block_dims={dims}", f"block_alphas={alphas}"]
    if training.has_convolutions:
        arguments += [f"conv_block_dims={dims}", f"conv_block_alphas={alphas}"]
    # The text encoder's own rate, like those of the U-Net blocks; without it they would have no effect.
    whole = base if base > 0 else 1.0
    rank, alpha = training.rank_of(whole), format_number(training.alpha_of(whole))
    return _command([module, f"--network_dim {rank}", f"--network_alpha {alpha}", *only_unet], arguments)


def network_arguments(
    weights: Mapping[str, float], architecture: Architecture, trainer: NetworkArguments, says: str, training: Training
) -> str:
    """Return the arguments with which sd-scripts or musubi-tuner trains the blocks above 0.

    says: LEARNING_RATES or RANKS, in proportion to the weight of each block; empty if all are trained in full.
    """
    rate = format_number(training.rate)
    options = [f"--network_module {trainer.module}"]
    if says != LEARNING_RATES:
        options += [f"--network_dim {training.rank}", f"--network_alpha {format_number(training.alpha)}"]
    if isinstance(trainer, Musubi):
        options.append(f"--learning_rate {rate}")
    else:
        options += [f"--unet_lr {rate}"] if says != RANKS else []
        options += _encoders(weights, trainer, says, training)
    arguments = _selection(weights, architecture, trainer)
    if trainer.dims and any(weights.get(block, 0.0) > 0 for _, block in trainer.in_dims):
        arguments.append(f"{trainer.dims}={_numbers(_dims(weights, trainer, says, training))}")
    arguments += [argument for block, argument in trainer.enabled.items() if weights.get(block, 0.0) > 0]
    shares = _shares(weights, architecture, trainer, says)
    if says == LEARNING_RATES and shares:
        rates = [f"{pattern}={format_number(training.rate_of(weight))}" for pattern, weight in shares.items()]
        arguments.append(f"network_reg_lrs={','.join(rates)}")
    ranks = {pattern: training.rank_of(weight) for pattern, weight in shares.items()} if says == RANKS else {}
    if trainer.shares == "search" and not trainer.indices:
        ranks = dict.fromkeys(_patterns(_left_out(weights, architecture), architecture, trainer.shares), 0) | ranks
    if ranks:
        arguments.append(f"network_reg_dims={','.join(f'{pattern}={rank}' for pattern, rank in ranks.items())}")
    return _command(options, arguments)


def _encoders(weights: Mapping[str, float], trainer: NetworkArguments, says: str, training: Training) -> list[str]:
    """Return the options of the text encoders; with ranks they have the same learning rate as the rest."""
    shares = [max(0.0, weights.get(block, 0.0)) for block in trainer.encoders]
    if not any(shares):
        return ["--network_train_unet_only"]
    if says == RANKS:
        return []
    rates = [training.rate_of(share if says else float(share > 0)) for share in shares]
    return [f"--text_encoder_lr {' '.join(map(format_number, rates))}"]


# Which blocks ------------------------------------------------------------------------------------


def _left_out(weights: Mapping[str, float], architecture: Architecture) -> list[str]:
    """Return the numbered blocks of the main stacks that are not trained."""
    return [block for block in architecture.numbered_blocks if weights.get(block, 0.0) <= 0]


def _selection(weights: Mapping[str, float], architecture: Architecture, trainer: NetworkArguments) -> list[str]:
    """Return the arguments that leave out blocks, except those left out by rank 0."""
    if trainer.indices:
        return [
            f"{argument}={_indices(architecture.stacks[letter], weights)}"
            for letter, argument in trainer.indices.items()
        ]
    if trainer.shares == "search":
        return []
    left_out = _left_out(weights, architecture)
    excluded: list[str] = []
    if trainer.is_whole:
        stacks = [block for blocks in architecture.stacks.values() for block in blocks]
        left_out = [block for block in stacks if weights.get(block, 0.0) <= 0]
        for block in architecture.family.outside:
            if weights.get(block, 0.0) <= 0:
                excluded += [_dotted(path) + _WHOLE for path in outside_paths(block, architecture.family)]
    excluded = _patterns(left_out, architecture, "fullmatch") + excluded
    arguments = [f"exclude_patterns={[*excluded, *trainer.excluded]}"] if excluded else []
    included = [pattern for _, pattern in _included(chosen(weights), architecture, trainer)]
    return [*arguments, *([f"include_patterns={included}"] if included else [])]


def _included(blocks: Iterable[str], architecture: Architecture, trainer: NetworkArguments) -> list[tuple[str, str]]:
    """Return blocks that the trainer leaves out by default, each with a pattern that includes modules of it."""
    found = []
    for block in blocks:
        numbered = stack_of(block, architecture.family)
        key, number = (numbered[0].letter, str(numbered[1])) if numbered else (block, "")
        found += [(block, pattern.replace("#", number)) for pattern in trainer.included.get(key, ())]
    return found


def _indices(blocks: Sequence[str], weights: Mapping[str, float]) -> str:
    """Return the indices of the trained blocks in the form that sd-scripts reads: `0,8-12`, `all` or `none`."""
    numbers = [index for index, block in enumerate(blocks) if weights.get(block, 0.0) > 0]
    if len(numbers) in (0, len(blocks)):
        return "all" if numbers else "none"
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


# How much ----------------------------------------------------------------------------------------


def _dims(weights: Mapping[str, float], trainer: NetworkArguments, says: str, training: Training) -> Iterable[int]:
    """Return the rank of each module outside of the stacks: in proportion to its block with ranks, else in full."""
    shares = [weights.get(block, 0.0) for _, block in trainer.in_dims]
    return [training.rank_of(share if says == RANKS else float(share > 0)) for share in shares]


def _shares(
    weights: Mapping[str, float], architecture: Architecture, trainer: NetworkArguments, says: str
) -> dict[str, float]:
    """Return patterns for the modules of blocks trained at a weight other than 1, with these weights."""
    alike: dict[float, list[str]] = {}
    for block in architecture.numbered_blocks:
        if 0 < (weight := weights.get(block, 0.0)) != 1:
            alike.setdefault(weight, []).append(block)
    shares = {p: weight for weight, blocks in alike.items() for p in _patterns(blocks, architecture, trainer.shares)}
    others = [block for block, weight in weights.items() if 0 < weight != 1]
    shares |= {pattern: weights[block] for block, pattern in _included(others, architecture, trainer)}
    adapter = architecture.encoders.get("adapter", "")
    if adapter in trainer.enabled and adapter in others:
        shares[_dotted(architecture.family.adapter) + _WHOLE] = weights[adapter]
    if says == LEARNING_RATES:
        for block in dict.fromkeys(block for _, block in trainer.in_dims if block in others):
            names = [name for name, owner in trainer.in_dims if owner == block]
            shares[f"({'|'.join(names)})"] = weights[block]
    return shares


def _patterns(blocks: Iterable[str], architecture: Architecture, shares: str) -> list[str]:
    """Return a pattern for the modules of `blocks` for each stack that contains some of them."""
    numbers: dict[str, list[str]] = {}
    for block in blocks:
        if numbered := stack_of(block, architecture.family):
            numbers.setdefault(numbered[0].path, []).append(str(numbered[1]))
    if shares == "search":
        return [f"{flat(path)}_({'|'.join(which)})_" for path, which in numbers.items()]
    return [f"{_dotted(path)}[.]({'|'.join(which)})[.].*" for path, which in numbers.items()]


def _dotted(path: str) -> str:
    return path.replace(".", "[.]")


def _command(options: Sequence[str], arguments: Iterable[str]) -> str:
    written = [f'"{argument}"' for argument in arguments]
    return " ".join([*options, *(["--network_args", *written] if written else [])])


def _numbers(values: Iterable[float]) -> str:
    return ",".join(map(format_number, values))
