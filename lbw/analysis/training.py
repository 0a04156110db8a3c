"""How much training each block gets, and where its modules are in the model of a trainer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lbw.core.family import PART, Architecture, Family, Stack
from lbw.core.trainers import AiToolkit, LyCORIS, NetworkArguments, Trainer, UNetArguments, UNetPaths

LEARNING_RATES, RANKS = "learning rates", "ranks"
"""What settings may control for each block."""


@dataclass(frozen=True)
class Training:
    """The training settings of a block at 1.

    rank, alpha: of the LoRA. rate: the learning rate. has_convolutions: whether 3×3 convolutions are trained too
    (LoCon).
    """

    rank: int = 16
    alpha: float = 8.0
    rate: float = 1e-4
    has_convolutions: bool = False

    def rank_of(self, weight: float) -> int:
        """Return the rank of a block at `weight`: in proportion, 0 if it is not trained, otherwise at least 1."""
        return max(1, round(self.rank * weight)) if weight > 0 else 0

    def alpha_of(self, weight: float) -> float:
        """Return the alpha that gives the rank of a block at `weight` the same strength as the full rank."""
        return round(self.alpha * self.rank_of(weight) / self.rank, 6)

    def rate_of(self, weight: float) -> float:
        """Return the learning rate of a block at `weight`."""
        return round(self.rate * max(0.0, weight), 12)


def chosen(weights: Mapping[str, float]) -> list[str]:
    """Return the blocks that are trained."""
    return [block for block, weight in weights.items() if weight > 0]


def untrained(weights: Mapping[str, float], architecture: Architecture, trainer: Trainer) -> list[str]:
    """Return the blocks that should be trained but that `trainer` does not train."""
    trained = set(_trained(architecture, trainer))
    return [block for block in chosen(weights) if block not in trained]


def _trained(architecture: Architecture, trainer: Trainer) -> Iterable[str]:
    family = architecture.family
    denoiser = [block for block in architecture.blocks if block not in architecture.encoders.values()]
    if isinstance(trainer, UNetArguments):
        return {*trainer.counted, trainer.encoder}
    if isinstance(trainer, AiToolkit):
        return {*denoiser, trainer.encoder}
    if isinstance(trainer, LyCORIS):
        return {*denoiser, *trainer.encoders, *([architecture.encoders["adapter"]] if family.adapter else ())}
    if isinstance(trainer, NetworkArguments):
        letters = {*family.main_letters, *trainer.included, *(family.letters if trainer.is_whole else ())}
        found = {block for letter in letters for block in architecture.stacks.get(letter, (letter,))}
        found |= {*dict(trainer.in_dims).values(), *trainer.enabled, *trainer.encoders}
        return found | {*denoiser} if trainer.is_whole else found
    return ()


# Paths -------------------------------------------------------------------------------------------


def stack_of(block: str, family: Family) -> tuple[Stack, int] | None:
    """Return the stack of `block` and its number there; None for a block outside of all stacks."""
    letter = block.rstrip("0123456789")
    if letter not in family.letters or letter == block:
        return None
    number = int(block[len(letter) :])
    stack = max((s for s in family.stacks if s.letter == letter and s.first <= number), key=lambda s: s.first)
    return stack, number - stack.first


def outside_paths(block: str, family: Family, is_renamed: bool = False) -> list[str]:
    """Return the modules of a block outside of the stacks, or the beginnings of their names.

    is_renamed: also with diffusers' names, some of which are the same as the original's.
    """
    names = family.outside.get(block, "").split()
    renamed = [
        theirs
        for naming in family.renamed
        if is_renamed and not naming.path
        for theirs, ours in naming.modules.items()
        if any(f"{ours.partition(PART)[0]}.".startswith(f"{name}.") for name in names)
    ]
    return list(dict.fromkeys([*names, *renamed]))


def unet_paths(block: str, paths: UNetPaths, has_convolutions: bool) -> tuple[str, ...]:
    """Return where the modules of a U-Net's block are: below each path that ends with a dot."""
    attention = (paths.attention[block],) if block in paths.attention else ()
    return attention + (paths.convolutions.get(block, ()) if has_convolutions else ())
