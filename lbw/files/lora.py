"""A LoRA file: its modules, of every kind and naming, and the change that each makes to a weight."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lbw.core.blocks import is_module, module_name
from lbw.core.detect import detect_lora, not_known
from lbw.core.errors import FileError
from lbw.core.family import Architecture

from .header import Header, read_header

if TYPE_CHECKING:
    import torch

# PEFT's and diffusers' names of parameters, and what the kohya format calls them.
_OLD_DOWN, _OLD_UP = (
    rf"^lora(?:_linear_layer)?\.{side}\.weight$|^to_\w+_lora\.{side}\.weight$" for side in ("down", "up")
)
_SPELLINGS = (
    (re.compile(r"^lora_A(\.[^.]+)?\.weight$|" + _OLD_DOWN), "lora_down.weight"),
    (re.compile(r"^lora_B(\.[^.]+)?\.weight$|" + _OLD_UP), "lora_up.weight"),
    (re.compile(r"^lora_magnitude_vector(\.[^.]+)?(\.weight)?$"), "dora_scale"),
)


def parameter_name(key: str, module: str) -> str:
    """Return what follows the module's name in `key`, in kohya's spelling."""
    rest = key[len(module) + 1 :] if key.startswith(module + ".") else key.rpartition("processor.")[2]
    return next((name for pattern, name in _SPELLINGS if pattern.match(rest)), rest)


@dataclass(frozen=True)
class LoraFile:
    """A LoRA file, open for reading; tensors are read when they are asked for.

    architecture: of the model that it is for; remarks: what is to be told of how that was found.
    keys: for each module, by its name in the file, its parameters' keys by their name in kohya's spelling.
    """

    path: Path
    header: Header
    architecture: Architecture
    remarks: tuple[str, ...] = ()
    keys: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def parameters(self) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
        """Yield each module's name and its tensors, one module at a time.

        Raises:
            FileError: the file changed or went away.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(self.path), framework="pt") as file:  # type: ignore[no-untyped-call,unused-ignore]
                for module, keys in self.keys.items():
                    yield module, {name: file.get_tensor(key) for name, key in keys.items()}
        except (OSError, SafetensorError) as error:
            raise FileError(f"{self.path} cannot be read: {error}") from error


def open_lora(path: str | Path, loaded: Architecture | None = None) -> LoraFile:
    """Return the LoRA file at `path`.

    loaded: the model that it is to be applied to; it decides where the file alone does not say.

    Raises:
        FileError: it cannot be read, is no safetensors file, or holds no LoRA of a known architecture.
    """
    path = Path(path)
    header = read_header(path)
    keys: dict[str, dict[str, str]] = {}
    for key in header.shapes:
        if is_module(key):
            module = module_name(key)
            keys.setdefault(module, {})[parameter_name(key, module)] = key
    found = detect_lora(header.shapes, header.metadata, loaded)
    if found.architecture is None:
        raise FileError(not_known(path))
    return LoraFile(path, header, found.architecture, found.remarks, keys)
