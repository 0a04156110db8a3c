"""Cells and lists of blocks: SYNTAX.md 2 and 3 say what the numbers and names mean."""

from __future__ import annotations

import itertools

import pytest
from core.tables import LAYOUT_12, LAYOUT_17, LAYOUT_20, LAYOUT_26, LAYOUT_61
from hypothesis import given
from hypothesis import strategies as st

from lbw.analysis.cells import Cell, choose, ordered, parse_span, uniform_cell, whole_number
from lbw.core.architectures import ARCHITECTURES, by_name
from lbw.core.entries import RandomSource
from lbw.core.errors import WeightsError
from lbw.core.family import Architecture
from lbw.core.numbers import format_number
from lbw.core.weights import parse_block_weights

FLUX = ARCHITECTURES["flux"]
SD1 = ARCHITECTURES["sd1"]
SDXL = ARCHITECTURES["sdxl"]

numbers = st.floats(-999, 999, allow_nan=False).map(format_number)
entries = numbers | st.sampled_from(["R", "U", "X", "X+0.2", "X-0.1"])
SOURCE, X = RandomSource(3, "a name"), 0.25


def meaning(text: str, architecture: Architecture = SDXL) -> dict[str, float]:
    return dict(parse_block_weights(text).resolve(architecture, {}, SOURCE, X).blocks)


# Cells -------------------------------------------------------------------------------------------


@given(st.lists(entries, min_size=12, max_size=12))
def test_the_text_of_a_cell_means_what_its_list_means(written: list[str]) -> None:
    cell = Cell(tuple(LAYOUT_12), tuple(written), 1)
    assert meaning(cell.weights) == meaning(",".join(written))


@given(st.lists(numbers, min_size=20, max_size=20))
def test_the_complement_is_one_minus_each_number(written: list[str]) -> None:
    cell = Cell(tuple(LAYOUT_20), tuple(written), 1)
    for block, entry in zip(LAYOUT_20, written):
        assert meaning(cell.complement)[block] == pytest.approx(1 - float(entry), rel=1e-9, abs=1e-9)


def test_the_complement_leaves_random_and_inherited_entries_and_other_blocks() -> None:
    cell = Cell(("IN04", "IN05", "M00", "OUT00", "OUT01", "OUT02"), ("R", "U", "X", "X+0.2", "0.1", "-0.5"), 1)
    found = meaning(cell.complement)
    drawn = {block: meaning(f"0,{block}={entry}")[block] for block, entry in [("IN04", "R"), ("IN05", "U")]}
    wanted = {**drawn, "M00": 0.25, "OUT00": 0.45, "OUT01": 0.9, "OUT02": 1.5}
    assert found == dict.fromkeys(LAYOUT_20, 0.0) | {block: pytest.approx(value) for block, value in wanted.items()}
    assert found["OUT01"] == 0.9


def test_a_uniform_cell_is_one_number() -> None:
    assert meaning(uniform_cell(FLUX, 0.5, 1).weights, FLUX) == dict.fromkeys(LAYOUT_61, 0.5)


def test_an_entry_is_set_only_for_blocks_of_the_layout() -> None:
    cell = Cell(tuple(LAYOUT_12), ("1",) * 12, 7, "::1").with_entry(("IN04", "IN00", "OUT05"), "0.3")
    assert meaning(cell.weights) == {
        block: 0.3 if block in ("IN04", "OUT05") else 1.0 if block in LAYOUT_12 else 0.0 for block in LAYOUT_20
    }
    assert (cell.seed, cell.elements) == (7, "::1")


def test_cells_differ_where_their_numbers_do() -> None:
    one = Cell(("BASE", "IN04", "M00"), ("1", "1", "0"), 1)
    assert one.differing(Cell(("BASE", "IN04", "M00"), ("1", "0.5", "1"), 2)) == {"IN04", "M00"}
    assert one.differing(Cell(("M00", "BASE", "IN04"), ("0", "1", "1"), 1)) == set()
    assert one.differing(Cell(("BASE", "IN04"), ("1", "1"), 1)) == {"M00"}
    assert one.differing(Cell(one.layout, one.entries, 1, "IN04:attn:0")) == {"BASE", "IN04", "M00"}


# Lists of blocks ---------------------------------------------------------------------------------


