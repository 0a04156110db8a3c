"""Tuned weights as training settings: how much training each block gets, and which trainers support that.

How to configure the trainers of a family is part of its data (`lbw.core.trainers`); neighboring modules generate it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lbw.core.errors import WeightsError, listing, quote
from lbw.core.family import Architecture
from lbw.core.texts import t
from lbw.core.trainers import AiToolkit, LyCORIS, NetworkArguments, Trainer, UNetArguments

from .layer_words import layer_words
from .lycoris_preset import lycoris_preset
from .network_arguments import network_arguments, unet_arguments
from .training import LEARNING_RATES, RANKS, Training, chosen, untrained

__all__ = ["Training", "Way", "remarks", "settings", "way_called", "ways"]

_SD_SCRIPTS = {LEARNING_RATES: t("sd-scripts: learning rates"), RANKS: t("sd-scripts: ranks")}
"""The titles of the one program whose settings say how much a block gets."""


@dataclass(frozen=True)
class Way:
    """A trainer, and what its settings control for each block: learning rate, rank, or only whether it is trained.

    says: LEARNING_RATES or RANKS; empty if the settings only select blocks, or if one form covers everything.
    """

    trainer: Trainer
    says: str = ""

    @property
    def title(self) -> str:
        """Its title in lists: `sd-scripts: learning rates`."""
        name = t("LyCORIS preset") if isinstance(self.trainer, LyCORIS) else self.trainer.program
        return _SD_SCRIPTS[self.says] if self.says else name


def ways(architecture: Architecture) -> list[Way]:
    """Return how blocks of `architecture` can be trained, the most popular trainer first; empty if unknown."""
    found = []
    for trainer in architecture.family.trainers:
        if trainer.sizes and architecture.name not in trainer.sizes:
            continue
        has_shares = isinstance(trainer, UNetArguments) or (isinstance(trainer, NetworkArguments) and trainer.shares)
        found += [Way(trainer, says) for says in ((LEARNING_RATES, RANKS) if has_shares else ("",))]
    return found


def way_called(title: str, architecture: Architecture) -> Way:
    """Return the way with this title; the name of a program alone means its first.

    Raises:
        WeightsError: there is none for `architecture`.
    """
    known = ways(architecture)
    found = next((way for way in known if title.lower() in (way.title.lower(), way.trainer.program.lower())), None)
    if found is not None:
        return found
    if not known:
        raise WeightsError(t("no known trainer can train single blocks of {model}", model=architecture.title))
    others = listing(list(dict.fromkeys(way.trainer.program for way in known)))
    raise WeightsError(
        t(
            "{text} has no settings for single blocks of {model}; choose {names}",
            text=quote(title),
            model=architecture.title,
            names=others,
        )
    )


def settings(weights: Mapping[str, float], architecture: Architecture, way: Way, training: Training) -> str:
    """Return the settings with which a trainer trains the blocks of `weights`, as text.

    weights: of the blocks; one at 0 or below, or without a weight, is not trained.

    Raises:
        WeightsError: nothing is left to train.
    """
    trainer = way.trainer
    if not any(weight > 0 for weight in weights.values()):
        raise WeightsError(t("every block is at 0: nothing to train; the blocks to train need a weight above 0"))
    left_out = untrained(weights, architecture, trainer)
    if not set(chosen(weights)) - set(left_out):
        lacking = {"program": trainer.program, "blocks": listing(left_out)}
        raise WeightsError(t("nothing to train: {program} does not train {blocks}", **lacking))
    if isinstance(trainer, UNetArguments):
        return unet_arguments(weights, trainer, way.says, training)
    if isinstance(trainer, NetworkArguments):
        return network_arguments(weights, architecture, trainer, way.says, training)
    if isinstance(trainer, AiToolkit):
        return layer_words(weights, architecture, trainer, training)
    if isinstance(trainer, LyCORIS):
        return lycoris_preset(weights, architecture, trainer, training)
    raise AssertionError(f"{trainer.program} has settings of an unsupported kind")


def remarks(weights: Mapping[str, float], architecture: Architecture, way: Way) -> list[str]:
    """Return remarks about parts of `weights` that the settings cannot express, and about the trainer."""
    trainer, program = way.trainer, way.trainer.program
    found = [trainer.remark] if trainer.remark else []
    if negative := [block for block, weight in weights.items() if weight < 0]:
        found.append(t("weights below 0 cannot be trained and count as 0: {blocks}", blocks=listing(negative)))
    left_out = untrained(weights, architecture, trainer)
    if left_out:
        found.append(t("{program} does not train {blocks}", program=program, blocks=listing(left_out)))
    between = [block for block, weight in weights.items() if 0 < weight != 1 and block not in left_out]
    if between and isinstance(trainer, AiToolkit | NetworkArguments) and not way.says:
        found.append(
            t(
                "{program} trains all chosen blocks in full; these count as 1: {blocks}",
                program=program,
                blocks=listing(between),
            )
        )
    if between and isinstance(trainer, NetworkArguments) and way.says == RANKS:
        encoders = [block for block in between if block in trainer.encoders]
        if encoders:
            found.append(
                t(
                    "{program} has one rank for all text encoders; these count as 1: {blocks}",
                    program=program,
                    blocks=listing(encoders),
                )
            )
        if len(between) > len(encoders):
            model = architecture.family.title
            found.append(
                t(
                    "{program} has one alpha for all blocks of {model}, whatever their ranks",
                    program=program,
                    model=model,
                )
            )
    return found
