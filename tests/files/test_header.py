"""The header of a safetensors file, against files written byte by byte from the format's specification."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lbw.core import limits
from lbw.core.errors import FileError
from lbw.files.header import Header, read_header


def content(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """Return a file with this header: JSON, or bytes as they are."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(begin: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read(data: bytes) -> Header:
        path = tmp_path / "some.safetensors"
        path.write_bytes(data)
        return read_header(path)

    return read


def test_shapes_dtypes_and_metadata_are_read(read: Any) -> None:
    header = {
        "__metadata__": {"ss_base_model_version": "sd_v1", "名": "値"},
        "a.lora_down.weight": entry(0, 24, [2, 3]),
        "a.alpha": entry(24, 26, [], "BF16"),
        "empty": entry(26, 26, [0, 7], "I64"),
        "a.lora_up.weight": entry(26, 30, [4, 1], "F8_E4M3"),
    }
    assert read(content(header, bytes(30))) == Header(
        {"a.lora_down.weight": (2, 3), "a.alpha": (), "empty": (0, 7), "a.lora_up.weight": (4, 1)},
        {"a.lora_down.weight": "F32", "a.alpha": "BF16", "empty": "I64", "a.lora_up.weight": "F8_E4M3"},
        {"ss_base_model_version": "sd_v1", "名": "値"},
    )


def test_a_header_padded_with_spaces_and_without_tensors_is_read(read: Any) -> None:
    assert read(content(b"{}      ")) == Header({}, {}, {})


def test_tensors_may_be_listed_in_another_order_than_they_stand(read: Any) -> None:
    assert list(read(content({"b": entry(4, 8, [1]), "a": entry(0, 4, [1])}, bytes(8))).shapes) == ["b", "a"]


GOOD = {"a": entry(0, 4, [1])}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it has only 0 bytes"),
        (b"\x02\0\0", "it has only 3 bytes"),
        (content(GOOD, bytes(4), length=1 << 63), "9223372036854775808 bytes"),
        (content(GOOD, bytes(4))[:20], "truncated"),
        (content(GOOD)[:-3], "truncated: its header"),
        (content(GOOD, bytes(3)), "truncated: its tensors need 4 bytes, but it has 3"),
        (content(GOOD, bytes(5)), "1 extra bytes"),
        (content(b"\xff\xfe"), "not valid JSON"),
        (content(b"{"), "not valid JSON"),
        (content(b"[" * 100_000), "not valid JSON"),
        (content([]), "not a JSON object"),
        (content("text"), "not a JSON object"),
        (content({"__metadata__": [1]}), "its metadata"),
        (content({"a": entry(0, 4, [1]), "b": entry(2, 6, [1])}, bytes(6)), "tensor 'b' overlaps"),
        (content({"a": entry(0, 4, [1]), "b": entry(6, 10, [1])}, bytes(10)), "'b' overlaps another or leaves a gap"),
        (content({"a": entry(4, 8, [1])}, bytes(8)), "gap"),
        (content({"a": entry(0, 8, [1])}, bytes(8)), "'a'"),
        (content({"a": entry(0, 4, [2, 2], "F16")}, bytes(4)), "'a'"),
        (content({"a": entry(0, 4, [1], "F33")}, bytes(4)), "'a'"),
        (content({"a": entry(4, 0, [-1])}, bytes(4)), "'a'"),
        (content({"a": entry(0, 4, [1.0])}, bytes(4)), "'a'"),  # type: ignore[list-item]
        (content({"a": entry(0, 4, [True])}, bytes(4)), "'a'"),
        (content({"a": {"dtype": "F32", "shape": [1]}}, bytes(4)), "'a'"),
        (content({"a": {"dtype": [], "shape": [1], "data_offsets": [0, 4]}}, bytes(4)), "'a'"),
        (content({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2, 4]}}, bytes(4)), "'a'"),
        (content({"a": 5}), "'a'"),
        (content({"a": None}), "'a'"),
        (b"PK\x03\x04" + bytes(100), "not a safetensors file"),
    ],
)
def test_what_is_no_safetensors_file_is_named_with_the_reason(read: Any, data: bytes, reason: str) -> None:
    with pytest.raises(FileError) as failure:
        read(data)
    assert "some.safetensors" in str(failure.value)
    assert reason in str(failure.value)


def test_a_name_and_a_shape_may_be_as_long_as_the_limits_say_and_no_longer(read: Any) -> None:
    most, axes = limits.TENSOR_NAME_CHARACTERS, limits.TENSOR_DIMENSIONS
    assert read(content({"n" * most: entry(0, 4, [1])}, bytes(4))).shapes == {"n" * most: (1,)}
    assert read(content({"a": entry(0, 4, [1] * axes)}, bytes(4))).shapes == {"a": (1,) * axes}
    with pytest.raises(FileError, match=f"name of {most + 1:,} characters"):
        read(content({"n" * (most + 1): entry(0, 4, [1])}, bytes(4)))
    with pytest.raises(FileError, match="'a' is invalid"):
        read(content({"a": entry(0, 4, [1] * (axes + 1))}, bytes(4)))


def test_a_file_of_more_tensors_than_the_limit_is_refused_with_both_numbers(
    read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TENSORS", 3)
    names = {name: entry(0, 0, [0]) for name in "abcd"}
    assert len(read(content({name: names[name] for name in "abc"})).shapes) == 3
    with pytest.raises(FileError, match="4 tensors; the limit is 3"):
        read(content(names))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"nowhere\.safetensors cannot be read: No such file"):
        read_header(tmp_path / "nowhere.safetensors")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read"):
        read_header(tmp_path)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["F32", "F16", [0, 4], [1]]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "F16", "U8"]) | anything,
        "shape": st.lists(st.integers(0, 3), max_size=3) | anything,
        "data_offsets": st.tuples(st.integers(0, 16), st.integers(0, 16)) | anything,
    },
)
headers = st.dictionaries(st.text() | st.just("__metadata__"), entries | anything, max_size=3) | anything
contents = st.binary() | st.builds(content, st.binary() | headers, st.binary(max_size=32))


@given(contents)
@example(content({"a": entry(0, 0, [0] * 3)}))
@example(content(b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,4]}}', bytes(4)))
@example(content(b'{"\\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(3)))
def test_any_bytes_end_in_a_header_or_in_our_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(data)
    try:
        header = read_header(path)
    except FileError:
        return
    assert header.shapes.keys() == header.dtypes.keys()
    assert all(isinstance(value, str) for value in header.metadata.values())
