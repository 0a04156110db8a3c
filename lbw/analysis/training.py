"""How much training each block gets, and where its modules stand in the model of a trainer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lbw.core.family import PART, Architecture, Family, Stack
from lbw.core.trainers import AiToolkit, LyCORIS, NetworkArguments, Trainer, UNetArguments, UNetPaths

LEARNING_RATES, RANKS = "learning rates", "ranks"
"""What settings may say of each block."""


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


def chosen(weights: Mapping[str, float]) -> list[str]:
    """Return the blocks that are trained."""
    return [block for block, weight in weights.items() if weight > 0]


def untrained(weights: Mapping[str, float], architecture: Architecture, trainer: Trainer) -> list[str]:
    """Return the blocks that are to be trained, and that `trainer` does not train."""
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
    """Return the stack that `block` is of, and its number there; None for one that stands outside of all stacks."""
    letter = block.rstrip("0123456789")
    if letter not in family.letters or letter == block:
        return None
    number = int(block[len(letter) :])
    stack = max((s for s in family.stacks if s.letter == letter and s.first <= number), key=lambda s: s.first)
    return stack, number - stack.first


def outside_paths(block: str, family: Family, is_renamed: bool = False) -> list[str]:
    """Return the modules of a block that stands outside of the stacks, or what their names begin with.

    is_renamed: in diffusers' names too, which are some of them the original's.
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
    """Return where the modules of a U-Net's block stand: those below a path that ends with a dot."""
    attention = (paths.attention[block],) if block in paths.attention else ()
    return attention + (paths.convolutions.get(block, ()) if has_convolutions else ())
