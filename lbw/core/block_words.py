"""What each block of a model is, in a few words, and where it is in the original checkpoint."""

from __future__ import annotations

from typing import NamedTuple

from .family import Architecture
from .texts import t

STACKS = {
    "D": t("double stream block"),
    "S": t("single stream block"),
    "J": t("joint block"),
    "B": t("block"),
    "CR": t("context refiner"),
    "NR": t("noise refiner"),
    "TF": t("text fusion"),
    "IN": t("input block"),
    "OUT": t("output block"),
}
"""The words for the blocks of a stack, by its letter."""

ENCODERS = {
    "clip": t("CLIP text encoder"),
    "t5": t("T5 text encoder"),
    "llm": t("text encoder"),
    "adapter": t("text adapter"),
}
"""The words for the block of a kind of text encoder."""

SEVERAL, WITH_EMBEDDERS = t("text encoders"), t("text encoders and embedders")
BEFORE, MIDDLE, BEHIND = t("embedders and shared modulation"), t("middle block"), t("final layer")
"""Blocks outside of all stacks: before, between and after them."""


class Described(NamedTuple):
    """What a block is.

    words: the words for it. number: its number within its stack, None if it belongs to none. path: the path of its
    modules in the original checkpoint, if they have names of their own.
    """

    words: str
    number: int | None
    path: str

    def __str__(self) -> str:
        return self.words if self.number is None else f"{self.words} {self.number}"


def describe(block: str, architecture: Architecture) -> Described:
    """Return what `block` of `architecture` is."""
    family = architecture.family
    for letter, blocks in architecture.stacks.items():
        if block in blocks:
            number = blocks.index(block)
            stack = max(
                (s for s in family.stacks if s.letter == letter and s.first <= number), key=lambda stack: stack.first
            )
            return Described(STACKS[letter], number, f"{stack.path}.{number - stack.first}")
    sorts = [sort for sort, encoder in family.encoders.items() if encoder == block]
    outside = family.outside.get(block, "")
    path = ", ".join(outside.split())
    if sorts:
        words = WITH_EMBEDDERS if outside else ENCODERS[sorts[0]] if len(sorts) == 1 else SEVERAL
        return Described(words, None, path)
    place = family.order.index(block)
    stacks = [number for number, item in enumerate(family.order) if item.endswith("*")]
    words = BEFORE if place < stacks[0] else BEHIND if place > stacks[-1] else MIDDLE
    return Described(words, None, path)
