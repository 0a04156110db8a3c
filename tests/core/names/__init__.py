"""The names of every trainable weight of every family, and the block that MODELS.md puts it in.

A file per family, written once from the classes that it names, built on the meta device. Names are facts; no code
of those projects is here. A file reads:

    size NAME h=3072 D=19      a model: its width, and the lengths of its stacks
    [naming]                   "original": of the published checkpoint; "diffusers": of the diffusers class; others
    BLOCKS NAME DIMENSIONS     a weight of shape DIMENSIONS: numbers, or multiples of a letter of `size`
    … @NAME,NAME               only in these models

BLOCKS is a block, or a stack's letters: all of it (`D`), all but its last (`D<last`), its last (`D=last`), or some
(`D:0-12`); `#` in NAME is then the block's number, `{#-2}` two less. `{0-4}` stands for five names. NAME is a
module's, whose parameters are `.weight` and perhaps `.bias`; or, with a `*`, a parameter's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent


class Weight(NamedTuple):
    """A weight of a model. name: its module's path; its own where `is_parameter`."""

    block: str
    name: str
    shape: tuple[int, ...]
    is_parameter: bool = False

    @property
    def key(self) -> str:
        """Its name in a checkpoint."""
        return self.name if self.is_parameter else f"{self.name}.weight"


class Model(NamedTuple):
    """A published model. namings: its weights in each naming. source: where the names were read."""

    name: str
    source: str
    stacks: dict[str, int]
    namings: dict[str, tuple[Weight, ...]]

    @property
    def architecture(self) -> str:
        """The architecture of its blocks; the mediums of SD 3 and SD 3.5 have the same."""
        return "sd3-medium" if self.name == "sd3.5-medium" else self.name


def _numbers(text: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def _blocks(text: str, stacks: dict[str, int]) -> list[tuple[str, int | None]]:
    match = re.fullmatch(r"([A-Z]+)([<=:]?)(.*)", text)
    assert match, text
    stack, how, rest = match.groups()
    if stack not in stacks:
        return [(stack, None)]
    count = stacks[stack]
    numbers = {"": range(count), "<": range(count - 1), "=": range(count - 1, count)}.get(how) or _numbers(rest)
    return [(f"{stack}{n:02}", n) for n in numbers]


def _names(pattern: str, number: int | None) -> Iterator[str]:
    if number is not None:
        pattern = pattern.replace("{#-2}", str(number - 2)).replace("#", str(number))
    braces = re.search(r"\{([\d,-]+)\}", pattern)
    if not braces:
        yield pattern
        return
    for n in _numbers(braces[1]):
        yield pattern.replace(braces[0], str(n), 1)


def _dimension(text: str, size: dict[str, int]) -> int:
    match = re.fullmatch(r"(\d*)([a-z]?)", text)
    assert match, text
    return int(match[1] or 1) * (size[match[2]] if match[2] else 1)


def _read(path: Path, changes: dict[str, int] | None = None) -> Iterator[Model]:
    sizes: dict[str, dict[str, int]] = {}
    found: dict[str, dict[str, list[Weight]]] = {}
    source = naming = ""
    for line in path.read_text().splitlines():
        if line.startswith("# Read in: "):
            source = line.partition(": ")[2]
        elif line.startswith("size "):
            _, name, *pairs = line.split()
            sizes[name] = {key: int(value) for key, value in (pair.split("=") for pair in pairs)} | (changes or {})
            found[name] = {}
        elif line.startswith("["):
            naming = line.strip("[]")
        elif line and not line.startswith("#"):
            words = line.split()
            only = words.pop()[1:].split(",") if "@" in words[-1] else list(sizes)
            blocks, pattern, *dimensions = words
            for name in only:
                stacks = {key: count for key, count in sizes[name].items() if key.isupper()}
                shape = tuple(_dimension(d, sizes[name]) for d in dimensions)
                found[name].setdefault(naming, []).extend(
                    Weight(block, weight.rstrip("*"), shape, weight.endswith("*"))
                    for block, number in _blocks(blocks, stacks)
                    for weight in _names(pattern, number)
                )
    for name, namings in found.items():
        stacks = {key: count for key, count in sizes[name].items() if key.isupper()}
        yield Model(name, source, stacks, {naming: tuple(weights) for naming, weights in namings.items()})


@lru_cache(maxsize=1)
def models() -> dict[str, Model]:
    """Return every model of the catalogue by name."""
    return {model.name: model for path in sorted(FOLDER.glob("*.txt")) for model in _read(path)}


def resized(name: str, **size: int) -> Model:
    """Return the model `name` in another `size`."""
    return next(model for path in sorted(FOLDER.glob("*.txt")) for model in _read(path, size) if model.name == name)
