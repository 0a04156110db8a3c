"""A family of models as data: its stacks of blocks, its names, its sizes; and a single model of it.

`lbw/core/families` has one file per family. Names are written there as in their sources, with dots; they are compared
with underscores, as in the kohya format, which does not distinguish the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from .trainers import Trainer

PART = ":"
"""In a table of other names, it separates the original's module from the part of it."""


_ALL = re.compile(r"(\d+)ALL", re.ASCII | re.IGNORECASE)
_DIGITS = 4


def flat(name: str) -> str:
    """Return `name` in the form that is compared: with underscores instead of dots."""
    return name.replace(".", "_")


@dataclass(frozen=True, eq=False)
class Stack:
    """Consecutive blocks of one kind, under one path of the original checkpoint.

    letter: the beginning of their ids. path: `double_blocks`. modules: the names within a block, separated by spaces;
    empty if any name is allowed. first: the number in the id of block 0. is_main: whether they are among the numbered
    blocks of the short layout and of `EARLY`, `MIDDLE` and `LATE`.
    """

    letter: str
    path: str
    modules: str = ""
    first: int = 0
    is_main: bool = True


@dataclass(frozen=True, eq=False)
class Renamed:
    """The names that another naming scheme uses for the modules of a stack, or for those outside of all stacks.

    path: of the stack in that scheme; empty for modules outside of stacks. original: of the stack in the original
    checkpoint. modules: from their names, or beginnings of names, to the original's. `attn.to_q` to `img_attn.qkv:q`
    means the part q of a module that is fused in the original (`Family.fused`).
    """

    path: str
    original: str
    modules: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Size:
    """A published model of the family.

    counts: how many blocks each stack has, by letter. width: of the hidden states between blocks (Family.width_at); 0
    if unknown. metadata: a regular expression that matches it in a file's metadata.
    """

    name: str
    title: str
    counts: Mapping[str, int] = field(default_factory=dict)
    width: int = 0
    metadata: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Family:
    """Everything the program knows about a family of models.

    name, title: for programs and for people. released: year and month, which determines the order of families.
    kind: families of one kind accept each other's block ids and layouts.
    order: the blocks of the full layout in order; `D*` is all of stack D.
    stacks: the numbered blocks.
    outside: by block, the modules outside of all stacks, or the beginnings of their names.
    sizes: the published models, smallest first.
    renamed: other naming schemes.
    fused: modules that other schemes split, and the parts of their output in order.
    encoders: the block of each kind of text encoder: "clip", "t5", "llm"; "adapter" for what the host keeps with it.
    adapter: the path of a module between the text encoder and the denoiser, wherever files and hosts put it.
    host_encoders: the hosts' names for the text encoders.
    rest: the block of tensors that belong to no other.
    width_at: modules of a block whose input has the width of `Size.width`.
    ratios: output width divided by input width of modules of a block, if that distinguishes families.
    metadata: a regular expression that matches the family in a file's metadata.
    tells: a regular expression for a name that no other family with otherwise the same names has.
    tells_encoder: the same for names of text encoders, for files that contain nothing else.
    layouts: by the count of numbers, layouts other than the full and the short one.
    groups: in addition to those that every family has.
    usual_groups: selectors of blocks that are usually set together; thirds of each stack if none are given.
    trainers: how to tell each trainer which blocks to train, the most popular trainer first.
    pipeline: the diffusers classes that run it, the usual one first. picture_size: the usual one, in pixels.
    """

    name: str
    title: str
    released: str
    order: tuple[str, ...]
    stacks: tuple[Stack, ...]
    outside: Mapping[str, str]
    sizes: tuple[Size, ...]
    encoders: Mapping[str, str]
    kind: str = ""
    renamed: tuple[Renamed, ...] = ()
    fused: Mapping[str, str] = field(default_factory=dict)
    adapter: str = ""
    host_encoders: tuple[str, ...] = ()
    rest: str = "IN"
    width_at: str = ""
    ratios: Mapping[str, float] = field(default_factory=dict)
    metadata: str = ""
    tells: str = ""
    tells_encoder: str = ""
    layouts: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    usual_groups: tuple[str, ...] = ()
    trainers: tuple[Trainer, ...] = ()
    pipeline: tuple[str, ...] = ()
    picture_size: int = 1024
    is_guess: bool = False

    def __repr__(self) -> str:
        return f"Family({self.name!r})"

    @cached_property
    def letters(self) -> tuple[str, ...]:
        """The letters of the stacks, in layout order."""
        return tuple(item[:-1] for item in self.order if item.endswith("*"))

    @cached_property
    def main_letters(self) -> tuple[str, ...]:
        """The letters of the stacks whose blocks the short layout lists, in layout order."""
        main = {stack.letter for stack in self.stacks if stack.is_main}
        return tuple(letter for letter in self.letters if letter in main)

    def named(self, name: str) -> Size | None:
        """Return the size called `name`, None if there is none."""
        return next((size for size in self.sizes if size.name == name), None)


