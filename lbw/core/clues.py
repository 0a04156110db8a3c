"""What the tensors of a LoRA file or a model reveal about its family and size."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from .architectures import ARCHITECTURES, FAMILIES, guessed, sized
from .blocks import encoder_sort, locate
from .family import Architecture, Family, Size, flat
from .names import (
    ENCODER,
    HOST_ENCODER,
    denoiser_path,
    flat_name,
    is_module,
    longest,
    module_name,
    names_of,
    stack_of,
)

Shapes = Mapping[str, tuple[int, ...]]

_ENOUGH = 0.9
"""The share of a file's denoiser modules that must have a family's names for it to be a candidate."""

_METADATA = ("modelspec.architecture", "ss_base_model_version")


@dataclass
class Clues:
    """The modules of a file or model, sorted for the methods below."""

    shapes: Shapes
    denoiser: dict[str, str] = field(default_factory=dict)
    encoders: list[str] = field(default_factory=list)
    highest: dict[str, int] = field(default_factory=dict)
    inner: dict[tuple[str, str], int] = field(default_factory=dict)
    outer: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Sort the names by module, by stack and by their place within a block, counting each once."""
        for key in self.shapes:
            if not is_module(key):
                continue
            name = module_name(key)
            compared = flat_name(name)
            if ENCODER.match(compared):
                self.encoders.append(compared)
            elif name not in self.denoiser:
                path = denoiser_path(compared)
                self.denoiser[name] = path
                stack = stack_of(path)
                if stack:
                    self.highest[stack[0]] = max(self.highest.get(stack[0], -1), stack[1])
                    self.inner[stack[0], stack[2]] = self.inner.get((stack[0], stack[2]), 0) + 1
                else:
                    self.outer[path] = self.outer.get(path, 0) + 1

    # Candidates -----------------------------------------------------------------------------------

    def candidates(self, is_packed: bool = False) -> list[Family]:
        """Return the families that the file may belong to, the most likely first; empty if it fits none.

        is_packed: the tensors may be quantized, so shapes that do not match rule no family out.
        """
        if not self.denoiser:
            return self._by_encoders()
        shares = {family: self._share(family) for family in FAMILIES}
        best = max(shares.values())
        if best < _ENOUGH:
            return []
        found = [family for family, share in shares.items() if share == best]
        for question in (self._tells, self._widths, self._counts, self._ratios):
            answers = {family: question(family) for family in found}
            found = [family for family in found if answers[family] == max(answers.values())]
        return found if is_packed else [family for family in found if self._ratios(family) >= 0]

    def _by_encoders(self) -> list[Family]:
        if not self.encoders:
            return []
        sorts = {encoder_sort(name) for name in self.encoders}
        if any(family.adapter and family.adapter in name for family in FAMILIES for name in self.encoders):
            return [family for family in FAMILIES if family.adapter and any(family.adapter in n for n in self.encoders)]
        told = [f for f in FAMILIES if f.tells_encoder and any(re.search(f.tells_encoder, n) for n in self.encoders)]
        telling = [family for family in told if sorts <= family.encoders.keys()]
        if telling:
            return telling[-1:]  # the newest: a file with two encoders also has the names of those with one
        found = [family for family in FAMILIES if family.kind != "unet" and sorts <= family.encoders.keys()]
        hosts = {match[1] for match in map(HOST_ENCODER.match, self.encoders) if match}
        owners = [family for family in found if hosts and hosts <= {flat(name) for name in family.host_encoders}]
        return owners or found

    def _share(self, family: Family) -> float:
        """Return the share of the denoiser's modules that have names of `family`."""
        names = names_of(family)
        known = 0
        for (path, module), count in self.inner.items():
            naming = names.stacks.get(path)
            if naming and (naming.is_open or module in naming.modules):
                known += count
        for path, count in self.outer.items():
            if longest(names.outside, path) or longest(names.renamed, path) or _in_adapter(family, path):
                known += count
        return known / len(self.denoiser)

    def _tells(self, family: Family) -> int:
        """Return whether there is a name that only some of the candidates have."""
        if not family.tells:
            return 0
        pattern = re.compile(family.tells)
        names = [*self.denoiser.values(), *self.encoders]
        return int(any(pattern.search(name) for name in names))

    def _ratios(self, family: Family) -> int:
        """Return 1 if the shapes of modules match `family`, 0 if unknown, -1 if they do not match."""
        wanted = {flat(name): ratio for name, ratio in family.ratios.items()}
        answers = set()
        for name, path in self.denoiser.items():
            stack = stack_of(path)
            if stack and stack[2] in wanted:
                size = self._size(name)
                if size and all(size):
                    answers.add(abs(size[0] / size[1] - wanted[stack[2]]) < 0.01)
            if len(answers) > 1:
                break
        return 0 if not answers else 1 if answers == {True} else -1

    def _counts(self, family: Family) -> int:
        """Return 2 if a model of `family` has exactly the blocks of the file, 1 if it has more, otherwise 0."""
        counts = self.counts(family)
        holding = [size for size in family.sizes if _holds(size, counts)]
        main = family.main_letters
        exact = any(all(counts.get(letter) == size.counts.get(letter) for letter in main) for size in holding)
        return 2 if exact else int(bool(holding))

    def _widths(self, family: Family) -> int:
        """Return 1 if the width is that of a model of `family`, 0 if it is unknown, -1 if it is another."""
        width = self.width(family)
        if not width:
            return 0
        return 1 if any(size.width == width for size in family.sizes) else -1

    # Sizes ----------------------------------------------------------------------------------------

    def counts(self, family: Family) -> dict[str, int]:
        """Return how many blocks each stack of `family` has, according to the names."""
        counts: dict[str, int] = {}
        for path, highest in self.highest.items():
            naming = names_of(family).stacks.get(path)
            if naming:
                letter, count = naming.stack.letter, naming.stack.first + highest + 1
                counts[letter] = max(counts.get(letter, 0), count)
        return counts

    def width(self, family: Family) -> int:
        """Return the width of the hidden states between blocks, 0 if no tensor reveals it."""
        wanted = {flat(name) for name in family.width_at.split()}
        endings = tuple(f"_{name}" for name in wanted)
        for name, path in self.denoiser.items():
            stack = stack_of(path)
            if path.endswith(endings) if is_fixed(family) else stack is not None and stack[2] in wanted:
                size = self._size(name)
                if size and size[1]:
                    return size[1]
        return 0

    def size(self, family: Family, metadata: Mapping[str, str], loaded: Architecture | None) -> Architecture:
        """Return the model of `family` that the file is for."""
        if is_fixed(family):
            return only_size(family)
        counts = self.counts(family)
        if loaded is not None and loaded.family is family and _holds(loaded, counts):
            return loaded
        fitting = [size for size in family.sizes if _holds(size, counts)]
        if not fitting:
            largest = family.sizes[-1].counts
            main = set(family.main_letters)
            return sized(family, {k: counts.get(k, 0) if k in main and k in counts else v for k, v in largest.items()})
        width = self.width(family)
        values = metadata_values(metadata)
        told = [s for s in fitting if s.metadata and any(re.search(s.metadata, v, re.IGNORECASE) for v in values)]
        wide = [size for size in fitting if size.width == width]
        return ARCHITECTURES[(wide or told or fitting)[0].name]

    def _size(self, name: str) -> tuple[int, int] | None:
        """Return the output and input width of the module `name`, 0 for what its tensors do not reveal."""
        shape = self._shape
        for down, up in ((".lora_down.weight", ".lora_up.weight"), (".lora_A.weight", ".lora_B.weight"),
                         (".lora_A.default.weight", ".lora_B.default.weight"), (".lora_A", ".lora_B"),
                         (".lora.down.weight", ".lora.up.weight"), (".down.weight", ".up.weight"),
                         (".hada_w1_b", ".hada_w1_a")):  # fmt: skip
            a, b = shape(name + down), shape(name + up)
            if len(a) >= 2:
                return (b[0] if b else 0), a[1]
        for suffix in (".weight", ".diff", ""):
            if len(found := shape(name + suffix)) >= 2:
                return found[0], found[1]
        left, right = (self._kronecker(name, n) for n in "12")
        return (left[0] * right[0], left[1] * right[1]) if left and right else None

    def _kronecker(self, name: str, number: str) -> tuple[int, int] | None:
        whole = self._shape(f"{name}.lokr_w{number}")
        if len(whole) >= 2:
            return whole[0], whole[1]
        a, b = self._shape(f"{name}.lokr_w{number}_a"), self._shape(f"{name}.lokr_w{number}_b")
        return (a[0], b[1]) if len(a) >= 2 and len(b) >= 2 else None

    def _shape(self, key: str) -> tuple[int, ...]:
        return tuple(self.shapes.get(key, ()))

    # What is left ---------------------------------------------------------------------------------

    def lost(self, architecture: Architecture) -> list[str]:
        """Return the modules that belong to no block of `architecture`."""
        return [name for name in self.denoiser if not locate(name, architecture).is_known]

    def guess(self) -> Architecture | None:
        """Return numbered blocks for an unknown model, from the stacks in its names; None if there are none."""
        counts: dict[str, set[int]] = {}
        for path in self.denoiser.values():
            if match := _NUMBERED.search(path):
                counts.setdefault(path[: match.end(1)], set()).add(int(match[2]))
        stacks = tuple((path, max(numbers) + 1) for path, numbers in counts.items() if len(numbers) > 1)
        return guessed(stacks) if stacks and sum(count for _, count in stacks) <= _MOST_BLOCKS else None


_NUMBERED = re.compile(r"(blocks?|layers?|stages?)_(\d{1,6})_", re.ASCII)
_MOST_BLOCKS = 999


def _holds(size: Size | Architecture, counts: Mapping[str, int]) -> bool:
    return all(size.counts.get(letter, 0) >= count for letter, count in counts.items())


def _in_adapter(family: Family, path: str) -> bool:
    return bool(family.adapter) and path.startswith(family.adapter)


def metadata_values(metadata: Mapping[str, str]) -> list[str]:
    """Return what the metadata of a file says about its model."""
    values = [metadata[key] for key in _METADATA if metadata.get(key)]
    if str(metadata.get("ss_v2", "")) == "True" and not any("v2" in value for value in values):
        values.append("sd_v2")
    return values


def is_fixed(family: Family) -> bool:
    """Return whether all models of `family` have the same blocks and differ in other respects."""
    return family.kind == "unet"


def only_size(family: Family) -> Architecture:
    """Return the one model of `family`."""
    return ARCHITECTURES[family.sizes[0].name]
