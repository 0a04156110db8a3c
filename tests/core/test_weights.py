"""Block weights: SYNTAX.md 2 and 3, worked out by hand."""

from __future__ import annotations

import pytest

from lbw.core import limits
from lbw.core.architectures import ARCHITECTURES
from lbw.core.entries import EntryKind, RandomSource, parse_entry
from lbw.core.errors import LbwError, PresetError, WeightsError
from lbw.core.family import Architecture
from lbw.core.fitting import fits, fitting_architectures
from lbw.core.weights import parse_block_weights, uniform

from .tables import BLOCKS, LAYOUT_12, LAYOUT_17, LAYOUT_20, LAYOUT_26, LAYOUT_57, LAYOUT_61, PREDECESSOR_PRESETS

FLUX = ARCHITECTURES["flux"]
SD1 = ARCHITECTURES["sd1"]
SDXL = ARCHITECTURES["sdxl"]

PRESETS = PREDECESSOR_PRESETS | {"HALF": "0.5", "NAMED": "0,IN04=1", "ALIAS": "MIDD", "XS": "X,1,1,1,1,1,1,1,1,1,1,1"}


NO_SEED = RandomSource()


def resolved(
    text: str,
    architecture: Architecture = SD1,
    source: RandomSource = NO_SEED,
    x: float = 1.0,
    presets: dict[str, str] = PRESETS,
) -> dict[str, float]:
    return dict(parse_block_weights(text).resolve(architecture, presets, source, x).blocks)


def only(architecture: Architecture, default: float = 0.0, **weights: float) -> dict[str, float]:
    return dict.fromkeys(BLOCKS[architecture.name], default) | weights


# Parsed, before presets and a model are known ----------------------------------------------------


@pytest.mark.parametrize(
    ("text", "positional", "default", "by_block"),
    [
        (" 1 , X+0.2,R", ["1", "X+0.2", "R"], None, []),
        ("0.5", [], "0.5", []),
        (" MIDD ", [], "MIDD", []),
        ("OUT00=1", [], None, [("OUT00", "1")]),
        ("MIDD, IN04-IN08 = 0.3,OUT=U", [], "MIDD", [("IN04-IN08", "0.3"), ("OUT", "U")]),
        ("0,IN04=1=2", [], "0", [("IN04", "1=2")]),
        ("IN04=1,0.5", [], None, [("IN04", "1"), ("0.5", None)]),
        ("", [], "", []),
    ],
)
def test_a_text_is_a_list_of_numbers_or_a_default_and_overrides(
    text: str, positional: list[str], default: str | None, by_block: list[tuple[str, str | None]]
) -> None:
    weights = parse_block_weights(text)
    assert weights.text == text.strip()
    assert [entry.text for entry in weights.positional] == positional
    assert (weights.default.text if weights.default else None) == default
    assert [(selector, entry.text if entry else None) for selector, entry in weights.by_block] == by_block


@pytest.mark.parametrize(
    ("text", "kind", "number"),
    [
        ("-1e-1", EntryKind.NUMBER, -0.1),
        ("R", EntryKind.RANDOM, 0),
        ("U", EntryKind.WIDE_RANDOM, 0),
        ("X", EntryKind.DYNAMIC, 0),
        (" X-.5 ", EntryKind.DYNAMIC, -0.5),
        ("x", EntryKind.INVALID, 0),
        ("X+", EntryKind.INVALID, 0),
        ("9" * 400, EntryKind.INVALID, 0),
        ("0." + "0" * 40 + "1", EntryKind.NUMBER, 1e-41),
    ],
)
def test_an_entry_is_a_number_or_one_of_the_letters(text: str, kind: EntryKind, number: float) -> None:
    entry = parse_entry(text)
    assert (entry.text, entry.kind, entry.number) == (text.strip(), kind, number)


