"""Which model a LoRA file is for, or a checkpoint is, told from names, shapes and metadata (MODELS.md).

Every family whose names are those of the file is a candidate. What only one of them has, the width, the counts of
blocks, other shapes and the metadata then rule candidates out, in this order; the loaded model decides between those
that are left.
Nothing is taken for the nearest: where the names are of no family, there is no candidate.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from .architectures import ARCHITECTURES, FAMILIES, sized
from .clues import Clues, Shapes, is_fixed, metadata_values, only_size
from .errors import listing, quote
from .family import Architecture, Family
from .texts import t

_SHOWN = 3


@dataclass(frozen=True)
class Detection:
    """What a file is for.

    architecture: None where it is of no model that is known, and not even numbered blocks were found.
    candidates: all that the file may be for as far as it tells; several where it does not say.
    remarks: what is to be told: contradictions, a choice between candidates, tensors without a block.
    """

    architecture: Architecture | None
    candidates: tuple[Architecture, ...] = ()
    remarks: tuple[str, ...] = ()

    def decided(self, fits: Callable[[Architecture], bool]) -> Detection:
        """Return this detection, where the candidates are several, with the first of those that `fits` holds for."""
        fitting = [candidate for candidate in self.candidates if fits(candidate)]
        if len(self.candidates) < 2 or not fitting or self.architecture in fitting:
            return self
        others = [a.title for a in self.candidates if a is not fitting[0]]
        said = (
            f"taken for {fitting[0].title}, whose blocks these weights fit; by its names it could be {_or(others)} too"
        )
        return replace(self, architecture=fitting[0], remarks=(said,))


def detect_lora(
    shapes: Shapes, metadata: Mapping[str, str] | None = None, loaded: Architecture | None = None
) -> Detection:
    """Return what a LoRA file is for.

    shapes: of its tensors, by name. metadata: of the file. loaded: the model that it is to be applied to.
    """
    found = Clues(shapes)
    metadata = metadata or {}
    candidates = found.candidates()
    if not candidates:
        return _unknown(found, loaded)
    told = metadata_families(metadata)
    agreeing = [family for family in candidates if family in told]
    remarks = []
    if told and not agreeing:
        remarks.append(
            f"its metadata says {quote(' '.join(metadata_values(metadata)))}, but its tensors are named and shaped as "
            f"those of {_or([family.title for family in candidates])}"
        )
    sizes = {family: found.size(family, metadata, loaded) for family in candidates}
    best = agreeing or candidates
    if loaded is not None and any(sizes[family] is loaded for family in candidates):
        chosen = loaded
    else:
        chosen = sizes[best[0]]
        others = [sizes[family] for family in best[1:] if sizes[family].blocks != chosen.blocks]
        if others:
            remarks.append(_ambiguous(chosen, others))
    architectures = [chosen, *(sizes[family] for family in best if sizes[family] is not chosen)]
    lost = found.lost(chosen)
    if lost:
        remarks.append(unplaced_message(lost, chosen))
    return Detection(chosen, tuple(architectures), tuple(remarks))


def detect_model(shapes: Shapes) -> Architecture | None:
    """Return the architecture of a model all of whose tensors are there, with as many blocks as it has.

    For a model of no known family its numbered blocks, which is a guess; None where it has none.
    """
    found = Clues(shapes)
    family = next(iter(found.candidates(is_packed=True)), None)
    if family is None:
        return found.guess()
    if is_fixed(family):
        return only_size(family)
    exact, width = sized(family, found.counts(family)), found.width(family)
    alike = (s for s in family.sizes if s.width == width and ARCHITECTURES[s.name].blocks == exact.blocks)
    return next((ARCHITECTURES[size.name] for size in alike), exact)


def metadata_families(metadata: Mapping[str, str]) -> list[Family]:
    """Return the families that a file's metadata names."""
    values = metadata_values(metadata)
    return [
        family
        for family in FAMILIES
        if family.metadata and any(re.search(family.metadata, value, re.IGNORECASE) for value in values)
    ]


def unplaced_message(names: list[str], architecture: Architecture) -> str:
    """Return what is to be told of tensors that belong to no block of the model."""
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    count = f"{len(names)} module{'s' * (len(names) != 1)} of this LoRA"
    belong = "belongs" if len(names) == 1 else "belong"
    return (
        f"{count} {belong} to no block of {architecture.title}, and count{'s' * (len(names) == 1)} as "
        f"{architecture.family.rest}: {shown}"
    )


def guess_message(guess: Architecture) -> str:
    """Return what is to be told of a model whose blocks are a guess."""
    return t(
        "a model that is not known: its blocks are called {first} to {last}, which is a guess from the tensors' names",
        first=guess.numbered_blocks[0],
        last=guess.numbered_blocks[-1],
    )


def not_known(path: object) -> str:
    """Return the message for a file that holds a LoRA of no model that is known."""
    known = listing([f.title for f in FAMILIES])
    return t("{path} holds a LoRA of a model that is not known; known are {models}", path=path, models=known)


def _ambiguous(chosen: Architecture, others: list[Architecture]) -> str:
    return (
        f"by its names it could be for {chosen.title} or {_or([a.title for a in others])}; taken for {chosen.title} as "
        "long as no loaded model decides"
    )


def _or(titles: Iterable[str]) -> str:
    *first, last = list(dict.fromkeys(titles))
    return f"{', '.join(first)} or {last}" if first else last


def _unknown(found: Clues, loaded: Architecture | None) -> Detection:
    guess = found.guess() if found.denoiser else None
    if loaded is not None and loaded.family.is_guess and not found.lost(loaded):
        guess = loaded
    if guess is None:
        return Detection(None)
    return Detection(guess, (guess,), (guess_message(guess),))
