"""The XYZ plot's axes and cells; the predecessor's rules, with its examples worked out by hand."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import pytest
from core.tables import LAYOUT_12, LAYOUT_17, LAYOUT_20, LAYOUT_61, PREDECESSOR_PRESETS

from lbw.analysis.cells import Cell
from lbw.analysis.prompt import cell_presets
from lbw.analysis.xyz import (
    Axis,
    AxisType,
    Grid,
    axis_type,
    build,
    combined,
    entries_of,
    labels,
    parse_axis,
    random_seed,
    touched_cells,
)
from lbw.core.architectures import ARCHITECTURES
from lbw.core.entries import RandomSource
from lbw.core.errors import LbwError, PresetError, WeightsError
from lbw.core.family import Architecture
from lbw.core.weights import parse_block_weights

FLUX = ARCHITECTURES["flux"]
SDXL = ARCHITECTURES["sdxl"]

XL = {
    "INS": "1,1,1,0,0,0,0,0,0,0,0,0",
    "MID": "1,0,0,0,0,1,0,0,0,0,0,0",
    "OUTD": "1,0,0,0,0,0,1,1,1,0,0,0",
    "HALF": "0.5",
    "NAMED": "0,OUT01=0.25",
    "MIXED": "R,U,X,X+0.2,0,0,0,0,0,0,0,0",
    "WIDE": ",".join(["1"] * 20),
    "ALIAS": "INS",
}
NONE = Axis()
AXIS = {"id": "Block ID", "values": "values", "seed": "seed", "weights": "Original Weights", "elements": "elements"}


def axis(kind: str, values: str, name: str = "X", architecture: Architecture = SDXL, **presets: str) -> Axis:
    return parse_axis(AXIS[kind], values, name, architecture, {**XL, **presets}, iter(range(1000, 2000)).__next__)


def plot(x: Axis, y: Axis = NONE, z: Axis = NONE, seed: int = 7, **presets: str) -> Grid:
    return build(x, y, z, SDXL, {**XL, **presets}, seed)


def meaning(text: str, architecture: Architecture = SDXL, x: float = 1.0) -> dict[str, float]:
    return dict(parse_block_weights(text).resolve(architecture, XL, RandomSource(0, "n"), x).blocks)


def twelve(text: str) -> dict[str, float]:
    """Return weights by block from twelve numbers; blocks that they leave out get 0."""
    return dict.fromkeys(LAYOUT_20, 0.0) | dict(zip(LAYOUT_12, map(float, text.split(","))))


def at(grid: Grid, x: int = 0, y: int = 0, z: int = 0) -> dict[str, float]:
    return meaning(grid.cells[z, y, x].weights)


# Axes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", AxisType.NONE),
        ("none", AxisType.NONE),
        ("Block ID", AxisType.BLOCKS),
        (" block id ", AxisType.BLOCKS),
        ("VALUES", AxisType.VALUES),
        ("seed", AxisType.SEED),
        ("original weights", AxisType.WEIGHTS),
        ("elements", AxisType.ELEMENTS),
        # The predecessor's API
        ("id", AxisType.BLOCKS),
        ("Value", AxisType.VALUES),
        ("base weights", AxisType.WEIGHTS),
    ],
)
def test_an_axis_is_known_by_its_name(text: str, kind: AxisType) -> None:
    assert axis_type(text, "X type") is kind


def test_an_unknown_axis_is_named_with_those_that_there_are() -> None:
    with pytest.raises(WeightsError, match="Z type") as caught:
        parse_axis("color", "red", "Z", SDXL, {}, lambda: 1)
    assert all(name in str(caught.value) for name in ('"color"', *AXIS.values()))


def test_block_ids_are_ids_ranges_groups_not_and_layouts() -> None:
    assert axis("id", "IN05, OUT03-OUT05 BASE ,NOT IN,OUT").values == ("IN05", "OUT03-OUT05 BASE", "NOT IN", "OUT")
    assert axis("id", "12ALL").values == tuple(LAYOUT_12)
    assert axis("id", "17all").values == tuple(block for block in LAYOUT_17 if block in LAYOUT_20)
    assert axis("id", "61ALL", architecture=FLUX).values == tuple(LAYOUT_61)


def test_values_are_entries_with_ranges_written_out() -> None:
    assert axis("values", "0-1 (+0.5),R,U,X-0.1,-1").values == ("0", "0.5", "1", "R", "U", "X-0.1", "-1")


def test_a_seed_of_minus_one_is_drawn_each_time() -> None:
    assert axis("seed", "5,-1,7-9 (+1),-1,0").values == ("5", "1000", "7", "8", "9", "1001", "0")


@pytest.mark.parametrize(
    ("values", "seeds"),
    [
        ("1e3,20.0,+7", ("1000", "20", "7")),
        ("1-10 [3]", ("1", "5", "10")),
        (f"{2**63 - 1}", (f"{2**63 - 1}",)),
    ],
)
def test_seeds_are_whole_numbers_however_they_are_written(values: str, seeds: tuple[str, ...]) -> None:
    assert axis("seed", values).values == seeds


@pytest.mark.parametrize("values", [f"{2**63}", "-2", "0.5"])
def test_what_no_host_takes_for_a_seed_is_refused(values: str) -> None:
    with pytest.raises(WeightsError, match="is not a seed"):
        axis("seed", values)


def test_a_layout_that_the_model_lacks_is_told_with_those_that_it_has() -> None:
    with pytest.raises(WeightsError, match=r"SDXL has no layout .*61ALL.* choose 12ALL, 17ALL, 20ALL"):
        axis("id", "61ALL")


def test_seeds_are_drawn_as_the_webuis_draw_them() -> None:
    drawn = {random_seed() for _ in range(50)}
    assert len(drawn) > 40
    assert all(0 <= seed < 2**32 for seed in drawn)


def test_a_long_seed_is_taken_as_it_is_written() -> None:
    assert axis("seed", str(2**53 + 1)).values == (str(2**53 + 1),)


def test_labels_are_the_values() -> None:
    assert labels(axis("values", "0-1 (+0.5)")) == ["0", "0.5", "1"]
    assert labels(NONE) == labels(Axis(values=("0", "1"))) == [""]


@pytest.mark.parametrize("name", ["X", "Y", "Z"])
@pytest.mark.parametrize(
    ("kind", "values", "named"),
    [
        ("id", "IN04,IN99", '"IN99"'),
        ("id", "D07", "Flux"),
        ("id", "NOT", '"NOT"'),
        ("id", " , ", "empty"),
        ("values", "0,much", '"much"'),
        ("values", "1-0 (+0.5)", "never gets"),
        ("values", "0-1 [99999]", "99999"),
        ("values", "", "empty"),
        ("seed", "1.5", '"1.5"'),
        ("seed", "-2", '"-2"'),
        ("seed", "x", '"x"'),
        ("seed", str(2**64), str(2**64)),
        ("weights", "INSS", 'did you mean "INS"'),
        ("weights", "INS,FLUXY", "61 numbers"),
        ("weights", "BAD", '"BAD"'),
        ("weights", "LOOP", "refers to itself"),
        ("elements", "IN05:attn", '"IN05:attn"'),
        ("elements", "IN05:attn:much", '"IN05:attn:much"'),
        pytest.param(
            "elements",
            "IN99:attn:1",
            '"IN99"',
        ),
    ],
)
def test_a_wrong_value_names_its_axis(name: str, kind: str, values: str, named: str) -> None:
    presets = {"FLUXY": "1" + ",1" * 60, "BAD": "0,IN99=1", "LOOP": "LOOP,IN04=1"}
    with pytest.raises(LbwError) as caught:
        axis(kind, values, name, **presets)
    assert str(caught.value).startswith(f"{name} values")
    assert named in str(caught.value)


def test_an_unknown_preset_stays_a_preset_error() -> None:
    with pytest.raises(PresetError, match='Y values: unknown preset "nothing like it"'):
        axis("weights", "nothing like it", "Y")


# Which axes go together --------------------------------------------------------------------------

BLOCKS, VALUES, SEEDS = axis("id", "IN04"), axis("values", "0,1"), axis("seed", "1,2")
WEIGHTS, ELEMENTS = axis("weights", "INS,MID"), axis("elements", "IN05:attn:0")


@pytest.mark.parametrize(
    ("axes", "named"),
    [
        ((NONE, NONE, NONE), "no axis is chosen"),
        ((BLOCKS, NONE, NONE), "Block ID also needs one of type values"),
        ((SEEDS, VALUES, NONE), "values also needs one of type Block ID"),
        ((SEEDS, SEEDS, NONE), "2 axes have the type seed"),
        ((VALUES, VALUES, BLOCKS), "2 axes have the type values"),
        ((VALUES, BLOCKS, BLOCKS), "2 axes have the type Block ID"),
        ((WEIGHTS, NONE, WEIGHTS), "Original Weights on both X and Y"),
        ((NONE, WEIGHTS, WEIGHTS), "Original Weights on both X and Y"),
        ((WEIGHTS, WEIGHTS, WEIGHTS), "3 axes have the type Original Weights"),
        ((ELEMENTS, NONE, ELEMENTS), "2 axes have the type elements"),
    ],
)
def test_axes_that_do_not_go_together(axes: tuple[Axis, Axis, Axis], named: str) -> None:
    with pytest.raises(WeightsError, match=named):
        plot(*axes)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_blocks_and_values_may_stand_on_any_axes(order: tuple[int, ...]) -> None:
    kinds = [axis("id", "IN04,OUT"), axis("values", "0,0.5"), SEEDS]
    grid = plot(*(kinds[place] for place in order))
    assert len(grid.cells) == 8
    for place, cell in grid.cells.items():
        block, value, seed = ({kind: place[2 - order.index(kind)] for kind in range(3)}[kind] for kind in range(3))
        changed = [["IN04"], LAYOUT_20[11:]][block]
        assert meaning(cell.weights) == dict.fromkeys(LAYOUT_20, 1.0) | dict.fromkeys(changed, [0.0, 0.5][value])
        assert cell.seed == [1, 2][seed]


# Blocks and values -------------------------------------------------------------------------------


def test_without_a_preset_xyz_every_block_begins_with_one() -> None:
    grid = plot(axis("values", "0,2"), axis("id", "IN04 OUT01-OUT02,NOT BASE-OUT07"))
    assert at(grid, 0, 0) == dict.fromkeys(LAYOUT_20, 1.0) | {"IN04": 0.0, "OUT01": 0.0, "OUT02": 0.0}
    assert at(grid, 1, 1) == dict.fromkeys(LAYOUT_20, 1.0) | {"OUT08": 2.0}


def test_the_preset_xyz_is_what_the_axes_begin_with() -> None:
    grid = plot(axis("values", "0.3"), axis("id", "IN05,M00"), XYZ="0,0.1,0.2,0,0,0,0,0,0,0,0,0.9")
    assert at(grid) == twelve("0,0.1,0.3,0,0,0,0,0,0,0,0,0.9")
    assert at(grid, y=1) == twelve("0,0.1,0.2,0,0,0.3,0,0,0,0,0,0.9")


def test_blocks_that_a_list_leaves_out_are_not_changed() -> None:
    grid = plot(axis("values", "0.3"), axis("id", "NOT BASE,IN00"), XYZ="MID")
    assert at(grid) == twelve("1,0.3,0.3,0.3,0.3,0.3,0.3,0.3,0.3,0.3,0.3,0.3")
    assert at(grid, y=1) == twelve(XL["MID"])


def test_zyx_is_one_minus_each_number_of_the_cell() -> None:
    grid = plot(axis("values", "0.3,R"), axis("id", "IN04"), XYZ="0,1,0.25,-0.5,X,U,0,0,0,0,0,0")
    first, second = (cell_presets(grid.cells[0, 0, x]) for x in range(2))
    # BASE 0, IN04 the value, IN05 0.25, IN07 -0.5, IN08 X, M00 U, and six of 0
    for x in (1.0, 0.5):
        found = meaning(first["ZYX"], x=x)
        assert {block: found[block] for block in LAYOUT_12} == {
            "BASE": 1.0, "IN04": 0.7, "IN05": 0.75, "IN07": 1.5, "IN08": x, "M00": meaning("0,M00=U")["M00"],
            **{f"OUT0{n}": 1.0 for n in range(6)},
        }  # fmt: skip
    assert meaning(first["XYZ"])["IN04"] == 0.3
    assert meaning(second["ZYX"])["IN04"] == meaning(second["XYZ"])["IN04"] == meaning("0,IN04=R")["IN04"]


# Original weights --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ("INS", "MID", "1,1,1,0,0,1,0,0,0,0,0,0"),
        ("OUTD", "INS", "1,1,1,0,0,0,1,1,1,0,0,0"),
        ("INS", "OUTD", "1,1,1,0,0,0,1,1,1,0,0,0"),
        ("INS", "INS", "1,1,1,0,0,0,0,0,0,0,0,0"),
        ("MID", "MID", "1,0,0,0,0,1,0,0,0,0,0,0"),
        ("ALIAS", "MID", "1,1,1,0,0,1,0,0,0,0,0,0"),
    ],
)
def test_two_original_weights_are_added_and_the_first_wins(first: str, second: str, wanted: str) -> None:
    assert at(plot(axis("weights", first), axis("weights", second))) == twelve(wanted)


def test_where_both_are_there_the_first_axis_alone_counts() -> None:
    presets = {"A": "0.2,0,-1,0,0,0,0,0,0,0,0,0", "B": "0.7,0.7,0.7,0,0,0,0,0,0,0,0,0"}
    x, y = axis("weights", "A", **presets), axis("weights", "B", **presets)
    assert at(plot(x, y, **presets)) == twelve("0.2,0.7,-1,0,0,0,0,0,0,0,0,0")
    assert at(plot(y, x, **presets)) == twelve("0.7,0.7,0.7,0,0,0,0,0,0,0,0,0")


def test_a_square_of_original_weights() -> None:
    names = ("INS", "MID", "OUTD")
    grid = plot(axis("weights", ",".join(names)), axis("weights", ",".join(names)))
    for y, x in itertools.product(range(3), range(3)):
        one, two = (twelve(XL[names[place]]) for place in (x, y))
        zeroed = {block: 0.0 if one[block] and two[block] else two[block] for block in two}
        assert at(grid, x, y) == {block: one[block] + zeroed[block] for block in one}
    # Of numbers that are 0 or 1, both orders of a pair give the same.
    assert len(touched_cells(grid)) == 6


def test_original_weights_of_two_layouts() -> None:
    first, second = entries_of("MID", SDXL, XL, 1), entries_of("WIDE", SDXL, XL, 1)
    assert meaning(combined(first, second).weights) == dict.fromkeys(LAYOUT_20, 1.0)
    presets = {"WIDE2": ",".join(["0", "0.5"] * 10)}
    wanted = dict(zip(LAYOUT_20, [0.0, 0.5] * 10))
    wanted |= {"BASE": 1.0, "M00": 1.0}
    assert meaning(combined(first, entries_of("WIDE2", SDXL, presets, 1)).weights) == wanted
    zeros = {"NOTHING": ",".join(["0"] * 20)}
    assert meaning(combined(entries_of("NOTHING", SDXL, zeros, 1), first).weights) == twelve(XL["MID"])


def test_random_and_inherited_entries_stay_and_count_as_there() -> None:
    one, two = entries_of("MIXED", SDXL, XL, 1), entries_of("INS", SDXL, XL, 1)
    assert one.entries == ("R", "U", "X", "X+0.2", *["0"] * 8)
    assert combined(one, two).entries == ("R", "U", "X", "X+0.2", *["0"] * 8)
    assert combined(two, one).entries == ("1", "1", "1", "X+0.2", *["0"] * 8)


def test_axes_change_original_weights_too() -> None:
    grid = plot(axis("weights", "INS,NAMED,HALF"), axis("values", "0.3"), axis("id", "IN04-IN06"))
    assert at(grid, 0) == twelve("1,0.3,0.3,0,0,0,0,0,0,0,0,0")
    assert at(grid, 1) == dict.fromkeys(LAYOUT_20, 0.0) | {"OUT01": 0.25, "IN04": 0.3, "IN05": 0.3, "IN06": 0.3}
    assert at(grid, 2) == dict.fromkeys(LAYOUT_20, 0.5) | {"IN04": 0.3, "IN05": 0.3, "IN06": 0.3}


@pytest.mark.parametrize("text", ["INS", "HALF", "NAMED", "WIDE", "ALIAS", "INS,IN05=0.2", "-1", XL["OUTD"]])
def test_entries_mean_what_the_text_means(text: str) -> None:
    assert meaning(entries_of(text, SDXL, XL, 1).weights) == meaning(text)


def test_a_list_of_another_model_of_the_kind_keeps_its_blocks_here() -> None:
    text = PREDECESSOR_PRESETS["OUTALL"]
    found = entries_of(text, SDXL, {}, 1)
    assert "OUT11" not in found.layout
    assert meaning(found.weights) == dict.fromkeys(LAYOUT_20, 0.0) | dict.fromkeys(
        ["BASE", *(f"OUT0{n}" for n in range(3, 9))], 1.0
    )


def test_fifty_seven_numbers_leave_the_rest_of_flux_at_one() -> None:
    found = meaning(entries_of("0" + ",0" * 56, FLUX, {}, 1).weights, FLUX)
    assert {block for block, weight in found.items() if weight} == {"CLIP", "T5", "IN", "OUT"}
    assert found["CLIP"] == 1


def test_an_inherited_entry_of_a_named_list_stays() -> None:
    cell = entries_of("0,OUT00=X", SDXL, {}, 1)
    assert meaning(cell.weights, x=0.5)["OUT00"] == 0.5


def test_random_and_inherited_entries_of_a_preset_stay_under_overrides() -> None:
    text = "MIXED,OUT05=0.25"
    cell = entries_of(text, SDXL, XL, 1)
    assert dict(zip(cell.layout, cell.entries))["IN05"] == "X"
    assert meaning(cell.weights, x=0.5) == meaning(text, x=0.5)


class Counting(Mapping[str, str]):
    """Presets that refer to themselves; they raise after too many look-ups instead of recursing for ever."""

    def __init__(self, presets: dict[str, str]) -> None:
        self.presets, self.asked = presets, 0

    def __getitem__(self, name: str) -> str:
        self.asked += 1
        if self.asked > 10_000:
            raise RecursionError("asked for ever")
        return self.presets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.presets)

    def __len__(self) -> int:
        return len(self.presets)


def test_a_preset_xyz_that_leads_back_to_itself_is_an_error() -> None:
    with pytest.raises(PresetError, match="refers to itself"):
        build(SEEDS, NONE, NONE, SDXL, Counting({"XYZ": "A", "A": "XYZ"}), 1)


# Seeds, elements, equal cells --------------------------------------------------------------------


def test_cells_without_a_seed_axis_have_the_seed_of_the_picture() -> None:
    grid = plot(VALUES, BLOCKS, seed=99)
    assert {cell.seed for cell in grid.cells.values()} == {99}
    grid = plot(axis("weights", "INS,MID"), axis("weights", "OUTD"), seed=99)
    assert {cell.seed for cell in grid.cells.values()} == {99}
    grid = plot(SEEDS, seed=99)
    assert [grid.cells[0, 0, x].seed for x in range(2)] == [1, 2]
    assert at(grid) == dict.fromkeys(LAYOUT_20, 1.0)


def test_elements_are_rules_for_the_whole_cell() -> None:
    grid = plot(axis("elements", '"IN05:attn:0.5,OUT:mlp:0",:proj:1'), WEIGHTS)
    assert [grid.cells[0, 0, x].elements for x in range(2)] == ["IN05:attn:0.5,OUT:mlp:0", ":proj:1"]
    assert at(grid, 1, 1) == twelve(XL["MID"])


def test_a_plot_has_the_axes_that_were_given() -> None:
    grid = plot(VALUES, BLOCKS, SEEDS)
    assert (grid.x, grid.y, grid.z) == (VALUES, BLOCKS, SEEDS)


def test_equal_cells_are_rendered_once() -> None:
    grid = plot(axis("values", "0,1,1"), axis("id", "IN04,IN05,in4"), SEEDS)
    cells = touched_cells(grid)
    assert len(grid.cells) == 18
    # For each seed: all at 1, IN04 at 0, IN05 at 0.
    assert len(cells) == len(set(cells)) == 6
    assert isinstance(cells[0], Cell)