def test_entries_stay_as_written_through_presets_until_seed_and_x_are_known() -> None:
    entries = parse_block_weights("XS,IN04=R,IN00-IN01=0.50").entries_for(SDXL, PRESETS)
    written = {block: entry.text for block, entry in entries.by_block.items()}
    assert list(written) == BLOCKS["sdxl"]
    assert {block: text for block, text in written.items() if text not in ("0", "1")} == {
        "BASE": "X", "IN00": "0.50", "IN01": "0.50", "IN04": "R"
    }  # fmt: skip
    assert entries.variable_blocks == ["BASE", "IN04"]
    assert (entries.layout, entries.left_out) == (12, frozenset())


def test_a_list_tells_the_blocks_that_it_leaves_out() -> None:
    entries = parse_block_weights("0.25" + ",0.25" * 56).entries_for(FLUX, {})
    assert (entries.layout, entries.left_out) == (57, {"CLIP", "T5", "IN", "OUT"})
    assert parse_block_weights("0.25").entries_for(FLUX, {}).left_out == frozenset()


def test_what_a_list_leaves_out_can_be_given_another_weight() -> None:
    entries = parse_block_weights("MIDD").entries_for(SD1, PRESETS, unlisted=0.75)
    assert entries.resolve().blocks == resolved("MIDD") | dict.fromkeys(set(BLOCKS["sd1"]) - set(LAYOUT_17), 0.75)


# Lists of numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "layout"),
    [
        (SD1, LAYOUT_17),
        (SD1, LAYOUT_26),
        (SDXL, LAYOUT_12),
        (SDXL, LAYOUT_20),
        (FLUX, LAYOUT_61),
        (SDXL, LAYOUT_17),
        (SDXL, LAYOUT_26),
        (SD1, LAYOUT_12),
        (SD1, LAYOUT_20),
    ],
    ids=lambda x: x.name if isinstance(x, Architecture) else str(len(x)),
)
def test_each_number_goes_to_its_block_and_a_block_not_listed_gets_0(
    architecture: Architecture, layout: list[str]
) -> None:
    numbers = [float(place) for place in range(1, len(layout) + 1)]
    by_block = dict(zip(layout, numbers))
    expected = {block: by_block.get(block, 0.0) for block in BLOCKS[architecture.name]}
    weights = parse_block_weights(",".join(map(str, numbers))).resolve(architecture, {})
    assert weights.blocks == expected
    assert weights.layout == len(layout)


def test_57_numbers_leave_the_rest_of_flux_at_1() -> None:
    expected = dict.fromkeys(LAYOUT_57, 0.25) | {"CLIP": 1.0, "T5": 1.0, "IN": 1.0, "OUT": 1.0}
    assert resolved("0.25" + ",0.25" * 56, FLUX) == expected


@pytest.mark.parametrize("name", PREDECESSOR_PRESETS)
def test_a_preset_of_the_predecessor_means_its_numbers(name: str) -> None:
    layout, architecture = (LAYOUT_61, FLUX) if name == "FLUXALL" else (LAYOUT_17, SD1)
    numbers = dict(zip(layout, map(float, PREDECESSOR_PRESETS[name].split(","))))
    assert resolved(name, architecture) == only(architecture) | numbers


def test_midd_is_what_its_name_says() -> None:
    assert resolved("MIDD") == only(SD1, BASE=1, IN05=1, IN07=1, IN08=1, M00=1, OUT03=1, OUT04=1, OUT05=1, OUT06=1)


def test_spaces_around_numbers_do_not_count() -> None:
    assert resolved(" 1 , 0.5 " + ", 0" * 10, SDXL) == only(SDXL, BASE=1, IN04=0.5)


# One number, presets -----------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("1", 1), ("0.3", 0.3), ("-1.5", -1.5), ("HALF", 0.5)])
def test_one_number_goes_to_every_block(text: str, value: float) -> None:
    weights = parse_block_weights(text).resolve(FLUX, PRESETS)
    assert weights.blocks == only(FLUX, value)
    assert weights.layout is None


def test_a_preset_may_name_another_preset() -> None:
    assert resolved("ALIAS") == resolved("MIDD")


