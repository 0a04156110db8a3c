"""The map of a model: its blocks, what each is, and how much of a LoRA's or a model's parameters lies in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from lbw.core.architectures import by_name, unknown_architecture
from lbw.core.block_words import Described, describe
from lbw.core.blocks import is_module, locate, module_name
from lbw.core.detect import detect_lora, detect_model, guess_message, not_known
from lbw.core.errors import FileError, some
from lbw.core.family import Architecture
from lbw.core.texts import t

from .header import read_header
from .model_header import read_model

_SHOWN = 3


@dataclass(frozen=True)
class BlockCount:
    """How much is in one block: the number of tensors and of parameters."""

    tensors: int = 0
    parameters: int = 0


@dataclass(frozen=True)
class BlockMap:
    """The blocks of `architecture`, in layout order.

    counts: of a LoRA or a model, by block; None if only the architecture is known. remarks: messages for the user.
    """

    architecture: Architecture
    counts: Mapping[str, BlockCount] | None = None
    remarks: tuple[str, ...] = ()

    @property
    def words(self) -> dict[str, Described]:
        """What each block is."""
        return {block: describe(block, self.architecture) for block in self.architecture.blocks}

    @property
    def total(self) -> BlockCount:
        """The sum over all blocks."""
        counts = (self.counts or {}).values()
        return BlockCount(sum(count.tensors for count in counts), sum(count.parameters for count in counts))

    def share(self, block: str) -> float:
        """Return the share of all parameters that is in `block`, in percent."""
        return 100 * self.counts[block].parameters / (self.total.parameters or 1) if self.counts else 0.0

    def report(self) -> dict[str, Any]:
        """Return the map as plain data for JSON."""
        blocks: list[dict[str, Any]] = []
        for block, words in self.words.items():
            entry: dict[str, Any] = {"id": block, "what": str(words), "path": words.path}
            if self.counts is not None:
                count = self.counts[block]
                entry |= {
                    "tensors": count.tensors, "parameters": count.parameters, "share": round(self.share(block), 4),
                }  # fmt: skip
            blocks.append(entry)
        return {
            "architecture": self.architecture.name,
            "title": self.architecture.title,
            "blocks": blocks,
            "layouts": {str(count): list(listed) for count, listed in self.architecture.layouts.items()},
            "groups": {name: list(members) for name, members in self.architecture.groups.items()},
            "warnings": list(self.remarks),
        }


def map_of_architecture(name: str) -> BlockMap:
    """Return the blocks of the architecture called `name`; `anima:B20` is Anima with 20 blocks.

    Raises:
        FileError: there is no such architecture.
    """
    try:
        return BlockMap(by_name(name))
    except KeyError:
        raise FileError(unknown_architecture(name)) from None


def map_of_lora(path: str | Path, loaded: Architecture | None = None) -> BlockMap:
    """Return how the parameters of the LoRA file at `path` are distributed; only its header is read.

    loaded: the model that it will be applied to; it decides if the file alone does not.

    Raises:
        FileError: it cannot be read, is not a safetensors file, or is not a LoRA for a known architecture.
    """
    header = read_header(path)
    shapes = {key: shape for key, shape in header.shapes.items() if is_module(key)}
    found = detect_lora(header.shapes, header.metadata, loaded)
    if found.architecture is None or not shapes:
        raise FileError(not_known(path))
    names = {key: module_name(key) for key in shapes}
    return BlockMap(found.architecture, _counts(shapes, names, found.architecture), found.remarks)


def map_of_model(path: str | Path) -> BlockMap:
    """Return how the parameters of the model at `path` are distributed: a checkpoint or a diffusers folder.

    Raises:
        FileError: it cannot be read, is not a safetensors file, or no blocks are found in it.
    """
    header = read_model(path)
    architecture = detect_model(header.shapes)
    if architecture is None:
        raise FileError(t("{path} is not a known model and has no numbered blocks", path=path))
    remarks = [guess_message(architecture)] if architecture.family.is_guess else []
    lost = [name for name in header.shapes if not locate(name, architecture).is_known]
    if lost:
        remarks.append(_unplaced(lost, architecture))
    if header.others:
        count = f"{sum(map(prod, header.others.values())):,}"
        remarks.append(
            t(
                "not included: {tensors} tensors of the VAE and other parts, {count} parameters",
                tensors=len(header.others),
                count=count,
            )
        )
    names = {name: name for name in header.shapes}
    return BlockMap(architecture, _counts(header.shapes, names, architecture), tuple(remarks))


def _counts(
    shapes: Mapping[str, tuple[int, ...]], names: Mapping[str, str], architecture: Architecture
) -> dict[str, BlockCount]:
    tensors = dict.fromkeys(architecture.blocks, 0)
    parameters = dict.fromkeys(architecture.blocks, 0)
    for key, shape in shapes.items():
        block = locate(names[key], architecture).block
        tensors[block] += 1
        parameters[block] += prod(shape)
    return {block: BlockCount(tensors[block], parameters[block]) for block in architecture.blocks}


def _unplaced(names: list[str], architecture: Architecture) -> str:
    """Return the remark about tensors that belong to no block."""
    place = {"model": architecture.title, "block": architecture.family.rest}
    if len(names) == 1:
        return t("1 tensor belongs to no block of {model}, counted as {block}: {name}", name=names[0], **place)
    shown = some(names, _SHOWN)
    return t(
        "{count} tensors belong to no block of {model}, counted as {block}: {names}",
        count=len(names),
        names=shown,
        **place,
    )