@dataclass(frozen=True, eq=False, repr=False)
class Architecture:
    """One model of a family: its blocks in layout order, and the lists of numbers that it accepts.

    Get it from `by_name` or `sized` of `lbw.core.architectures`: there is one object for each model.

    counts: how many blocks each stack has, by letter. layouts: by the count of numbers, the blocks that such a list
    sets. unlisted: by the count of numbers, what blocks get that the layout leaves out; 0 if absent.
    groups: names that stand for several blocks in a selector.
    """

    name: str
    title: str
    family: Family
    counts: Mapping[str, int]
    width: int = 0

    def __repr__(self) -> str:
        return f"Architecture({self.name!r})"

    @property
    def kind(self) -> str:
        """Architectures of the same kind accept each other's layouts."""
        return self.family.kind or self.family.name

    @property
    def encoders(self) -> Mapping[str, str]:
        """The block of each kind of text encoder."""
        return self.family.encoders

    @cached_property
    def stacks(self) -> Mapping[str, tuple[str, ...]]:
        """The numbered blocks, by the letter of their stack."""
        return {letter: numbered(letter, range(self.counts.get(letter, 0))) for letter in self.family.letters}

    @cached_property
    def blocks(self) -> tuple[str, ...]:
        """Every block, in layout order."""
        found: list[str] = []
        for item in self.family.order:
            found += self.stacks[item[:-1]] if item.endswith("*") else [item]
        return tuple(found)

    @cached_property
    def numbered_blocks(self) -> tuple[str, ...]:
        """The blocks of the main stacks, in layout order."""
        return tuple(block for letter in self.family.main_letters for block in self.stacks[letter])

    @cached_property
    def layouts(self) -> Mapping[int, tuple[str, ...]]:
        """By the count of numbers, the blocks that such a list sets."""
        if self.family.layouts and len(self.blocks) in self.family.layouts:
            return self.family.layouts
        layouts = {len(self.blocks): self.blocks}
        if len(self.numbered_blocks) > 1:
            layouts.setdefault(len(self.numbered_blocks), self.numbered_blocks)
        others = dict(self.family.layouts)
        if self.family.named(self.name) is None:
            # A model with blocks removed accepts the lists for the original.
            for size in self.family.sizes:
                whole = Architecture(size.name, size.title, self.family, size.counts)
                if set(self.blocks) <= set(whole.blocks):
                    others |= whole.layouts
        for count, blocks in others.items():
            layouts.setdefault(count, blocks)
        return layouts

    @cached_property
    def unlisted(self) -> Mapping[int, float]:
        """By the count of numbers, what blocks get that the layout leaves out; 0 if absent."""
        numbers = set(self.family.main_letters)
        return {
            count: 1.0
            for count, blocks in self.layouts.items()
            if self.kind != "unet" and {block.rstrip("0123456789") for block in blocks} <= numbers
        }

    def layout_called(self, text: str) -> tuple[str, ...] | None:
        """Return the blocks of the layout that `text` names, such as `12ALL`; None if it does not name one.

        Raises:
            LookupError: this architecture does not have the layout.
        """
        match = _ALL.fullmatch(text.strip())
        if match is None:
            return None
        layout = self.layouts.get(int(match[1])) if len(match[1]) <= _DIGITS else None
        if layout is None:
            raise LookupError(text)
        return tuple(block for block in layout if block in self.blocks)

    @property
    def full_layout(self) -> int:
        """The count of numbers of the layout that lists every block."""
        return next(count for count, blocks in self.layouts.items() if blocks == self.blocks)

    @cached_property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """Names that stand for several blocks in a selector."""
        encoders = tuple(block for block in self.blocks if block in self.encoders.values())
        groups = {letter: blocks for letter, blocks in self.stacks.items() if blocks}
        for group in ("BASE", "ENCODER"):
            if group not in self.blocks and encoders:
                groups[group] = encoders
        if self.numbered_blocks:
            groups |= dict(zip(("EARLY", "MIDDLE", "LATE"), thirds(self.numbered_blocks)))
        return {**groups, **self.family.groups}

    @cached_property
    def usual_groups(self) -> tuple[str, ...]:
        """Selectors of neighboring blocks that are usually set together."""
        if self.family.usual_groups:
            return self.family.usual_groups
        parts = (part for letter in self.family.main_letters for part in thirds(self.stacks[letter]))
        return tuple(f"{part[0]}-{part[-1]}" for part in parts if len(part) > 1)


def numbered(letter: str, numbers: Iterable[int]) -> tuple[str, ...]:
    """Return the ids of blocks of one stack."""
    return tuple(f"{letter}{n:02}" for n in numbers)


def thirds(blocks: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Return `blocks` in three runs of nearly the same length; the outer two have the same."""
    ends = [0, *(int(len(blocks) * part / 3 + 0.5) for part in (1, 2)), len(blocks)]
    return tuple(blocks[a:b] for a, b in pairwise(ends))