def test_a_preset_whose_name_is_a_number_is_a_preset() -> None:
    assert resolved("1", presets={"1": "0.25"}) == only(SD1, 0.25)


@pytest.mark.parametrize("presets", [{"A": "A"}, {"A": "B", "B": "A"}, {"A": "B,IN04=1", "B": "A,IN05=1"}])
def test_a_preset_that_leads_back_to_itself_is_an_error(presets: dict[str, str]) -> None:
    with pytest.raises(LbwError, match="refers to itself"):
        resolved("A", presets=presets)


# Named lists -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "architecture", "expected"),
    [
        ("0,OUT00=1,OUT01=0.5", SDXL, only(SDXL, OUT00=1, OUT01=0.5)),
        ("OUT00=1", SDXL, only(SDXL, OUT00=1)),
        ("1,BASE=0", SDXL, only(SDXL, 1, BASE=0)),
        (
            "0,D00-D02=1,S=0.25",
            FLUX,
            only(FLUX) | dict.fromkeys(LAYOUT_61[22:60], 0.25) | {"D00": 1, "D01": 1, "D02": 1},
        ),
        ("0,IN04-IN08=0.3,IN05=1", SD1, only(SD1, IN04=0.3, IN05=1, IN06=0.3, IN07=0.3, IN08=0.3)),
        ("0,IN05=1,IN04-IN06=0.3", SD1, only(SD1, IN04=0.3, IN05=0.3, IN06=0.3)),
        ("0,mid=1", SD1, only(SD1, M00=1)),
        ("0,MID00=2,out0=-1", SD1, only(SD1, M00=2, OUT00=-1)),
        ("0, OUT00 = 1 ", SD1, only(SD1, OUT00=1)),
        ("NAMED,IN05=0.5", SD1, only(SD1, IN04=1, IN05=0.5)),
        ("1,OUT=0", SDXL, only(SDXL, 1) | {block: 0.0 for block in LAYOUT_20 if block.startswith("OUT")}),
    ],
)
def test_a_named_list_sets_blocks_over_its_default(
    text: str, architecture: Architecture, expected: dict[str, float]
) -> None:
    assert resolved(text, architecture) == expected


def test_a_named_list_may_stand_on_a_preset() -> None:
    assert resolved("MIDD,IN04-IN08=0.3") == resolved("MIDD") | dict.fromkeys(
        ["IN04", "IN05", "IN06", "IN07", "IN08"], 0.3
    )
    assert resolved("ALL,BASE=0") == resolved("ALL") | {"BASE": 0}


# R, U and X --------------------------------------------------------------------------------------


def test_x_is_the_tags_value_with_its_offset() -> None:
    weights = resolved("0,IN04=X,IN05=X+0.2,IN06=X-0.5", x=0.75)
    assert weights == only(SD1, IN04=0.75, IN05=0.75 + 0.2, IN06=0.25)


def test_x_in_a_list_is_the_tags_value() -> None:
    assert resolved("XS", SDXL, x=0.7) == only(SDXL) | dict.fromkeys(LAYOUT_12, 1.0) | {"BASE": 0.7}


RANDOM = "R" + ",R" * 12 + ",U" * 13


def test_random_numbers_lie_in_their_range_with_three_decimals() -> None:
    drawn: dict[str, list[float]] = {"R": [], "U": []}
    for seed in range(40):
        for entry, value in zip(RANDOM.split(","), resolved(RANDOM, source=RandomSource(seed)).values()):
            drawn[entry].append(value)
    assert 0 <= min(drawn["R"]) < 0.05
    assert 0.95 < max(drawn["R"]) <= 1
    assert -0.5 <= min(drawn["U"]) < -0.4
    assert 1.4 < max(drawn["U"]) <= 1.5
    assert all(value == round(value, 3) for value in drawn["R"] + drawn["U"])


def test_the_same_seed_draws_the_same_numbers() -> None:
    assert resolved(RANDOM, source=RandomSource(7, "n")) == resolved(RANDOM, source=RandomSource(7, "n"))