def chosen(text: str, architecture: Architecture = SDXL, touched: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    found = choose(text, architecture, touched)
    labels = [choice.label for choice in found]
    assert len(set(labels)) == len(labels)
    return {choice.label: choice.blocks for choice in found}


@pytest.mark.parametrize("text", ["auto", "AUTO", "  Auto "])
def test_auto_is_the_touched_blocks_in_layout_order(text: str) -> None:
    found = chosen(text, touched=("OUT01", "M00", "IN04"))
    assert list(found.items()) == [("IN04", ("IN04",)), ("M00", ("M00",)), ("OUT01", ("OUT01",))]


def test_auto_without_tensors_is_an_error() -> None:
    with pytest.raises(WeightsError, match=r"Blocks: .*no tensors"):
        choose("auto", SDXL, ())


@pytest.mark.parametrize(
    ("text", "architecture", "blocks"),
    [
        ("12ALL", SDXL, LAYOUT_12),
        ("20ALL", SDXL, LAYOUT_20),
        ("20all", SDXL, LAYOUT_20),
        ("17ALL", SD1, LAYOUT_17),
        ("26ALL", SD1, LAYOUT_26),
        ("61ALL", FLUX, LAYOUT_61),
        ("17ALL", SDXL, [block for block in LAYOUT_17 if block in LAYOUT_20]),
        ("26ALL", SDXL, LAYOUT_20),
        ("12ALL", SD1, LAYOUT_12),
    ],
)
def test_all_of_a_layout(text: str, architecture: Architecture, blocks: list[str]) -> None:
    assert chosen(text, architecture) == {block: (block,) for block in blocks}


@pytest.mark.parametrize("name", [*ARCHITECTURES, "anima:B20", "unknown:B24"])
def test_every_layout_and_the_thirds_of_every_model_can_be_chosen(name: str) -> None:
    architecture = by_name(name)
    for count, layout in architecture.layouts.items():
        own = [block for block in layout if block in architecture.blocks]
        assert list(chosen(f"{count}ALL", architecture)) == own
    thirds = chosen("EARLY,MIDDLE,LATE", architecture)
    listed = [block for blocks in thirds.values() for block in blocks]
    assert len(listed) == len(set(listed))
    assert set(architecture.numbered_blocks) <= set(listed)


def test_a_list_holds_ids_ranges_groups_and_not() -> None:
    text = "in4, IN04-IN07 ,IN05 OUT00-OUT02, OUT,NOT IN M00,not BASE-OUT07,, in4"
    assert chosen(text) == {
        "in4": ("IN04",),
        "IN04-IN07": ("IN04", "IN05", "IN06", "IN07"),
        "IN05 OUT00-OUT02": ("IN05", "OUT00", "OUT01", "OUT02"),
        "OUT": tuple(f"OUT0{n}" for n in range(9)),
        "NOT IN M00": ("BASE", *(f"OUT0{n}" for n in range(9))),
        "not BASE-OUT07": ("OUT08",),
    }
    assert chosen("D S", FLUX) == {"D S": tuple(LAYOUT_61[3:-1])}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "empty"),
        (" , ,", "empty"),
        ("IN99", '"IN99"'),
        ("IN04-IN99", '"IN99"'),
        ("OUT01,D07", "Flux"),
        ("61ALL", "61ALL"),
        ("13ALL", "13ALL"),
        ("NOT", '"NOT"'),
        ("IN04;IN05", '"IN04;IN05"'),
        pytest.param(
            "NOT BASE-OUT08",
            "NOT BASE-OUT08",
        ),
    ],
)
def test_a_wrong_list_names_the_field_and_the_entry(text: str, named: str) -> None:
    with pytest.raises(WeightsError) as caught:
        choose(text, SDXL, ("IN04",))
    assert str(caught.value).startswith("Blocks")
    assert named in str(caught.value)


# The order ---------------------------------------------------------------------------------------

SMALL = ("BASE", "IN04", "IN05", "M00", "OUT00")
cells = st.builds(
    lambda values, seed, elements: Cell(SMALL, tuple(values), seed, elements),
    st.lists(st.sampled_from(["0", "0.5", "1"]), min_size=5, max_size=5),
    st.integers(1, 3),
    st.sampled_from(["", "", "IN04:attn:0"]),
)
counts = st.fixed_dictionaries({block: st.integers(0, 20) for block in SMALL})


