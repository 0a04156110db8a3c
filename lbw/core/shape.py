"""How the blocks of a model are arranged when they are drawn: a U-Net down and up, a transformer stack by stack."""

from __future__ import annotations

from .family import Architecture, thirds

Part = tuple[tuple[str, ...], ...]
"""Blocks in columns side by side, each from top to bottom; for blocks in a row, each column has one block."""


def shape(architecture: Architecture) -> tuple[Part, ...]:
    """Return the parts of the picture of `architecture`, from top to bottom; each block is in one of them.

    A U-Net's down blocks are the left column, its up blocks the right one, from bottom to top; the others are below,
    the middle first. For other models each main stack is a part, in thirds; the blocks before, between and after the
    stacks are in rows.
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
    """Return whether the stacks of `architecture` are down blocks and up blocks."""
    return {"IN", "OUT"} <= set(architecture.family.letters)
