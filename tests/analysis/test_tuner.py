"""The tuner: WORKFLOWS' third path, as a value that rounds, choices and undo turn into the next."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbw.analysis.cells import AUTO, choose
from lbw.analysis.effective_blocks import NEEDED, NOT_MEASURED, NOT_NEEDED, UNKNOWN, Suggestion
from lbw.analysis.groups import apart, groups_text, parse_groups, selector_text, usual_groups
from lbw.analysis.tuner import BOTH, MINUS, PLUS, BlockState, Tuner, chosen, parse_step, weight_line
from lbw.analysis.tuner_start import from_json, from_suggestion, start, suggestion_in, tunable_layouts
from lbw.core.architectures import ARCHITECTURES, by_name
from lbw.core.errors import LbwError, WeightsError
from lbw.core.family import Architecture
from lbw.core.presets import parse_presets
from lbw.core.selectors import select
from lbw.core.weights import parse_block_weights

FLUX = ARCHITECTURES["flux"]
SD1 = ARCHITECTURES["sd1"]
SDXL = ARCHITECTURES["sdxl"]

TWELVE = ["BASE", "IN04", "IN05", "IN07", "IN08", "M00", "OUT00", "OUT01", "OUT02", "OUT03", "OUT04", "OUT05"]


@pytest.fixture
def tuner() -> Tuner:
    """OUT01 needed, IN08 and OUT00 unknown, the rest not needed."""
    begun = start(SDXL, 12).sorted_as(TWELVE, NOT_NEEDED).sorted_as(["OUT01"], NEEDED)
    return begun.sorted_as(["IN08", "OUT00"], UNKNOWN)


def test_a_new_tuner_knows_nothing() -> None:
    new = start(SDXL, 12)
    assert new.blocks == tuple(TWELVE)
    assert set(new.states) == {BlockState(UNKNOWN, False, 0.5)}
    assert start(SDXL).layout == 20
    with pytest.raises(WeightsError, match="no layout of 26 numbers; choose 12, 20"):
        start(SDXL, 26)


def test_sorting_sets_the_values_of_the_method(tuner: Tuner) -> None:
    assert tuner.weights == "0,0,0,0,0.5,0,0.5,1,0,0,0,0"
    assert tuner.open_blocks == ["IN08", "OUT00"]


@pytest.mark.parametrize(
    ("direction", "labels"),
    [
        (MINUS, ["as it is", "IN08 0.5 → 0.25", "OUT00 0.5 → 0.25"]),
        (PLUS, ["as it is", "IN08 0.5 → 0.75", "OUT00 0.5 → 0.75"]),
        (BOTH, ["as it is", "IN08 0.5 → 0.25", "IN08 0.5 → 0.75", "OUT00 0.5 → 0.25", "OUT00 0.5 → 0.75"]),
    ],
)
def test_a_round_moves_each_open_block_by_itself(tuner: Tuner, direction: str, labels: list[str]) -> None:
    proposals = replace(tuner, step=0.25).next_round(direction)
    assert [proposal.label for proposal in proposals] == labels
    assert proposals[0].cell.entries == ("0", "0", "0", "0", "0.5", "0", "0.5", "1", "0", "0", "0", "0")
    for proposal in proposals[1:]:
        assert proposal.cell.differing(proposals[0].cell) == {move.block for move in proposal.moves}


def test_a_round_stays_within_the_bounds_and_renders_nothing_twice(tuner: Tuner) -> None:
    at_one = tuner.with_value(["IN08"], 1.0)
    assert [p.label for p in at_one.next_round(PLUS)] == ["as it is", "OUT00 0.5 → 1"]
    beyond = tuner.with_value(["IN08"], 1.2)
    assert [p.label for p in beyond.next_round(BOTH)][1:2] == ["IN08 1.2 → 0.7"]
    free = replace(tuner, bounds=(-1.0, 2.0), step=0.7)
    assert [move.new for p in free.next_round(BOTH) for move in p.moves] == [-0.2, 1.2, -0.2, 1.2]


def test_steps_leave_no_noise_behind_the_point() -> None:
    tuner = replace(start(SDXL, 12), step=0.1)
    for _ in range(4):
        tuner = tuner.accepted(tuner.next_round(PLUS)[1])
    assert tuner.by_block["BASE"].value == 0.9


def test_two_cells_of_one_round_are_accepted_beside_each_other(tuner: Tuner) -> None:
    _, less, _, _, more = replace(tuner, step=0.25).next_round(BOTH)
    both = tuner.accepted(less).accepted(more, fix=True)
    assert both.weights == "0,0,0,0,0.25,0,0.75,1,0,0,0,0"
    assert both.open_blocks == ["IN08"]


def test_accepting_everything_as_it_is_changes_nothing(tuner: Tuner) -> None:
    assert tuner.accepted(tuner.next_round()[0]) is tuner


def test_every_change_is_undone_one_by_one_to_the_beginning(tuner: Tuner) -> None:
    steps = [tuner]
    steps.append(steps[-1].accepted(tuner.next_round(MINUS)[1]))
    steps.append(steps[-1].fixed(["IN08"]))
    steps.append(steps[-1].with_value(["OUT02"], 0.333))
    assert len({step.states for step in steps}) == 4
    for before, after in zip(reversed(steps[:-1]), reversed(steps[1:])):
        assert after.undone() == before
    first = start(SDXL, 12)
    assert first.undone() is first


def test_what_is_no_change_is_not_undone(tuner: Tuner) -> None:
    assert tuner.fixed(["OUT01"]) is tuner
    assert [words for words, _ in tuner.fixed(["IN08"]).fixed(["IN08"], False).history][-2:] == [
        "IN08: fixed", "IN08: opened",
    ]  # fmt: skip


def test_the_history_names_the_blocks_and_the_values_of_each_change(tuner: Tuner) -> None:
    changed = tuner.with_value(["IN08", "OUT00"], 0.3).fixed(["IN08", "OUT00"]).with_weights("0.25", 0, {})
    (first, _), (second, _), (third, _) = changed.history[-3:]
    assert first == "IN08 OUT00: 0.3"
    assert second == "IN08 OUT00: fixed"
    assert '"0.25"' in third


# Groups ------------------------------------------------------------------------------------------

XL_GROUPS = "IN04-IN05, IN07 IN08; OUT00-OUT02,out3-OUT05"


def test_groups_are_written_as_the_analyzer_reads_them() -> None:
    groups = parse_groups(XL_GROUPS, SDXL, TWELVE)
    assert groups == (("IN04", "IN05"), ("IN07", "IN08"), ("OUT00", "OUT01", "OUT02"), ("OUT03", "OUT04", "OUT05"))
    text = groups_text(groups, SDXL)
    assert text == "IN04 IN05,IN07 IN08,OUT00-OUT02,OUT03-OUT05"
    assert parse_groups(text, SDXL, TWELVE) == groups
    assert tuple(choice.blocks for choice in choose(text, SDXL, ())) == groups
    assert parse_groups(" , ", SDXL, TWELVE) == ()


@given(st.sets(st.sampled_from(SDXL.blocks), min_size=1))
def test_any_blocks_are_written_so_that_they_are_read_again(blocks: set[str]) -> None:
    assert set(select(selector_text(blocks, SDXL), SDXL)) == blocks


def test_of_a_usual_group_a_single_block_is_no_group() -> None:
    assert usual_groups(SDXL, ["IN04", "OUT00", "OUT01"]) == (("OUT00", "OUT01"),)


def test_of_groups_with_a_block_in_common_the_first_stays_and_single_blocks_make_none() -> None:
    groups = [("IN08", "IN04"), ("IN05",), ("IN08", "M00"), ("OUT00", "OUT01", "OUT06"), ("IN00", "IN05")]
    assert apart(groups, TWELVE) == (("IN04", "IN08"), ("OUT00", "OUT01"))
    assert apart([("M00", "BASE"), ("OUT02", "OUT03"), ("OUT03", "M00")], TWELVE) == (
        ("BASE", "M00"),
        ("OUT02", "OUT03"),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("IN04 QQ", 'Groups: unknown block "QQ"'),
        ("D03", 'Groups: unknown block "D03".* a block of Flux'),
        ("OUT00-OUT02, OUT05 OUT01", 'Groups: OUT01 is in "OUT00-OUT02" and "OUT05 OUT01"; a block can be in one'),
        ("IN04 IN05,M00,IN05 IN07", 'Groups: IN05 is in "IN04 IN05" and "IN05 IN07"; a block can be in one'),
        ("IN00 IN06", 'Groups: "IN00 IN06" is not among the 12 blocks'),
    ],
)
def test_groups_that_cannot_be_are_refused(text: str, expected: str) -> None:
    with pytest.raises(WeightsError, match=expected):
        parse_groups(text, SDXL, TWELVE)


EVERY = pytest.mark.parametrize(
    "architecture",
    [*ARCHITECTURES.values(), *map(by_name, ("flux:D5,S8", "anima:B20", "z-image:CR2,NR2,B6", "unknown:B12"))],
    ids=lambda a: a.name,
)


@EVERY
def test_the_usual_groups_are_those_of_the_layout(architecture: Architecture) -> None:
    for layout in tunable_layouts(architecture):
        blocks = architecture.layouts[layout]
        groups = usual_groups(architecture, blocks)
        assert parse_groups(groups_text(groups, architecture), architecture, blocks) == groups != ()


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("sdxl", "IN04 IN05,IN07 IN08,OUT00-OUT02,OUT03-OUT05"),
        ("flux", "D00-D05,D06-D12,D13-D18,S00-S12,S13-S24,S25-S37"),
        ("flux2-klein-4b", "D00 D01,D03 D04,S00-S06,S07-S12,S13-S19"),
        ("z-image", "B00-B09,B10-B19,B20-B29"),
        ("krea2", "B00-B08,B09-B18,B19-B27"),
        ("anima:B20", "B00-B06,B07-B12,B13-B19"),
    ],
)
def test_the_usual_groups_of_a_stack_are_its_thirds(name: str, groups: str) -> None:
    architecture = by_name(name)
    assert groups_text(usual_groups(architecture, architecture.blocks), architecture) == groups


@EVERY
def test_every_model_is_tuned_in_its_own_layouts(architecture: Architecture) -> None:
    layouts = tunable_layouts(architecture)
    assert layouts[0] == architecture.full_layout or architecture.kind == "unet"
    if architecture.kind != "unet":
        assert layouts == [len(architecture.blocks), len(architecture.numbered_blocks)]
    for layout in layouts:
        begun = replace(start(architecture, layout), groups=usual_groups(architecture, architecture.layouts[layout]))
        proposals = begun.next_round(BOTH)
        last = begun.accepted(proposals[-1])
        assert from_json(last.to_json()) == last
        blocks = parse_block_weights(last.weights).resolve(architecture, {}).blocks
        assert {block: blocks[block] for block in last.blocks} == last.values
        assert {blocks[block] for block in architecture.blocks if block not in last.blocks} <= {
            architecture.unlisted.get(layout, 0.0)
        }


@EVERY
def test_a_suggestion_for_any_model_is_taken_in_a_layout_that_lists_it(architecture: Architecture) -> None:
    first, last = architecture.numbered_blocks[1 if architecture.kind != "unet" else 4], architecture.blocks[0]
    begun = from_suggestion(Suggestion(1.0, 5.0, {first: NEEDED, last: UNKNOWN}), architecture)
    assert {block: value for block, value in begun.values.items() if value != 1} == {last: 0.5}
    assert begun.open_blocks == [block for block in begun.blocks if block != first]


def test_a_group_is_one_picture_less_and_one_more_and_is_accepted_as_one() -> None:
    tuner = replace(start(SDXL, 12), step=0.25, groups=parse_groups(XL_GROUPS, SDXL, TWELVE))
    tuner = tuner.sorted_as(["BASE", "M00", "OUT03", "OUT04", "OUT05"], NOT_NEEDED)
    proposals = tuner.next_round(BOTH)
    assert [proposal.label for proposal in proposals] == [
        "as it is", "IN04 IN05 0.5 → 0.25", "IN04 IN05 0.5 → 0.75", "IN07 IN08 0.5 → 0.25", "IN07 IN08 0.5 → 0.75",
        "OUT00-OUT02 0.5 → 0.25", "OUT00-OUT02 0.5 → 0.75",
    ]  # fmt: skip
    assert proposals[-1].cell.differing(proposals[0].cell) == {"OUT00", "OUT01", "OUT02"}
    accepted = tuner.accepted(proposals[-1], fix=True)
    assert accepted.weights == "0,0.5,0.5,0.5,0.5,0,0.75,0.75,0.75,0,0,0"
    assert accepted.open_text == "IN04 IN05,IN07 IN08"
    assert accepted.undone() == tuner
    (values,) = csv.reader(io.StringIO(tuner.prompt_sr(PLUS)), skipinitialspace=True)
    assert values[1:] == [
        "0,0.75,0.75,0.5,0.5,0,0.5,0.5,0.5,0,0,0", "0,0.5,0.5,0.75,0.75,0,0.5,0.5,0.5,0,0,0",
        "0,0.5,0.5,0.5,0.5,0,0.75,0.75,0.75,0,0,0",
    ]  # fmt: skip


def test_a_fixed_block_of_a_group_stays_and_each_moves_from_where_it_is() -> None:
    tuner = replace(start(SDXL, 12), step=0.25, groups=parse_groups("OUT00-OUT05", SDXL, TWELVE))
    tuner = tuner.sorted_as(TWELVE[:6], NOT_NEEDED).sorted_as(["OUT01"], NEEDED).with_value(["OUT00", "OUT05"], 0.9)
    assert tuner.open_text == "OUT00 OUT02-OUT05"
    (_, proposal) = tuner.next_round(PLUS)
    assert proposal.label == "OUT00 OUT05 0.9 → 1, OUT02-OUT04 0.5 → 0.75"
    assert tuner.accepted(proposal).weights == "0,0,0,0,0,0,1,1,0.75,0.75,0.75,1"
    at_the_end = tuner.with_value(["OUT00", "OUT05"], 1.0)
    assert at_the_end.next_round(PLUS)[1].label == "OUT02-OUT04 0.5 → 0.75"


# Beginnings --------------------------------------------------------------------------------------

SUGGESTION = Suggestion(1.0, 5.0, {"IN08": NEEDED, "OUT00": UNKNOWN, "OUT01": NOT_NEEDED})


def test_a_suggestion_sorts_the_blocks() -> None:
    tuner = from_suggestion(SUGGESTION, SDXL, 12)
    assert tuner.weights == "1,1,1,1,1,1,0.5,0,1,1,1,1"
    assert tuner.by_block["OUT01"] == BlockState(NOT_NEEDED, True, 0.0)


def test_what_was_not_measured_stays_open_in_the_tuner_at_1() -> None:
    tuner = from_suggestion(SUGGESTION, SDXL, 12)
    assert tuner.by_block["OUT05"] == BlockState(NOT_MEASURED, False, 1.0)
    assert tuner.open_blocks == [block for block in TWELVE if block not in ("IN08", "OUT01")]
    assert from_json(tuner.to_json()) == tuner


def test_a_suggestion_takes_the_shortest_layout_that_lists_its_blocks() -> None:
    assert from_suggestion(SUGGESTION, SDXL).layout == 12
    assert from_suggestion(replace(SUGGESTION, verdicts=dict.fromkeys(TWELVE, NEEDED)), SDXL).layout == 12
    assert from_suggestion(replace(SUGGESTION, verdicts=dict.fromkeys(SDXL.blocks, NEEDED)), SDXL).layout == 20
    assert from_suggestion(replace(SUGGESTION, verdicts={"IN08": NEEDED, "OUT06": UNKNOWN}), SDXL).layout == 20
    assert from_suggestion(replace(SUGGESTION, verdicts={"IN08": NEEDED, "OUT03": UNKNOWN}), SD1).layout == 17
    flux = replace(SUGGESTION, verdicts={"D03": UNKNOWN})
    assert from_suggestion(flux, FLUX).layout == 57
    assert [tunable_layouts(architecture) for architecture in (SD1, SDXL, FLUX)] == [[17, 26], [12, 20], [61, 57]]


def test_the_suggestion_is_read_from_the_analyzers_file() -> None:
    written = {
        "suggestion": {
            "not_needed_at_most": 1.0, "needed_at_least": 5.0, "blocks": dict(SUGGESTION.verdicts), "preset": "A:0",
        }
    }  # fmt: skip
    assert suggestion_in(json.dumps(written)) == SUGGESTION


def test_a_suggestion_takes_a_layout_that_lists_what_the_lora_touches() -> None:
    tuner = from_suggestion(SUGGESTION, SDXL, touched=["IN04", "IN08", "OUT06"])
    assert (tuner.layout, tuner.values["OUT06"]) == (20, 1.0)
    assert tuner.open_blocks == ["IN04", "OUT06"]
    assert tuner.by_block["OUT07"] == BlockState(NOT_MEASURED, True, 1.0)
    flux = from_suggestion(replace(SUGGESTION, verdicts={"D03": UNKNOWN}), FLUX, touched=["CLIP", "D03"])
    assert (flux.layout, flux.values["CLIP"]) == (61, 1.0)
    assert "CLIP" in flux.open_blocks


@pytest.mark.parametrize("text", ["", "[]", "{}", "no", '{"suggestion": 1}', "[" * 100_000])
def test_a_text_without_a_suggestion_is_refused(text: str) -> None:
    with pytest.raises(WeightsError, match="is not a suggestion"):
        suggestion_in(text)


def test_a_verdict_that_is_none_is_named() -> None:
    text = '{"suggestion": {"not_needed_at_most": 0, "needed_at_least": 1, "blocks": {"IN04": "perhaps"}}}'
    with pytest.raises(WeightsError, match='"perhaps" is not a verdict'):
        suggestion_in(text)


def test_seventeen_numbers_fill_twenty_six_blocks() -> None:
    seventeen = ",".join(f"0.{n:02}" for n in range(10, 27))
    values = start(SD1).with_weights(seventeen, 0.7, {}).values
    listed = dict(zip(SD1.layouts[17], (n / 100 for n in range(10, 27))))
    assert values == {block: listed.get(block, 0.7) for block in SD1.blocks}
    assert len(values) == 26


def test_flux_lists_without_ends_are_filled_too() -> None:
    values = start(FLUX, 61).with_weights(",".join(["0.5"] * 57), 0.25, {}).values
    assert {block for block, value in values.items() if value == 0.25} == {"CLIP", "T5", "IN", "OUT"}


def test_a_preset_or_a_named_list_can_be_loaded() -> None:
    values = start(SDXL, 12).with_weights("STYLE,IN04=0.3", 0.9, {"STYLE": "0,OUT01=1"}).values
    assert values == {**dict.fromkeys(TWELVE, 0.0), "OUT01": 1.0, "IN04": 0.3}


def test_loading_keeps_what_is_fixed_and_can_be_undone(tuner: Tuner) -> None:
    loaded = tuner.with_weights("0.25", 0, {})
    assert set(loaded.values.values()) == {0.25}
    assert loaded.open_blocks == tuner.open_blocks
    assert loaded.undone() == tuner


def test_random_weights_are_drawn_with_the_seed_of_the_tuner(tuner: Tuner) -> None:
    drawn = [replace(tuner, seed=seed).with_weights("R", 0, {}).values for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0].values())) > 1


@pytest.mark.parametrize("text", ["", "1,2,3", "NOSUCH", ",".join("1" * 61)])
def test_weights_that_do_not_fit_are_refused(tuner: Tuner, text: str) -> None:
    with pytest.raises(LbwError):
        tuner.with_weights(text, 0, {})


# What comes out ----------------------------------------------------------------------------------


def test_the_preset_means_the_values(tuner: Tuner) -> None:
    presets = parse_presets(tuner.preset_line("MINE") + "\n").presets
    blocks = parse_block_weights("MINE").resolve(SDXL, presets).blocks
    assert {block: blocks[block] for block in TWELVE} == tuner.values
    with pytest.raises(LbwError, match="no name"):
        tuner.preset_line(" ")


def test_weight_lines_of_all_layouts_mean_the_same(tuner: Tuner) -> None:
    lines = tuner.weight_lines()
    assert set(lines) == {12, 20, 26}  # OUT00 is no block of the 17
    meanings = {tuple(parse_block_weights(line).resolve(SDXL, {}).blocks.items()) for line in lines.values()}
    assert len(meanings) == 1
    assert [line.count(",") + 1 for line in lines.values()] == list(lines)


def test_weight_lines_have_the_value_of_blocks_that_a_layout_leaves_out() -> None:
    tuner = start(FLUX, 57).with_value(["D03"], 0.25)
    lines = tuner.weight_lines()
    assert {57, 61} <= lines.keys()
    for line in lines.values():
        blocks = parse_block_weights(line).resolve(FLUX, {}).blocks
        # Its users' lists of 57 numbers leave the text encoders and both ends at 1.
        assert blocks == {
            **dict.fromkeys(FLUX.blocks, 0.5),
            **dict.fromkeys(("CLIP", "T5", "IN", "OUT"), 1.0),
            "D03": 0.25,
        }


def test_a_line_of_numbers_has_0_for_a_block_without_a_value() -> None:
    assert weight_line({"IN04": 0.5}, ["BASE", "IN04", "M00"]) == "0,0.5,0"


def test_prompt_sr_is_what_the_hosts_plot_reads(tuner: Tuner) -> None:
    (values,) = csv.reader(io.StringIO(tuner.prompt_sr(MINUS)), skipinitialspace=True)
    assert values == ["0,0,0,0,0.5,0,0.5,1,0,0,0,0", "0,0,0,0,0,0,0.5,1,0,0,0,0", "0,0,0,0,0.5,0,0,1,0,0,0,0"]


def test_the_open_blocks_are_what_the_analyzer_reads(tuner: Tuner) -> None:
    choices = choose(tuner.open_text, SDXL, ())
    assert [choice.blocks for choice in choices] == [("IN08",), ("OUT00",)]
    assert tuner.open_text == "IN08,OUT00" != AUTO


def test_a_tuner_comes_back_from_json_with_its_history(tuner: Tuner) -> None:
    changed = replace(tuner.accepted(tuner.next_round(PLUS)[1], fix=True), step=0.1, bounds=(-1.0, 2.0), seed=7)
    changed = replace(changed, groups=parse_groups(XL_GROUPS, SDXL, TWELVE))
    again = from_json(changed.to_json())
    assert again == changed
    assert again.undone().states == tuner.states
    older = {key: value for key, value in json.loads(changed.to_json()).items() if key != "groups"}
    assert from_json(json.dumps(older)) == replace(changed, groups=())


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"architecture": "sdxl", "layout": 13}', start(SDXL, 12).to_json().replace("12", "20")]
)
def test_json_that_is_no_tuner_is_refused(text: str) -> None:
    with pytest.raises(WeightsError):
        from_json(text)


# What is typed -----------------------------------------------------------------------------------


def test_blocks_are_chosen_by_id_range_and_group(tuner: Tuner) -> None:
    assert chosen("in4-IN07, out1", tuner) == ["IN04", "IN05", "IN07", "OUT01"]
    assert chosen("NOT OUT", tuner) == TWELVE[:6]
    for text in ("", "QQ", "IN00"):
        with pytest.raises(WeightsError):
            chosen(text, tuner)


def test_any_step_above_zero_is_taken() -> None:
    assert parse_step("0.125") == parse_step(0.125) == 0.125
    for value in ("", "0", -1, "wide", None, "nan"):
        with pytest.raises(WeightsError, match="above 0"):
            parse_step(value)
