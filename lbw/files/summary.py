"""What a LoRA file is, in short: its architecture, its kinds, the blocks that it has something in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from lbw.core.blocks import locate
from lbw.core.errors import FileError
from lbw.core.family import Architecture
from lbw.core.texts import t

from .atomic import version
from .lora import open_lora
from .parameters import kind


@dataclass(frozen=True)
class Summary:
    """What the header of a LoRA file tells about it.

    kinds: the kinds of its modules ("lora", "loha", …), sorted. touched: the blocks it has tensors in, in layout order.
    """

    architecture: Architecture
    kinds: tuple[str, ...]
    touched: tuple[str, ...]


def summarize(path: str | Path, loaded: Architecture | None = None) -> Summary:
    """Return what the LoRA file at `path` is; only its header is read.

    loaded: the model that it will be applied to; it decides if the file alone does not.

    Raises:
        FileError: it is not a safetensors file, cannot be read, or is not a LoRA for a known architecture.
    """
    if Path(path).suffix != ".safetensors":
        raise FileError(
            t("{path} is not a safetensors file; its contents cannot be read without loading it", path=path)
        )
    file = open_lora(path, loaded)
    kinds = set()
    for parameters in {tuple(sorted(names)) for names in file.keys.values()}:
        try:
            kinds.add(kind(parameters))
        except FileError:
            kinds.add("unknown")
    found = {locate(module, file.architecture).block for module in file.keys}
    return Summary(file.architecture, tuple(sorted(kinds)), tuple(b for b in file.architecture.blocks if b in found))


@dataclass
class Summaries:
    """Summaries of many files, each read when it is asked for, and again when its file or the model has changed."""

    _known: dict[str, tuple[tuple[str, str], Summary | FileError]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def knows(self, path: str) -> bool:
        """Tell whether the file at `path` was read before."""
        return path in self._known

    def of(self, path: str, loaded: Architecture | None = None) -> Summary:
        """Return the summary of the file at `path`, given the loaded model, if any.

        Raises:
            FileError: as `summarize` does.
        """
        mark = version(Path(path)), loaded.name if loaded else ""
        with self._lock:
            known = self._known.get(path)
        if known is None or known[0] != mark:
            try:
                known = mark, summarize(path, loaded)
            except FileError as error:
                known = mark, error
            with self._lock:
                self._known[path] = known
        if isinstance(known[1], FileError):
            raise known[1]
        return known[1]
