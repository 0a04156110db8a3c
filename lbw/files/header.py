"""The header of a safetensors file, read with nothing but Python.

The format: eight bytes, the header's length N as a little-endian number; N bytes of JSON, which gives for each
tensor `dtype`, `shape` and `data_offsets` (begin and end, from the end of the header), and under
`__metadata__` a table of texts; then the tensors' bytes, without holes
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lbw.core import limits
from lbw.core.errors import FileError, quote
from lbw.core.texts import t

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64,
    "C64": 64,
}  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What the header of a safetensors file says: shapes and dtypes by tensor, and the metadata."""

    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    metadata: dict[str, str]


def read_header(path: str | Path) -> Header:
    """Return the header of the safetensors file at `path`; its tensors are not read.

    Raises:
        FileError: the file cannot be read, or is no safetensors file, or is cut off.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            if len(start) < 8:
                raise FileError(
                    t("{path} is not a safetensors file: it has only {count} bytes", path=path, count=len(start))
                )
            (length,) = struct.unpack("<Q", start)
            if length > min(limits.HEADER_BYTES, size - 8):
                whole = t(
                    "{path} is not a safetensors file, or is truncated: its header would have {count} bytes",
                    path=path,
                    count=length,
                )
                raise FileError(whole)
            text = file.read(length)
    except OSError as error:
        raise FileError(t("{path} cannot be read: {reason}", path=path, reason=error.strerror or error)) from error
    except ValueError as error:
        raise FileError(impossible_name(path)) from error
    try:
        entries = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileError(t("{path} is not a safetensors file: its header is not valid JSON", path=path)) from error
    if not isinstance(entries, dict):
        raise FileError(t("{path} is not a safetensors file: its header is not a JSON object", path=path))
    metadata = entries.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise FileError(t("{path} is not a safetensors file: its metadata is not a JSON object", path=path))
    if len(entries) > limits.TENSORS:
        counts = {"count": f"{len(entries):,}", "most": f"{limits.TENSORS:,}"}
        raise FileError(t("{path} has {count} tensors; the limit is {most}", path=path, **counts))
    spans: list[tuple[int, int, str]] = []
    shapes: dict[str, tuple[int, ...]] = {}
    dtypes: dict[str, str] = {}
    for name, entry in entries.items():
        begin, end, shapes[name], dtypes[name] = _tensor(path, name, entry)
        spans.append((begin, end, name))
    _check_spans(path, spans, size - 8 - length)
    return Header(shapes, dtypes, {str(key): str(value) for key, value in metadata.items()})


def impossible_name(path: Path) -> str:
    """Return the message for a path with characters that this system allows in no file's name."""
    return t("{path} cannot be the name of a file; check it for invalid characters", path=ascii(str(path)))


def _tensor(path: Path, name: str, entry: Any) -> tuple[int, int, tuple[int, ...], str]:
    if len(name) > limits.TENSOR_NAME_CHARACTERS:
        raise FileError(
            t(
                "{path} has a tensor name of {count} characters; the limit is {most}: {name}",
                path=path,
                count=f"{len(name):,}",
                most=limits.TENSOR_NAME_CHARACTERS,
                name=quote(name, 40),
            )
        )
    try:
        begin, end = entry["data_offsets"]
        if len(entry["shape"]) > limits.TENSOR_DIMENSIONS:
            raise ValueError
        shape = tuple(entry["shape"])
        dtype = entry["dtype"]
        bits = _BITS[dtype]
        numbers = (begin, end, *shape)
        if any(type(n) is not int or n < 0 for n in numbers):
            raise ValueError
        for n in shape:
            bits *= n
        if (end - begin) * 8 != bits:
            raise ValueError
    except (KeyError, TypeError, ValueError) as error:
        wrong = t("the entry of tensor {name} is invalid", name=repr(name))
        raise FileError(t("{path} is not a valid safetensors file: {reason}", path=path, reason=wrong)) from error
    return begin, end, shape, dtype


def _check_spans(path: Path, spans: list[tuple[int, int, str]], size: int) -> None:
    position = 0
    for begin, end, name in sorted(spans):
        if begin != position:
            wrong = t("tensor {name} overlaps another or leaves a gap", name=repr(name))
            raise FileError(t("{path} is not a valid safetensors file: {reason}", path=path, reason=wrong))
        position = end
    if position > size:
        sizes = {"needed": position, "size": size}
        raise FileError(
            t("{path} is truncated: its tensors need {needed} bytes, but it has {size}", path=path, **sizes)
        )
    if position < size:
        wrong = t("there are {count} extra bytes after its tensors", count=size - position)
        raise FileError(t("{path} is not a valid safetensors file: {reason}", path=path, reason=wrong))
