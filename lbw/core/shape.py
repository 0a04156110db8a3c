"""Where the blocks of a model stand when they are drawn: a U-Net down and up, a transformer stack below stack."""

from __future__ import annotations

from .family import Architecture, thirds

Part = tuple[tuple[str, ...], ...]
"""Blocks in columns beside each other, each from top to bottom; a column of one block where they stand in a row."""


def shape(architecture: Architecture) -> tuple[Part, ...]:
    """Return the parts that the picture of `architecture` has, one below the other; each block stands in one of them.

    A U-Net's way down is the left column, its way up the right one, from the bottom to the top, and what is in neither
    stands below, the middle first. Of other models each main stack is a part, in thirds; what stands before, between
    and behind the stacks is in rows.
    """
    stacks = architecture.stacks
    if is_unet(architecture):
        ways = stacks["IN"], stacks["OUT"][::-1]
        others = [block for block in architecture.blocks if block not in ways[0] and block not in ways[1]]
        return ways, tuple((block,) for block in reversed(others))
    parts: list[Part] = []
    row: list[str] = []
    for item in architecture.family.order:
        letter = item.removesuffix("*")
        if letter not in architecture.family.main_letters:
            row += stacks[letter] if item.endswith("*") else [item]
            continue
        parts += [tuple((block,) for block in row), tuple(third for third in thirds(stacks[letter]) if third)]
        row = []
    parts.append(tuple((block,) for block in row))
    return tuple(part for part in parts if part)


def is_unet(architecture: Architecture) -> bool:
    """Tell whether the stacks of `architecture` are a way down and a way up."""
    return {"IN", "OUT"} <= set(architecture.family.letters)
