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
                raise FileError(f"{path} is no safetensors file: it has {len(start)} bytes")
            (length,) = struct.unpack("<Q", start)
            if length > min(limits.HEADER_BYTES, size - 8):
                raise FileError(f"{path} is no safetensors file, or is cut off: its header would have {length} bytes")
            text = file.read(length)
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        entries = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is no safetensors file: its header is no JSON") from error
    if not isinstance(entries, dict):
        raise FileError(f"{path} is no safetensors file: its header is no table")
    metadata = entries.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise FileError(f"{path} is no safetensors file: its metadata is no table")
    if len(entries) > limits.TENSORS:
        raise FileError(f"{path} has {len(entries):,} tensors; files of up to {limits.TENSORS:,} are read")
    spans: list[tuple[int, int, str]] = []
    shapes: dict[str, tuple[int, ...]] = {}
    dtypes: dict[str, str] = {}
    for name, entry in entries.items():
        begin, end, shapes[name], dtypes[name] = _tensor(path, name, entry)
        spans.append((begin, end, name))
    _check_spans(path, spans, size - 8 - length)
    return Header(shapes, dtypes, {str(key): str(value) for key, value in metadata.items()})


def _tensor(path: Path, name: str, entry: Any) -> tuple[int, int, tuple[int, ...], str]:
    if len(name) > limits.TENSOR_NAME_CHARACTERS:
        most = limits.TENSOR_NAME_CHARACTERS
        raise FileError(
            f"{path} names a tensor with {len(name):,} characters; up to {most} are read: {quote(name, 40)}"
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
        raise FileError(f"{path} is no valid safetensors file: the entry of tensor {name!r} makes no sense") from error
    return begin, end, shape, dtype


def _check_spans(path: Path, spans: list[tuple[int, int, str]], size: int) -> None:
    place = 0
    for begin, end, name in sorted(spans):
        if begin != place:
            raise FileError(f"{path} is no valid safetensors file: tensor {name!r} overlaps another, or leaves a hole")
        place = end
    if place > size:
        raise FileError(f"{path} is cut off: its tensors need {place} bytes, and it has {size}")
    if place < size:
        raise FileError(f"{path} is no valid safetensors file: {size - place} bytes follow its tensors")