def encodings(order: list[Cell]) -> int:
    """How often the text is encoded when rendering in this order."""
    states = [(cell.entries[0], cell.elements) for cell in order]
    return sum(a != b for a, b in itertools.pairwise(states))


def touched_tensors(order: list[Cell], tensors: dict[str, int]) -> int:
    """How many tensors of the denoiser change when rendering in this order."""
    return sum(
        tensors[block]
        for one, two in itertools.pairwise(order)
        for block, a, b in zip(SMALL, one.entries, two.entries)
        if block != "BASE" and (a != b or one.elements != two.elements)
    )


@given(st.lists(cells, max_size=12), counts)
def test_the_order_holds_each_cell_once_and_begins_with_the_first(given_cells: list[Cell], tensors: dict) -> None:
    order = ordered(given_cells, tensors)
    assert len(order) == len(set(order))
    assert set(order) == set(given_cells)
    assert order[:1] == given_cells[:1]


@given(st.lists(cells, max_size=12), counts)
def test_cells_that_differ_in_their_seed_alone_stand_together(given_cells: list[Cell], tensors: dict) -> None:
    runs = [(cell.entries, cell.elements) for cell in ordered(given_cells, tensors)]
    starts = [state for place, state in enumerate(runs) if place == 0 or runs[place - 1] != state]
    assert len(starts) == len(set(starts))


@given(st.lists(cells, max_size=12), counts)
def test_the_text_is_encoded_anew_as_seldom_as_can_be(given_cells: list[Cell], tensors: dict) -> None:
    states = {(cell.entries[0], cell.elements) for cell in given_cells}
    assert encodings(ordered(given_cells, tensors)) == max(0, len(states) - 1)


@pytest.mark.parametrize("encoder", ["BASE", "CLIP", "T5", "TE", "ADP"])
def test_the_block_of_any_models_text_encoder_is_the_dearest_to_change(encoder: str) -> None:
    grid = [Cell((encoder, "B00"), (text, value), 1) for value in ("0", "0.5", "1") for text in ("0", "1")]
    assert encodings(ordered(grid, {encoder: 1, "B00": 1000})) == 1


@given(st.permutations(range(6)), counts)
def test_a_grid_over_values_of_one_block_changes_it_once_a_value(places: list[int], tensors: dict) -> None:
    grid = [Cell(SMALL, ("1", value, "1", "1", "1"), seed) for value in ("0", "0.5", "1") for seed in (1, 2)]
    shuffled = [grid[place] for place in places]
    assert touched_tensors(ordered(shuffled, tensors), tensors) == 2 * tensors["IN04"]


def test_the_order_is_never_dearer_than_the_one_that_was_given() -> None:
    tensors = {"BASE": 0, "IN04": 3, "IN05": 2, "M00": 3, "OUT00": 0}
    values = [("1", "1", "1"), ("0", "1", "1"), ("1", "0", "1"), ("1", "0", "0")]
    line = [Cell(SMALL, ("1", *three, "0"), 1) for three in values]
    assert touched_tensors(line, tensors) == 3 + (3 + 2) + 3
    assert touched_tensors(ordered(line, tensors), tensors) <= 11


def test_blocks_that_the_lora_has_no_tensors_in_may_differ_too() -> None:
    line = [Cell(SMALL, ("1", value, "1", "1", "1"), 1) for value in ("1", "0", "0.5")]
    assert set(ordered(line, {})) == set(line)


# Numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1e30,0", "0,1e30", "-1e30,0"])
def test_a_span_beyond_the_largest_weight_is_refused_at_either_end(text: str) -> None:
    with pytest.raises(WeightsError, match="Range"):
        parse_span(text)


def test_a_span_is_two_numbers() -> None:
    assert parse_span(" 0.5 , -1") == (0.5, -1.0)
    for text in ("1", "0,1,2", "0,high", "", "R,1"):
        with pytest.raises(WeightsError, match=r"Range .* is not two numbers"):
            parse_span(text)


def test_a_whole_number_is_within_its_bounds() -> None:
    assert [whole_number(value, "Threshold", 0, 255) for value in ("0", 255, "20.0", " 7 ")] == [0, 255, 20, 7]
    for value in ("256", -1, "2.5", "", "many", None, "nan"):
        with pytest.raises(WeightsError, match=r"Threshold .* is not a whole number from 0 to 255"):
            whole_number(value, "Threshold", 0, 255)
