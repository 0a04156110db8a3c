"""A LoRA file: its modules, of every kind and naming, and the change that each makes to a weight."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from lbw.core.blocks import is_module, module_name
from lbw.core.detect import detect_lora, not_known
from lbw.core.errors import FileError
from lbw.core.family import Architecture
from lbw.core.texts import t

from .adapter_settings import Settings, settings
from .header import Header, impossible_name, read_header
from .parameters import check, unused

if TYPE_CHECKING:
    import torch

# PEFT's and diffusers' names of parameters, and what the kohya format calls them.
_OLD_DOWN, _OLD_UP = (rf"^(?:lora\.|lora_linear_layer\.|to_\w+_lora\.)?{side}\.weight$" for side in ("down", "up"))
_SPELLINGS = (
    (re.compile(r"^lora_B(?:\.[^.]+)?\.bias$"), "lora_up.bias"),
    (re.compile(r"^lora_A(?:\.[^.]+)??(?:\.weight)?$|" + _OLD_DOWN), "lora_down.weight"),
    (re.compile(r"^lora_B(?:\.[^.]+)??(?:\.weight)?$|" + _OLD_UP), "lora_up.weight"),
    (re.compile(r"^(?:lora_)?magnitude(?:_vector(?:\.[^.]+)??)?(?:\.weight)?$"), "magnitude"),
    (re.compile(r"^oft_R\.[^.]+\.weight$"), "oft_R.weight"),
)

_FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
_WHOLE = ("I64", "I32", "I16", "I8", "U8", "BOOL")
_SHOWN = 5


def parameter_name(key: str, module: str) -> str:
    """Return what follows the module's name in `key`, in kohya's spelling."""
    rest = key[len(module) + 1 :] if key.startswith(module + ".") else key.rpartition("processor.")[2]
    return next((name for pattern, name in _SPELLINGS if pattern.match(rest)), rest)


@dataclass(frozen=True)
class LoraFile:
    """A LoRA file, open for reading; tensors are read when they are asked for.

    architecture: of the model that it is for; remarks: what is to be told of how that was found, and of what in the
    file is not known. keys: for each module, by its name in the file, its parameters' keys by their name in kohya's
    spelling. settings: what a configuration beside the tensors adds to them.
    """

    path: Path
    header: Header
    architecture: Architecture
    remarks: tuple[str, ...] = ()
    keys: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)

    def parameters(self) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
        """Yield each module's name and its tensors, one module at a time.

        Raises:
            FileError: the file changed or went away, or holds what cannot be the numbers of a LoRA for any model.
        """
        import torch
        from safetensors import SafetensorError, safe_open

        if self.settings.refusal:
            raise FileError(t("{place}: {message}", place=self.path, message=self.settings.refusal))
        self._check_types()
        try:
            with safe_open(str(self.path), framework="pt") as file:  # type: ignore[no-untyped-call,unused-ignore]
                for module, keys in self.keys.items():
                    tensors = {name: file.get_tensor(key) for name, key in keys.items()}
                    self._check(module, tensors)
                    added = self.settings.added.get(module, {})
                    yield module, tensors | {name: torch.tensor(number) for name, number in added.items()}
        except UnicodeError as error:
            raise FileError(impossible_name(self.path)) from error
        except (OSError, ValueError, SafetensorError) as error:
            raise FileError(t("{path} cannot be read: {reason}", path=self.path, reason=error)) from error

    def _check_types(self) -> None:
        """Raise where tensors are of types that nothing can be computed with; single numbers may be whole ones."""
        types = self.header.dtypes
        others = [
            key
            for keys in self.keys.values()
            for key in keys.values()
            if types[key] not in _FLOATS and (types[key] not in _WHOLE or prod(self.header.shapes[key]) != 1)
        ]
        if others:
            found = ", ".join(sorted({types[key] for key in others}))
            raise FileError(
                t(
                    "{path} has values of type {types}, which are not supported, in {tensors}; "
                    "convert it to F16, BF16 or F32",
                    path=self.path,
                    types=found,
                    tensors=_counted(others),
                )
            )

    def _check(self, module: str, tensors: Mapping[str, torch.Tensor]) -> None:
        try:
            check({name: tuple(tensor.shape) for name, tensor in tensors.items()})
        except FileError as error:
            raise FileError(t("{place}: {message}", place=f"{self.path}: {module}", message=error)) from error
        if not all(_is_finite(tensor) for tensor in tensors.values()):
            raise FileError(self._not_finite())

    def _not_finite(self) -> str:
        """Return a message that names the tensors with NaN or infinity in the whole file."""
        from safetensors import safe_open

        with safe_open(str(self.path), framework="pt") as file:  # type: ignore[no-untyped-call,unused-ignore]
            keys = (key for keys in self.keys.values() for key in keys.values())
            bad = [key for key in keys if not _is_finite(file.get_tensor(key))]
        return t(
            "{path} contains NaN or infinity in {tensors}; it would corrupt the model's weights",
            path=self.path,
            tensors=_counted(bad),
        )


def _is_finite(tensor: torch.Tensor) -> bool:
    # Not every dtype supports isfinite: 8-bit ones must be converted first.
    return bool(tensor.float().isfinite().all())


def _counted(keys: Sequence[str]) -> str:
    if len(keys) == 1:
        return t("1 tensor: {name}", name=keys[0])
    shown = ", ".join(keys[:_SHOWN]) + (", …" if len(keys) > _SHOWN else "")
    return t("{count} tensors: {names}", count=len(keys), names=shown)


def open_lora(path: str | Path, loaded: Architecture | None = None) -> LoraFile:
    """Return the LoRA file at `path`.

    loaded: the model that it will be applied to; it decides if the file alone does not.

    Raises:
        FileError: it cannot be read, is not a safetensors file, or is not a LoRA for a known architecture.
    """
    path = Path(path)
    header = read_header(path)
    keys = module_keys(header)
    found = detect_lora(header.shapes, header.metadata, loaded)
    if found.architecture is None:
        raise FileError(not_known(path))
    return LoraFile(
        path,
        header,
        found.architecture,
        (*found.remarks, *remarks(path, header, keys)),
        keys,
        settings(path, header, keys),
    )


def module_keys(header: Header) -> dict[str, dict[str, str]]:
    """Return the keys of each module's parameters, by the module's name and the parameter's in kohya's spelling."""
    keys: dict[str, dict[str, str]] = {}
    for key in header.shapes:
        if is_module(key):
            module = module_name(key)
            keys.setdefault(module, {})[parameter_name(key, module)] = key
    return keys


def remarks(path: Path, header: Header, keys: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
    """Return messages about the tensors of the file at `path` and the configuration beside them."""
    others = sorted(names[name] for names in keys.values() for name in unused(names))
    left_out = (t("ignored: {tensors}", tensors=_counted(others)),) if others else ()
    return (*settings(path, header, keys).remarks, *left_out)
