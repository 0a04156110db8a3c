"""Which model a LoRA file is for, or a checkpoint is, detected from names, shapes and metadata (MODELS.md).

Every family whose names match those of the file is a candidate. Names that only one of them has, the width, the block
counts, other shapes and the metadata then rule candidates out, in this order; the loaded model decides between the
remaining ones. There is no closest match: if the names fit no family, there is no candidate.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from .architectures import ARCHITECTURES, FAMILIES, sized
from .clues import Clues, Shapes, is_fixed, metadata_values, only_size
from .errors import listing, quote, some
from .family import Architecture, Family
from .texts import t

_SHOWN = 3


@dataclass(frozen=True)
class Detection:
    """What a file is for.

    architecture: None for an unknown model in which not even numbered blocks were found.
    candidates: all models that the file may be for; several if its contents do not decide.
    remarks: messages for the user about contradictions, a choice between candidates, tensors without a block.
    """

    architecture: Architecture | None
    candidates: tuple[Architecture, ...] = ()
    remarks: tuple[str, ...] = ()

    def decided(self, fits: Callable[[Architecture], bool]) -> Detection:
        """Return this detection; of several candidates, the first that `fits` accepts is chosen."""
        fitting = [candidate for candidate in self.candidates if fits(candidate)]
        if len(self.candidates) < 2 or not fitting or self.architecture in fitting:
            return self
        remark = t(
            "treated as a LoRA for {model}, because these weights fit its blocks; the tensor names would also fit "
            "{models}",
            model=fitting[0].title,
            models=_or(a.title for a in self.candidates if a is not fitting[0]),
        )
        return replace(self, architecture=fitting[0], remarks=(remark,))


def detect_lora(
    shapes: Shapes, metadata: Mapping[str, str] | None = None, loaded: Architecture | None = None
) -> Detection:
    """Return what a LoRA file is for.

    shapes: of its tensors, by name. metadata: of the file. loaded: the model that it will be applied to.
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
            t(
                "its metadata says {text}, but its tensors have the names and shapes of {models}",
                text=quote(" ".join(metadata_values(metadata))),
                models=_or(family.title for family in candidates),
            )
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
    """Return the architecture of a complete model, with as many blocks as it has.

    For an unknown family, its numbered blocks, as a guess; None if it has none.
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
    """Return the message about tensors that belong to no block of the model."""
    place = {"model": architecture.title, "block": architecture.family.rest}
    if len(names) == 1:
        return t(
            "1 module of this LoRA belongs to no block of {model} and is counted as {block}: {name}",
            name=names[0],
            **place,
        )
    return t(
        "{count} modules of this LoRA belong to no block of {model} and are counted as {block}: {names}",
        count=len(names),
        names=some(names, _SHOWN),
        **place,
    )


def guess_message(guess: Architecture) -> str:
    """Return the message about a model whose blocks are a guess."""
    return t(
        "unknown model: its blocks are called {first} to {last}, a guess based on the names of its tensors",
        first=guess.numbered_blocks[0],
        last=guess.numbered_blocks[-1],
    )


def not_known(path: object) -> str:
    """Return the message for the file of a LoRA for an unknown model."""
    known = listing([f.title for f in FAMILIES])
    return t("{path} is a LoRA for an unknown model; the known ones are {models}", path=path, models=known)


def _ambiguous(chosen: Architecture, others: list[Architecture]) -> str:
    return t(
        "its tensor names fit {models}; treated as a LoRA for {model} unless the loaded model says otherwise",
        models=_or(a.title for a in (chosen, *others)),
        model=chosen.title,
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
