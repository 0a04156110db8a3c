"""The tuner: finds block weights by sorting blocks and rendering the open ones one step lower and higher.

Each block is needed, not needed or unknown, and fixed or open. A round renders every open block at its value minus and
plus the step, blocks of a group together; the user accepts what looks better, and the next round may use a smaller
step.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from lbw.core.architectures import by_name
from lbw.core.entries import RandomSource
from lbw.core.errors import WeightsError, quote
from lbw.core.family import Architecture
from lbw.core.numbers import format_number
from lbw.core.presets import check_name
from lbw.core.selectors import select
from lbw.core.texts import t
from lbw.core.weights import parse_block_weights, positional_text

from .cells import Cell, positive_number
from .effective_blocks import NEEDED, NOT_MEASURED, NOT_NEEDED, UNKNOWN
from .groups import Group, groups_text, selector_text

MINUS, PLUS, BOTH = t("minus"), t("plus"), t("both")
STEPS = (0.5, 0.25, 0.1)
"""The usual steps, in order; any other is possible too."""

_DIGITS = 10
"""Decimal places of a value after a step, so that 0.1 + 0.2 is 0.3."""


@dataclass(frozen=True)
class BlockState:
    """The state of one block: its verdict, whether it is fixed, and its weight."""

    verdict: str = UNKNOWN
    is_fixed: bool = False
    value: float = 0.5


VERDICTS = {
    NEEDED: BlockState(NEEDED, True, 1.0),
    NOT_NEEDED: BlockState(NOT_NEEDED, True, 0.0),
    UNKNOWN: BlockState(),
    NOT_MEASURED: BlockState(NOT_MEASURED, False, 1.0),
}
"""The state of a block with this verdict."""


@dataclass(frozen=True)
class Move:
    """The change of one block from one value to another."""

    block: str
    old: float
    new: float


@dataclass(frozen=True)
class Proposal:
    """One picture of a round: its cell, the moves if it is accepted, and their description; no moves: unchanged."""

    cell: Cell
    moves: tuple[Move, ...] = ()
    label: str = "as it is"


@dataclass(frozen=True)
class Tuner:
    """The state of the tuner: immutable, each change gives a new one.

    architecture: its name. layout: the count of numbers of the layout that is tuned. states: one for each block, in the
    layout's order. step: between values of a round. bounds: limits for the values of a round. seed: of the pictures.
    history: the states before each change, with its description, the oldest first. groups: blocks that a round moves
    together.
    """

    architecture: str
    layout: int
    states: tuple[BlockState, ...]
    step: float = STEPS[0]
    bounds: tuple[float, float] = (0.0, 1.0)
    seed: int = 1
    history: tuple[tuple[str, tuple[BlockState, ...]], ...] = ()
    groups: tuple[Group, ...] = ()

    @property
    def family(self) -> Architecture:
        """The architecture itself."""
        return by_name(self.architecture)

    @property
    def blocks(self) -> tuple[str, ...]:
        """The blocks that are tuned, in the layout's order."""
        return self.family.layouts[self.layout]

    @property
    def by_block(self) -> dict[str, BlockState]:
        """The state of each block."""
        return dict(zip(self.blocks, self.states))

    @property
    def values(self) -> dict[str, float]:
        """The weight of each block."""
        return {block: state.value for block, state in self.by_block.items()}

    @property
    def open_blocks(self) -> list[str]:
        """The blocks that are not fixed."""
        return [block for block, state in self.by_block.items() if not state.is_fixed]

    @property
    def units(self) -> list[Group]:
        """The open blocks as they move: alone, or with the other open blocks of their group."""
        opened = self.open_blocks
        units = {
            block: next((tuple(b for b in group if b in opened) for group in self.groups if block in group), (block,))
            for block in opened
        }
        return list(dict.fromkeys(units.values()))

    @property
    def open_text(self) -> str:
        """The open blocks in the form of the analyzer's field Blocks, those of a group as one item."""
        return groups_text(self.units, self.family)

    # Changes -------------------------------------------------------------------------------------

    def with_states(self, changed: Mapping[str, BlockState], words: str) -> Tuner:
        """Return the tuner with `changed` states; without a change nothing is added to the history."""
        states = tuple(changed.get(block, state) for block, state in self.by_block.items())
        if states == self.states:
            return self
        return replace(self, states=states, history=(*self.history, (words, self.states)))

    def sorted_as(self, blocks: Collection[str], verdict: str) -> Tuner:
        """Return the tuner with `blocks` sorted: needed fixed at 1, not needed fixed at 0, unknown open at 0.5."""
        return self.with_states(dict.fromkeys(blocks, VERDICTS[verdict]), f"{' '.join(blocks)}: {verdict}")

    def fixed(self, blocks: Collection[str], is_fixed: bool = True) -> Tuner:
        """Return the tuner with `blocks` fixed at their values, or opened."""
        states = {block: replace(self.by_block[block], is_fixed=is_fixed) for block in blocks if block in self.blocks}
        return self.with_states(states, f"{' '.join(blocks)}: {'fixed' if is_fixed else 'opened'}")

    def with_value(self, blocks: Collection[str], value: float) -> Tuner:
        """Return the tuner with `blocks` at `value`."""
        states = {block: replace(self.by_block[block], value=value) for block in blocks if block in self.blocks}
        return self.with_states(states, f"{' '.join(blocks)}: {format_number(value)}")

    def with_weights(self, text: str, fill: float, presets: Mapping[str, str]) -> Tuner:
        """Return the tuner with the values that `text` means: block weights of any layout of this kind of model.

        fill: for blocks that the layout of `text` leaves out. Verdicts and fixed blocks stay the same.

        Raises:
            WeightsError, PresetError: the text is not valid or does not fit.
        """
        entries = parse_block_weights(text).entries_for(self.family, presets, unlisted=fill)
        weights = entries.resolve(RandomSource(self.seed)).blocks
        states = {block: replace(state, value=weights[block]) for block, state in self.by_block.items()}
        return self.with_states(states, f"weights {quote(text, 40)}")

    def accepted(self, proposal: Proposal, fix: bool = False) -> Tuner:
        """Return the tuner with the change of `proposal`; others of its round can be accepted beside it.

        fix: also fix the blocks that it moves.
        """
        states = {
            move.block: replace(old, value=move.new, is_fixed=fix or old.is_fixed)
            for move in proposal.moves
            for old in [self.by_block[move.block]]
        }
        return self.with_states(states, proposal.label)

    def undone(self) -> Tuner:
        """Return the tuner before the last change; the same if there was none."""
        if not self.history:
            return self
        return replace(self, states=self.history[-1][1], history=self.history[:-1])

    # Rounds --------------------------------------------------------------------------------------

    @property
    def cell(self) -> Cell:
        """The cell of the current values."""
        return Cell(self.blocks, tuple(format_number(state.value) for state in self.states), self.seed)

    def next_round(self, direction: str = BOTH) -> tuple[Proposal, ...]:
        """Return the pictures of a round: everything unchanged, then each unit a step lower, a step higher, or both.

        A value stays within the bounds, unless it is outside already; moves without a change are omitted.
        """
        signs = {MINUS: (-1,), PLUS: (1,), BOTH: (-1, 1)}[direction]
        proposals = [Proposal(self.cell)]
        for unit in self.units:
            for sign in signs:
                moves = tuple(move for block in unit if (move := self._move(block, sign)).new != move.old)
                if moves:
                    cell = self.cell
                    for move in moves:
                        cell = cell.with_entry((move.block,), format_number(move.new))
                    proposals.append(Proposal(cell, moves, self._words(moves)))
        return tuple(proposals)

    def _move(self, block: str, sign: int) -> Move:
        old = self.by_block[block].value
        low, high = min(self.bounds[0], old), max(self.bounds[1], old)
        return Move(block, old, min(max(round(old + sign * self.step, _DIGITS), low), high))

    def _words(self, moves: Iterable[Move]) -> str:
        """Return the description of `moves`; blocks with the same change are grouped."""
        alike: dict[str, list[str]] = {}
        for move in moves:
            alike.setdefault(f"{format_number(move.old)} → {format_number(move.new)}", []).append(move.block)
        return ", ".join(f"{selector_text(blocks, self.family)} {way}" for way, blocks in alike.items())

    # What comes out ------------------------------------------------------------------------------

    @property
    def weights(self) -> str:
        """The values as a list of numbers in the tuner's own layout."""
        return weight_line(self.values, self.blocks)

    def weight_lines(self) -> dict[int, str]:
        """Return the values as a list of numbers, for each layout that can express them."""
        architecture = self.family
        unlisted = architecture.unlisted.get(self.layout, 0.0)
        values = {**dict.fromkeys(architecture.blocks, unlisted), **self.values}
        lines = {}
        for count, listed in architecture.layouts.items():
            left_out = architecture.unlisted.get(count, 0.0)
            if all(value == left_out for block, value in values.items() if block not in listed):
                lines[count] = weight_line(values, listed)
        return lines

    def preset_line(self, name: str) -> str:
        """Return a line of the preset file.

        Raises:
            PresetError: the name is not valid.
        """
        return f"{check_name(name)}:{self.weights}"

    def prompt_sr(self, direction: str = BOTH) -> str:
        """Return the round as values for the axis Prompt S/R of the host's X/Y/Z plot.

        The first value must be in the prompt, after `lbw=`; all are in double quotes because they contain commas.
        """
        lines = [weight_line(dict(zip(p.cell.layout, p.cell.entries)), self.blocks) for p in self.next_round(direction)]
        return ",".join(f'"{line}"' for line in lines)

    # As JSON -------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """Return the whole state, including the history, as JSON for `from_json`."""
        return json.dumps(
            {
                "architecture": self.architecture,
                "layout": self.layout,
                "step": self.step,
                "bounds": list(self.bounds),
                "seed": self.seed,
                "groups": groups_text(self.groups, self.family),
                "states": _plain(self.states),
                "history": [[words, _plain(states)] for words, states in self.history],
            },
            ensure_ascii=False,
        )


def chosen(text: str, tuner: Tuner) -> list[str]:
    """Return the blocks of `tuner` that `text` selects: ids, ranges and groups, separated by commas or spaces.

    Raises:
        WeightsError: an id does not exist, or nothing is selected.
    """
    found = select(text.replace(",", " "), tuner.family)
    blocks = [block for block in tuner.blocks if block in found]
    if not blocks:
        raise WeightsError(t("{text} selects no block of the layout of {count}", text=quote(text), count=tuner.layout))
    return blocks


def parse_step(value: object) -> float:
    """Return a step: a number above 0.

    Raises:
        WeightsError: it is none.
    """
    return positive_number(value, t("Step"), "0.25")


def weight_line(values: Mapping[str, float | str], blocks: Iterable[str]) -> str:
    """Return the weights of `blocks` as a list of numbers, 0 for those without one."""
    return positional_text(values.get(block, 0.0) for block in blocks)


def _plain(states: Iterable[BlockState]) -> list[list[object]]:
    return [[state.verdict, state.is_fixed, state.value] for state in states]
