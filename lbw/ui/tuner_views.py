"""The HTML of the blocks and pictures in the panel *Tuner*."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from lbw.analysis.effective_blocks import NEEDED
from lbw.analysis.tuner import Proposal, Tuner
from lbw.core.numbers import format_number
from lbw.core.texts import t

from .markup import VERDICT_SIGNS, counted, words


@dataclass(frozen=True)
class Shot:
    """A picture of the gallery: what accepting it changes, and its file."""

    proposal: Proposal
    file: str


@dataclass(frozen=True)
class Shown:
    """The pictures of the gallery, in order."""

    pictures: tuple[Shot, ...] = ()


def state_view(tuner: Tuner) -> str:
    """Return the blocks as HTML: each a button that writes its id into the field Blocks (lbw_tuner.js)."""
    fields = []
    numbers = {block: number for number, group in enumerate(tuner.groups, 1) for block in group}
    for block, known in tuner.by_block.items():
        state = f"{VERDICT_SIGNS[known.verdict]} {words(t('fixed') if known.is_fixed else t('still open'))}"
        kind = known.verdict.replace(" ", "-")
        badge = (
            f'<i class="lbw-group" title="{t("moves with its group")}">{numbers[block]}</i>' if block in numbers else ""
        )
        fields.append(
            f'<button type="button" class="lbw-state lbw-{kind} lbw-{"fixed" if known.is_fixed else "open"}" '
            f'data-block="{escape(block)}" title="{known.verdict}"><b>{escape(block)}</b>'
            f"{badge}<span>{format_number(known.value)}</span><small>{state}</small></button>"
        )
    sums = [t("{open} / {total} blocks open", open=len(tuner.open_blocks), total=len(tuner.blocks))]
    if tuner.groups:
        sums.append(counted(len(tuner.groups), t("1 group"), t("{count} groups")))
    sums.append(counted(len(tuner.history), t("1 change"), t("{count} changes")))
    return f'<div class="lbw-states" data-box="lbw_tuner_blocks">{"".join(fields)}</div><p>{words(*sums)}</p>'


def gallery_view(tuner: Tuner, shown: Shown) -> list[tuple[str, str]]:
    """Return the pictures for the gallery with what each changes, and ✓ if that was accepted."""
    states = tuner.by_block
    entries = []
    for entry in shown.pictures:
        proposal = entry.proposal
        is_accepted = proposal.moves and all(
            move.block in states and states[move.block].value == move.new for move in proposal.moves
        )
        sign = f"{VERDICT_SIGNS[NEEDED]} " if is_accepted else ""
        entries.append((entry.file, sign + proposal.label))
    return entries