def test_the_name_of_a_file_that_is_no_utf_8_draws_numbers_of_its_own() -> None:
    drawn = [resolved("R", source=RandomSource(7, name)) for name in ("n\udcff", "n\udcff", "n\udcfe")]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_weight_may_be_as_large_as_the_limit_and_no_larger() -> None:
    most = limits.WEIGHT
    assert resolved(f"{most}")["BASE"] == resolved(f"X+{most - 1}", x=1.0)["BASE"] == most
    assert resolved(f"-{most}")["BASE"] == -most
    for text in (f"{most + 1}", f"-{most + 1}", f"X+{most}"):
        with pytest.raises(WeightsError, match="out of range"):
            resolved(text, x=1.0)


@pytest.mark.parametrize("other", [RandomSource(8, "n"), RandomSource(7, "m")])
def test_another_seed_or_name_draws_other_numbers(other: RandomSource) -> None:
    assert resolved(RANDOM, source=other) != resolved(RANDOM, source=RandomSource(7, "n"))


def test_each_place_draws_a_number_of_its_own() -> None:
    assert len(set(resolved("R" + ",R" * 25).values())) > 20


def test_what_is_drawn_at_a_place_does_not_depend_on_the_other_entries() -> None:
    assert resolved("0,IN05=R")["IN05"] == resolved("0,IN04=U,IN05=R")["IN05"] == resolved("R" + ",R" * 25)["IN05"]


@pytest.mark.parametrize(
    ("text", "uses"),
    [
        ("X" + ",1" * 11, True),
        ("XS", True),
        ("0,IN04=X+0.2", True),
        ("XS,IN04=1", True),
        ("MIDD", False),
        ("XYZ", False),
        ("R,U", False),
    ],
)
def test_the_use_of_x_is_seen_through_presets(text: str, uses: bool) -> None:
    assert parse_block_weights(text).uses_x(PRESETS) is uses


def test_the_use_of_x_is_told_of_presets_that_lead_back_to_themselves() -> None:
    assert not parse_block_weights("A").uses_x({"A": "B", "B": "A"})


def test_the_use_of_x_is_seen_in_the_preset_for_any_model() -> None:
    presets = {"S@flux": "0,D00=X", "S@unet": "B,IN04=1", "B": "1"}
    assert parse_block_weights("S").uses_x(presets)
    assert parse_block_weights("S").uses_x(dict(reversed(presets.items())))


# Printed weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["MIDD", "1" + ",0" * 16, "0,IN00=1", "0.3", "MIDD,IN04=0.5", "MIDD,IN00=1"])
def test_weights_printed_mean_the_same_without_the_presets(text: str) -> None:
    weights = parse_block_weights(text).resolve(SD1, PRESETS)
    assert parse_block_weights(weights.text(SD1)).resolve(SD1, {}).blocks == weights.blocks


def test_weights_are_printed_in_the_layout_they_came_in_where_that_can_hold_them() -> None:
    assert parse_block_weights("MIDD").resolve(SD1, PRESETS).text(SD1) == PRESETS["MIDD"]
    assert parse_block_weights("MIDD,IN00=1").resolve(SD1, PRESETS).text(SD1).count(",") == 25
    assert parse_block_weights("1" + ",1" * 56).resolve(FLUX, {}).text(FLUX) == "1" + ",1" * 56


def test_numbers_for_blocks_that_the_model_has_not_are_printed_as_0() -> None:
    printed = parse_block_weights(",".join("1" * 17)).resolve(SDXL, {}).text(SDXL)
    assert printed == ",".join("1" if block in BLOCKS["sdxl"] else "0" for block in LAYOUT_17)
    assert "0" in printed


def test_uniform_weights_are_1_in_every_block() -> None:
    assert uniform(SDXL).blocks == only(SDXL, 1)


# Bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "architecture", "error", "named"),
    [
        ("MIDDD", SD1, PresetError, ["MIDDD", "MIDD"]),
        ("outall", SD1, PresetError, ["outall", '"OUTALL"']),
        ("NOSUCH,IN04=1", SD1, PresetError, ["NOSUCH"]),
        ("1,1,1,1,1", SD1, WeightsError, ["5 numbers", "12", "17", "20", "26", "SD 1.x"]),
        ("1,1,1,1,1", FLUX, WeightsError, ["5 numbers", "61", "57", "Flux.1"]),
        (",".join("1" * 61), SDXL, WeightsError, ["61 numbers", "Flux.1", "SDXL", "12", "20"]),
        (",".join("1" * 17), FLUX, WeightsError, ["17 numbers", "SD 1.x", "Flux.1"]),
        ("FLUXALL", SD1, WeightsError, ["FLUXALL", "Flux.1", "SD 1.x"]),
        ("1,1,lots" + ",1" * 14, SD1, WeightsError, ["lots", "3 of 17", "IN02"]),
        ("1," * 11, SDXL, WeightsError, ['""', "12 of 12", "OUT05"]),
        ("1,nan" + ",1" * 15, SD1, WeightsError, ["nan", "2 of 17", "IN01"]),
        ("1,X+" + "9" * 400 + ",1" * 15, SD1, WeightsError, ["X+9", "IN01"]),
        ("0,IN04=much", SD1, WeightsError, ["much", "IN04"]),
        ("0,IN04=", SD1, WeightsError, ['""', "IN04"]),
        ("0,IN99=1", SD1, WeightsError, ["IN99", "BASE", "IN00", "M00", "OUT11"]),
        ("0,IN01-D05=1", SD1, WeightsError, ["D05", "BASE", "OUT11", "Flux.1"]),
        ("0,IN09=1", SDXL, WeightsError, ["IN09", "IN08"]),
        ("0,=1", SD1, WeightsError, ["does not name a block"]),
        ("IN04=1,0", SD1, WeightsError, ['"0"']),
        ("0,IN04=1=2", SD1, WeightsError, ["1=2", "IN04"]),
        ("", SD1, WeightsError, ["empty"]),
        ("EMPTY", SD1, WeightsError, ["EMPTY", "empty"]),
    ],
)
def test_what_cannot_be_understood_is_named(
    text: str, architecture: Architecture, error: type[LbwError], named: list[str]
) -> None:
    with pytest.raises(error) as failure:
        resolved(text, architecture, presets=PRESETS | {"EMPTY": ""})
    assert [word for word in named if word not in str(failure.value)] == []


def test_a_name_that_resembles_nothing_gets_no_suggestion() -> None:
    with pytest.raises(PresetError) as failure:
        resolved("qqqqqq")
    assert "did you mean" not in str(failure.value)


def test_the_models_that_take_a_value_are_found() -> None:
    assert [a.name for a in fitting_architectures("MIDD", PRESETS)] == ["sd1", "sd2", "sdxl", "sdxl-refiner"]
    assert [a.name for a in fitting_architectures("0,D18=1", PRESETS)] == [
        "flux", "chroma", "hunyuan-image", "hunyuan-video"
    ]  # fmt: skip
    assert fitting_architectures("0.5", PRESETS) == tuple(ARCHITECTURES.values())
    assert fitting_architectures("NOSUCH", PRESETS) == ()


@pytest.mark.parametrize(
    ("text", "takes"),
    [("MIDD", True), ("STYLE", False), ("MIDD,D00=1", False), ("OUT=1", True), ("NOSUCH", False), ("1,1,1", False)],
)
def test_a_model_asked_alone_answers_as_among_all(text: str, takes: bool) -> None:
    presets = PRESETS | {"STYLE@flux": "0,S=1"}
    assert fits(text, SDXL, presets) is takes
    assert (SDXL in fitting_architectures(text, presets)) is takes


def test_a_preset_that_is_too_long_is_refused_by_name_too() -> None:
    presets = {"LONG": "1," * 10_001}
    with pytest.raises(WeightsError, match=r'preset "LONG": .* the limit is 20,000'):
        resolved("LONG", presets=presets)
    assert fitting_architectures("LONG", presets) == ()
    assert not parse_block_weights("LONG").uses_x(presets)
