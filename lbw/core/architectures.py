"""All known models, by name, and models of a known family in other sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from pkgutil import iter_modules

from . import families
from .errors import did_you_mean, nearest, quote
from .family import Architecture, Family, Size, Stack
from .texts import t

__all__ = ["ARCHITECTURES", "FAMILIES", "USUAL", "by_name", "guessed", "layout_owners", "sized"]


def _found() -> tuple[Family, ...]:
    modules = [import_module(f"{families.__name__}.{name}") for _, name, _ in iter_modules(families.__path__)]
    found = {value for module in modules for value in vars(module).values() if isinstance(value, Family)}
    return tuple(sorted(found, key=lambda family: (family.released, family.name)))


FAMILIES = _found()
"""Every family, oldest first."""

ARCHITECTURES = {
    size.name: Architecture(size.name, size.title, family, size.counts, size.width)
    for family in FAMILIES
    for size in family.sizes
}
"""The models that people run, by name."""


USUAL = ARCHITECTURES["sdxl"]
"""What pages start with if no model is loaded."""


@lru_cache(maxsize=256)
def _other_size(family: Family, counts: tuple[tuple[str, int], ...]) -> Architecture:
    text = ",".join(f"{letter}{count}" for letter, count in counts)
    blocks = ", ".join(f"{count} {letter}" for letter, count in counts)
    return Architecture(f"{family.name}:{text}", f"{family.title} with {blocks} blocks", family, dict(counts))


def sized(family: Family, counts: Mapping[str, int]) -> Architecture:
    """Return the model of `family` whose stacks have `counts` blocks, by letter; a known size if there is one."""
    counts = {letter: counts.get(letter, 0) for letter in family.letters}
    for size in family.sizes:
        if all(size.counts.get(letter, 0) == count for letter, count in counts.items()):
            return ARCHITECTURES[size.name]
    return _other_size(family, tuple(counts.items()))


_SIZED = re.compile(r"^([a-z0-9.-]+):((?:[A-Z]+\d{1,3},)*[A-Z]+\d{1,3})$", re.ASCII)


def by_name(name: str) -> Architecture:
    """Return the architecture called `name`; `anima:B20` is Anima with 20 blocks.

    Raises:
        KeyError: there is none.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    match = _SIZED.match(name)
    family = next((f for f in (*FAMILIES, _UNKNOWN) if match and f.name == match[1]), None)
    if match is None or family is None:
        raise KeyError(name)
    counts = {part.rstrip("0123456789"): int(part.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")) for part in match[2].split(",")}
    if counts.keys() != set(family.letters) or family.kind == "unet":
        raise KeyError(name)
    return sized(family, counts)


def layout_owners(count: int) -> list[Architecture]:
    """Return the architectures that have a layout of `count` numbers for their own blocks, oldest first."""
    taking = [a for a in ARCHITECTURES.values() if count in a.layouts]
    return [a for a in taking if set(a.layouts[count]) <= set(a.blocks)] or taking


# Guessed -----------------------------------------------------------------------------------------

_UNKNOWN = Family(
    name="unknown",
    title="an unknown model",
    released="",
    order=("TE", "IN", "B*", "OUT"),
    stacks=(Stack("B", "blocks"),),
    outside={},
    sizes=(Size("unknown", "an unknown model"),),
    encoders={"clip": "TE", "t5": "TE", "llm": "TE"},
    is_guess=True,
)


def unknown_architecture(name: str, most: int = 3) -> str:
    """Return the message for a name that no architecture has, with up to `most` similar ones, or else all of them."""
    close = nearest(name, ARCHITECTURES, most)
    if close:
        return did_you_mean(t("unknown architecture {name}", name=quote(name)), close)
    known = ", ".join(ARCHITECTURES)
    return t("unknown architecture {name}; the known ones are {models}", name=quote(name), models=known)


@lru_cache(maxsize=64)
def guessed(stacks: tuple[tuple[str, int], ...]) -> Architecture:
    """Return an architecture for an unknown model, its blocks numbered through in the order of its stacks.

    stacks: for each stack, the flat path that its names begin with and the number of its blocks.
    """
    first = 0
    found = []
    for path, count in stacks:
        found.append(Stack("B", path, first=first))
        first += count
    family = Family(
        name=_UNKNOWN.name,
        title=_UNKNOWN.title,
        released="",
        order=_UNKNOWN.order,
        stacks=tuple(found),
        outside={},
        sizes=_UNKNOWN.sizes,
        encoders=_UNKNOWN.encoders,
        is_guess=True,
    )
    return Architecture(f"unknown:B{first}", f"{_UNKNOWN.title} with {first} blocks", family, {"B": first})
