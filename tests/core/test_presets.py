"""The preset file: SYNTAX.md 4, and the files that come with the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbw.core.architectures import ARCHITECTURES
from lbw.core.errors import PresetError
from lbw.core.presets import merged, parse_presets
from lbw.core.weights import parse_block_weights

from .tables import BLOCKS, LAYOUT_20, LAYOUT_57, PREDECESSOR_PRESETS, weights_of

SDXL = ARCHITECTURES["sdxl"]

SHIPPED = Path(__file__).parents[2] / "presets" / "lbwpresets.txt"
TEXT = "# mine\nA:1,0\n\nno colon\nB : OUT00=1,OUT01=0.5 \nA:0,1\n# C:1\nD:1 # no\n"


def test_each_line_is_a_preset_or_a_comment() -> None:
    assert parse_presets(TEXT).presets == {"A": "0,1", "B": "OUT00=1,OUT01=0.5"}


def test_of_two_presets_with_one_name_the_last_counts_and_the_first_is_told() -> None:
    file = parse_presets("A:1\nB:2\nA:3\nA:4\n")
    assert file.presets["A"] == "4"
    assert [(line.number, line.text) for line in file.duplicates] == [(1, "A:1\n"), (3, "A:3\n")]


@pytest.mark.parametrize("text", [TEXT, TEXT.replace("\n", "\r\n"), "\ufeff" + TEXT, "A:1", "\r\rA:1\r", ""])
def test_a_file_is_printed_as_it_was_read(text: str) -> None:
    assert str(parse_presets(text)) == text


def test_a_mark_at_the_start_and_any_line_end_are_understood() -> None:
    assert parse_presets("\ufeffA:1\r\nB:2\rC:3").presets == {"A": "1", "B": "2", "C": "3"}


def test_unusual_line_ends_of_unicode_belong_to_the_line() -> None:
    assert parse_presets("A:1\u2028B:2\x0b\nC:3").names == ["A", "C"]


def test_a_colon_after_the_first_belongs_to_the_weights() -> None:
    assert parse_presets("A:1:2\n").presets == {"A": "1:2"}


@pytest.mark.parametrize("line", [":1,1", "  :1", "A", "#A:1", "A:1#", ""])
def test_a_line_that_is_no_preset_is_kept_and_gives_none(line: str) -> None:
    file = parse_presets(line + "\nB:1\n")
    assert file.presets == {"B": "1"}
    assert str(file).startswith(line)


def test_setting_a_preset_replaces_its_line_in_place() -> None:
    file = parse_presets("# top\r\nA:1\r\nB:2\r\n")
    assert str(file.with_preset("A", "9")) == "# top\r\nA:9\r\nB:2\r\n"


def test_setting_a_preset_that_stands_twice_replaces_the_one_that_counts() -> None:
    assert str(parse_presets("A:1\nA:2\nB:3").with_preset("A", "9")) == "A:1\nA:9\nB:3"


def test_setting_a_new_preset_adds_a_line_in_the_files_manner() -> None:
    assert str(parse_presets("").with_preset("A", "1")) == "A:1\n"
    assert str(parse_presets("B:2").with_preset("A", "1")) == "B:2\nA:1\n"
    assert str(parse_presets("B:2\r\n#").with_preset("A", "1")) == "B:2\r\n#\r\nA:1\r\n"


def test_setting_the_first_preset_keeps_the_files_mark() -> None:
    assert str(parse_presets("\ufeffA:1\nB:2\n").with_preset("A", "9")) == "\ufeffA:9\nB:2\n"


def test_of_two_files_the_later_one_counts() -> None:
    assert merged({"A": "1", "B": "2"}, {"B": "3"}) == {"A": "1", "B": "3"}


# What comes with the program ---------------------------------------------------------------------


def test_the_predecessors_presets_are_shipped_with_its_numbers() -> None:
    shipped = parse_presets(SHIPPED.read_text(encoding="utf-8"))
    assert {name: shipped.presets[name] for name in PREDECESSOR_PRESETS} == PREDECESSOR_PRESETS
    assert shipped.duplicates == []


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("XL-CHARACTER", "OUT00=1 OUT01=1"),
        ("XL-STYLE", "OUT01=1 IN08=1"),
        ("XL-LAYOUT", "IN08=1"),
        ("MIDD", "BASE=1 IN05=1 IN07=1 IN08=1 M00=1 OUT03=1 OUT04=1 OUT05=1 OUT06=1"),
    ],
)
def test_a_shipped_preset_means_these_blocks_of_sdxl(name: str, weights: str) -> None:
    shipped = parse_presets(SHIPPED.read_text(encoding="utf-8")).presets
    assert parse_block_weights(name).resolve(SDXL, shipped).blocks == weights_of(weights, LAYOUT_20)


@pytest.mark.parametrize("architecture", ["flux", "chroma"])
@pytest.mark.parametrize(("name", "first", "last"), [("FLUX-CONTENT", 0, 9), ("FLUX-STYLE", 10, 37)])
def test_content_and_style_are_runs_of_the_single_blocks_and_all_that_is_not_numbered_stays(
    architecture: str, name: str, first: int, last: int
) -> None:
    """SplitFlux, arXiv 2511.15258: the single blocks up to about the tenth carry content, later ones style."""
    shipped = parse_presets(SHIPPED.read_text(encoding="utf-8")).presets
    numbered = {block: float(f"S{first:02}" <= block <= f"S{last:02}") for block in LAYOUT_57}
    others = {block: 1.0 for block in BLOCKS[architecture] if block not in LAYOUT_57}
    assert parse_block_weights(name).resolve(ARCHITECTURES[architecture], shipped).blocks == others | numbered


def test_content_and_style_of_flux_are_not_taken_for_a_model_that_they_were_not_found_on() -> None:
    shipped = parse_presets(SHIPPED.read_text(encoding="utf-8")).presets
    with pytest.raises(PresetError, match=r"is for Chroma, Flux\.1, but this LoRA is for Flux\.2 Klein 9B"):
        parse_block_weights("FLUX-STYLE").resolve(ARCHITECTURES["flux2-klein-9b"], shipped)
