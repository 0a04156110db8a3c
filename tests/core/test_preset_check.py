"""The live check of the editor: each line's name, layout, architectures, errors and duplicates."""

from __future__ import annotations

import time

import pytest

from lbw.core.architectures import ARCHITECTURES
from lbw.core.errors import PresetError
from lbw.core.preset_check import NAMED, ONE_NUMBER, OTHER_PRESET, CheckedLine, check_elements, check_presets
from lbw.core.presets import check_name, editor_text, file_text
from lbw.files.user_presets import ELEMENTS, SHIPPED, WEIGHTS, read_text

UNETS = ("SD 1.x", "SD 2.x", "SDXL", "SDXL refiner")
FOUR_STAGES = ("SD 1.x", "SD 2.x", "SDXL refiner")
WITH_D18 = ("Flux.1", "Chroma", "HunyuanImage 2.1", "HunyuanVideo")
EVERY = tuple(a.title for a in ARCHITECTURES.values())


def only(text: str) -> CheckedLine:
    (line,) = check_presets(text).lines
    return line


@pytest.mark.parametrize(
    ("weights", "layout", "fits"),
    [
        (",".join("1" * 12), "12", UNETS),
        (",".join("1" * 17), "17", UNETS),
        (",".join("1" * 57), "57", ("Flux.1", "Chroma")),
        (",".join("1" * 61), "61", ("Flux.1", "Chroma")),
        ("0,OUT00=1", NAMED, UNETS),
        ("0,OUT11=1", NAMED, FOUR_STAGES),
        ("0,D00-D18=1,S37=0.25", NAMED, WITH_D18),
        ("0.5", ONE_NUMBER, EVERY),
        ("R,U,X" + ",0" * 9, "12", UNETS),
    ],
)
def test_a_lines_layout_and_the_architectures_that_it_fits(weights: str, layout: str, fits: tuple[str, ...]) -> None:
    assert only(f"A:{weights}") == CheckedLine(1, "A", layout, fits)


def test_a_preset_may_stand_for_another_or_build_on_it() -> None:
    check = check_presets("A:0,OUT11=1\nB:A\nC:A,IN04=0.5\n")
    assert [(line.layout, line.fits) for line in check.lines] == [
        (NAMED, FOUR_STAGES), (OTHER_PRESET, FOUR_STAGES), (NAMED, FOUR_STAGES),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ("1,1,1", "no layout has 3 numbers; the layouts have 12, 17, 20, 24, 25, 26, 28, 30, 32, 33, 34, 35"),
        ("1,1,1,1,1,o,1,1,1,1,1,1", '"o", entry 6 of 12, for block M00, is not a number'),
        ("0,D00=high", '"high", for block D00, is not a number'),
        ("0,OUT77=1", 'unknown block "OUT77"'),
        ("0,D00=1,IN04=1", "is a block of"),
        ("MID", 'unknown preset "MID"; did you mean "MIDD"'),
        ("", "block weights are empty"),
        ("A", "refers to itself"),
    ],
)
def test_what_is_wrong_is_told_with_the_line(weights: str, told: str) -> None:
    check = check_presets(f"# first\nMIDD:1\nA:{weights}\n")
    (problem,) = check.problems
    assert (problem.number, problem.name, problem.fits) == (3, "A", ())
    assert told in problem.problem


def test_of_two_presets_with_one_name_the_first_is_told() -> None:
    check = check_presets("A:1\nB:1\nA:0\n")
    assert [(line.number, line.remark) for line in check.remarks] == [
        (1, "is ignored: a later preset has the same name")
    ]
    assert check.names == ("A", "B")
    assert check.problems == []


@pytest.mark.parametrize("line", ["# a comment", "", "   ", "\ufeff# marked"])
def test_comments_and_blank_lines_are_not_spoken_of(line: str) -> None:
    assert check_presets(line + "\n").lines == ()


def test_what_looks_like_a_preset_and_is_a_comment_is_remarked() -> None:
    check = check_presets("no colon\nA:1 # half\nB<b>:1\n")
    assert [(line.number, line.name, bool(line.remark)) for line in check.lines] == [
        (1, "", True), (2, "", True), (3, "B<b>", True),
    ]  # fmt: skip
    assert check.names == ("B<b>",)


def test_the_shipped_files_are_flawless() -> None:
    for check in (check_presets(read_text(SHIPPED / WEIGHTS)), check_elements(read_text(SHIPPED / ELEMENTS))):
        assert check.names
        assert check.problems == check.remarks == []


def test_a_thousand_presets_are_checked_between_two_keys() -> None:
    text = "".join(f"P{n}:{','.join([str(n)] * 26)}\n" for n in range(1000))
    check_presets(text)
    began = time.process_time()
    assert len(check_presets(text + "P:1\n").names) == 1001
    assert time.process_time() - began < 2


def test_a_text_that_is_no_preset_file_does_not_take_long() -> None:
    began = time.process_time()
    assert len(check_presets("".join(f"word{n}:text {n}\n" for n in range(2000))).problems) == 2000
    assert time.process_time() - began < 5


# Elemental presets -------------------------------------------------------------------------------


def test_an_elemental_presets_rules_are_counted_and_fitted() -> None:
    check = check_elements("A:IN05-OUT05:attn:1\n:proj:0\n\nB:D18:img:0.5,::1\n\nC:D00::1,IN05::1")
    assert [(line.number, line.name, line.layout, line.fits) for line in check.lines] == [
        (1, "A", "2 rules", UNETS), (4, "B", "2 rules", WITH_D18), (6, "C", "2 rules", ()),
    ]  # fmt: skip
    assert [line.problem for line in check.problems] == ["its rules name blocks of different models"]


def test_a_bad_rule_is_told_with_its_own_line() -> None:
    (bad,) = check_elements("A:IN05:attn:1\nIN06:attn:high\n").lines
    assert (bad.number, bad.name) == (2, "A")
    assert "is not BLOCKS:ELEMENTS:WEIGHT" in bad.problem


def test_an_unknown_block_a_duplicate_and_a_text_without_a_name() -> None:
    check = check_elements("A:QQ:attn:1\n\nB:::1\n\nB:::0\n\nwords\n")
    assert [(line.number, bool(line.problem), line.remark.partition(":")[0]) for line in check.lines] == [
        (1, True, ""), (3, False, "is ignored"), (5, False, ""), (7, False, "has no name before a colon"),
    ]  # fmt: skip
    assert check.names == ("A", "B")


# Names, and text in an editor --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "  ", "a:b", "#a", "a>b", "a\nb"])
def test_a_name_that_a_file_or_a_tag_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(PresetError):
        check_name(name)


def test_a_name_may_hold_anything_else() -> None:
    assert check_name(" 名前 <img =1,2 ") == "名前 <img =1,2"


@pytest.mark.parametrize("text", ["A:1\nB:2\n", "\ufeffA:1\r\nB:2\r\n", "A:1\rB:2", "A:1\r\nB:2\nC:3\r", ""])
def test_a_text_that_was_not_edited_is_written_byte_by_byte(text: str) -> None:
    assert file_text(editor_text(text), text) == text


@pytest.mark.parametrize(
    ("before", "after"),
    [("A:1\n", "A:2\nB:3\n"), ("\ufeffA:1\r\n", "\ufeffA:2\r\nB:3\r\n"), ("A:1\r", "A:2\rB:3\r"), ("", "A:2\nB:3\n")],
)
def test_an_edited_text_keeps_the_files_mark_and_line_ends(before: str, after: str) -> None:
    assert file_text("A:2\nB:3\n", before) == after
