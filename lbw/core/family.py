"""What a family of models is, as data: its stacks of blocks, its names, its sizes; and one model of it.

`lbw/core/families` holds one file a family. Names are written there as in the sources they come from, with dots;
they are compared with underscores, as the kohya format writes them, which cannot tell the two apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from .trainers import Trainer

PART = ":"
"""In a table of other names: what stands before it is the original's module, and behind it the part of it."""


_ALL = re.compile(r"(\d+)ALL", re.ASCII | re.IGNORECASE)
_DIGITS = 4


def flat(name: str) -> str:
    """Return `name` as it is compared: dots written as underscores."""
    return name.replace(".", "_")


@dataclass(frozen=True, eq=False)
class Stack:
    """Blocks of one sort that stand one after the other, under one path of the original checkpoint.

    letter: what their ids begin with. path: `double_blocks`. modules: the names within a block, separated by spaces;
    empty where any name may stand there. first: the number in the id of block 0. is_main: whether these are among the
    numbered blocks of the short layout, and of `EARLY`, `MIDDLE` and `LATE`.
    """

    letter: str
    path: str
    modules: str = ""
    first: int = 0
    is_main: bool = True


@dataclass(frozen=True, eq=False)
class Renamed:
    """What another naming calls the modules of a stack, or those outside of all stacks.

    path: of the stack in that naming; empty for what stands outside. original: of the stack in the original
    checkpoint. modules: their names, or beginnings of names, and the original's. `attn.to_q` at `img_attn.qkv:q` is
    the part q of a module that the original has fused (`Family.fused`).
    """

    path: str
    original: str
    modules: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Size:
    """A model of the family that people run.

    counts: how many blocks each stack has, by letter. width: of what passes from block to block (Family.width_at);
    0 if it is not known. metadata: a regular expression that finds it in a file's metadata.
    """

    name: str
    title: str
    counts: Mapping[str, int] = field(default_factory=dict)
    width: int = 0
    metadata: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Family:
    """A family of models: everything that the program knows of it.

    name, title: for programs, and for people. released: year and month, by which families are listed.
    kind: families of one kind understand each other's block ids and layouts.
    order: the blocks of the full layout in order; `D*` is all of stack D.
    stacks: the numbered blocks.
    outside: by block, the modules that stand outside of all stacks, or what their names begin with.
    sizes: the models that there are, smallest first.
    renamed: other namings.
    fused: modules that other namings split, and the parts of their output in order.
    encoders: the block of each sort of text encoder: "clip", "t5", "llm"; "adapter" for what the host keeps with it.
    adapter: the path of a module between the text encoder and the denoiser, wherever a file or a host puts it.
    host_encoders: the names that hosts give to the text encoders.
    rest: the block of a tensor that nothing else places.
    width_at: modules of a block whose input has the width of `Size.width`.
    ratios: of modules of a block, the width of the output by that of the input, where it tells families apart.
    metadata: a regular expression that finds the family in a file's metadata.
    tells: a regular expression that finds a name that, of the families with the same names, no other has.
    tells_encoder: the same, for the names of text encoders where a file holds nothing else.
    layouts: by the count of numbers, layouts beside the full and the short one.
    groups: beside those that every family has.
    usual_groups: selectors of blocks that are usually set alike; thirds of each stack where none are given.
    trainers: how each trainer is told which blocks to train, the one most used first.
    pipeline: the classes of diffusers that run it, the usual one first. picture_size: the usual one, in pixels.
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
    """One model of a family: its blocks, in layout order, and the lists of numbers that it takes.

    `by_name` and `sized` of `lbw.core.architectures` make the one object of each.

    counts: how many blocks each stack has, by letter. layouts: by the count of numbers, the blocks that such a list
    fills. unlisted: by the count of numbers, what a block gets that the layout leaves out; 0 where absent.
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
        """What architectures have in common that understand each other's layouts."""
        return self.family.kind or self.family.name

    @property
    def encoders(self) -> Mapping[str, str]:
        """The block of each sort of text encoder."""
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
        """By the count of numbers, the blocks that such a list fills."""
        if self.family.layouts and len(self.blocks) in self.family.layouts:
            return self.family.layouts
        layouts = {len(self.blocks): self.blocks}
        if len(self.numbered_blocks) > 1:
            layouts.setdefault(len(self.numbered_blocks), self.numbered_blocks)
        others = dict(self.family.layouts)
        if self.family.named(self.name) is None:
            # A model cut down from a known one takes the lists that are written for it.
            for size in self.family.sizes:
                whole = Architecture(size.name, size.title, self.family, size.counts)
                if set(self.blocks) <= set(whole.blocks):
                    others |= whole.layouts
        for count, blocks in others.items():
            layouts.setdefault(count, blocks)
        return layouts

    @cached_property
    def unlisted(self) -> Mapping[int, float]:
        """By the count of numbers, what a block gets that the layout leaves out; 0 where absent."""
        numbers = set(self.family.main_letters)
        return {
            count: 1.0
            for count, blocks in self.layouts.items()
            if self.kind != "unet" and {block.rstrip("0123456789") for block in blocks} <= numbers
        }

    def layout_called(self, text: str) -> tuple[str, ...] | None:
        """Return the blocks of the layout that `text` calls: `12ALL` and the like; None if it calls none.

        Raises:
            LookupError: it calls a layout that this architecture has not.
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
        """Selectors of blocks that are usually set alike, as they stand beside each other in the model."""
        if self.family.usual_groups:
            return self.family.usual_groups
        parts = (part for letter in self.family.main_letters for part in thirds(self.stacks[letter]))
        return tuple(f"{part[0]}-{part[-1]}" for part in parts if len(part) > 1)


def numbered(letter: str, numbers: Iterable[int]) -> tuple[str, ...]:
    """Return the ids of blocks of one stack."""
    return tuple(f"{letter}{n:02}" for n in numbers)


def thirds(blocks: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Return `blocks` in three runs of the same length, or as nearly as can be, the outer two alike."""
    ends = [0, *(int(len(blocks) * part / 3 + 0.5) for part in (1, 2)), len(blocks)]
    return tuple(blocks[a:b] for a, b in pairwise(ends))
