"""What an analysis, a plot or a picture is asked for: each option's default, bounds and meaning, on every face."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbw.analysis.request import AnalysisRequest, Option, PictureRequest, PlotRequest
from lbw.core import limits
from lbw.core.errors import LbwError, WeightsError
from lbw.studio.cli import parser

ALL = {**AnalysisRequest.options(), **PlotRequest.options()}
DEFAULTS = {
    "prompt": "", "negative_prompt": "", "seed": -1, "steps": 20, "width": 512, "height": 512, "cfg_scale": 7.0,
    "sampler_name": "", "mode": "full", "range": "0,1", "blocks": "auto", "seeds": 1, "more_prompts": (),
    "threshold": 20, "diff_color": "black", "swap_axes": False, "region": "", "needed": None, "not_needed": None,
    "at": "0.3", "fresh": False, "x_type": "none", "x_values": "", "y_type": "none", "y_values": "", "z_type": "none",
    "z_values": "",
}  # fmt: skip
BOUNDS = {
    "seed": (-1, 2**63 - 1001), "steps": (1, 1000), "width": (8, 8192), "height": (8, 8192),
    "cfg_scale": (-1000, 1000), "seeds": (1, 1000), "threshold": (0, 255), "needed": (0, 1000), "not_needed": (0, 1000),
}  # fmt: skip
TYPES = {"int", "float", "float | None", "bool", "str", "tuple[str, ...]"}


def kind_of(name: str) -> type[PictureRequest]:
    return AnalysisRequest if name in AnalysisRequest.options() else PlotRequest


def test_every_option_has_its_default() -> None:
    assert {name: option.default for name, option in ALL.items()} == DEFAULTS
    assert {**vars(AnalysisRequest()), **vars(PlotRequest())} == {**DEFAULTS, "mask": None}
    assert {option.type for option in ALL.values()} == TYPES


def test_every_number_has_bounds_and_nothing_else_has() -> None:
    assert {name: (o.low, o.high) for name, o in ALL.items() if o.low is not None or o.high is not None} == BOUNDS
    assert set(BOUNDS) == {name for name, option in ALL.items() if option.type in ("int", "float", "float | None")}


@pytest.mark.parametrize("name", ALL)
def test_every_option_has_a_label_and_a_meaning_without_a_full_stop(name: str) -> None:
    option = ALL[name]
    assert option.name == name
    assert option.label
    assert option.meaning.rstrip(".") == option.meaning != ""


@pytest.mark.parametrize("name", BOUNDS)
def test_a_number_may_be_as_its_bounds_say_and_not_beyond(name: str) -> None:
    low, high = BOUNDS[name]
    kind = kind_of(name)
    for value in (low, high):
        for given_as in (value, str(value)):
            assert getattr(kind.read({name: given_as}), name) == value
    for value in (low - 1, high + 1):
        for asked in (lambda: kind.read({name: value}), lambda: replace(kind(), **{name: value}).check()):  # noqa: B023
            with pytest.raises(WeightsError, match=f"^{re.escape(ALL[name].label)} ") as told:
                asked()
            assert str(low) in str(told.value)
            assert f"{high:g}" in str(told.value) or str(high) in str(told.value)


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("text", ["much", "1,5", "nan", "inf", "0x10", "--1", "1e400", "9" * 5000, "<b>"])
def test_what_is_no_number_is_told_by_label_and_by_flag(name: str, text: str) -> None:
    option, kind = ALL[name], kind_of(name)
    with pytest.raises(WeightsError, match=f"^{re.escape(option.label)} ") as told:
        kind.read({name: text})
    assert text[:5] in str(told.value)
    assert len(str(told.value)) < 300
    if option.flag:
        with pytest.raises(WeightsError, match=f"^{re.escape(option.flag)} "):
            kind.read({name: text}, by_flag=True)


@pytest.mark.parametrize("name", [name for name in BOUNDS if ALL[name].type == "int"])
def test_half_a_seed_is_none(name: str) -> None:
    with pytest.raises(WeightsError, match="whole number"):
        kind_of(name).read({name: 20.5})
    assert getattr(kind_of(name).read({name: 20.0}), name) == 20  # as Gradio's number fields give it


@pytest.mark.parametrize(
    ("name", "text", "called", "flag"),
    [
        ("range", "0", "Range", "--range"),
        ("range", "0,high", "Range", "--range"),
        ("range", "0,1,2", "Range", "--range"),
        ("at", "1", "At", "--at"),
        ("at", "-0.1", "At", "--at"),
        ("at", "0.1;0.2", "At", "--at"),
        ("mode", "fast", "Scan", "--mode"),
        ("diff_color", "red", "diff image color", "--diff"),
        ("region", "10,10,10,40", None, None),
        ("region", "10,10,140,40", None, None),
        ("region", "everything", None, None),
    ],
)
def test_a_text_that_cannot_be_meant_is_told(name: str, text: str, called: str | None, flag: str | None) -> None:
    with pytest.raises(LbwError, match=f"^{called} " if called else re.escape(text)) as told:
        AnalysisRequest.read({name: text})
    assert text in str(told.value)
    with pytest.raises(LbwError, match=f"^{flag} " if flag else re.escape(text)):
        AnalysisRequest.read({name: text}, by_flag=True)


@pytest.mark.parametrize(("name", "allowed"), [("mode", ("full", "quick")), ("diff_color", ("black", "white"))])
def test_a_choice_is_one_of_what_it_may_be_however_it_is_written(name: str, allowed: tuple[str, ...]) -> None:
    assert AnalysisRequest.option(name).allowed == allowed
    for choice in allowed:
        assert getattr(AnalysisRequest.read({name: f" {choice.upper()} "}), name) == choice
    with pytest.raises(WeightsError) as told:
        AnalysisRequest.read({name: "other"})
    assert all(choice in str(told.value) for choice in allowed)


@pytest.mark.parametrize(
    ("written", "meant"),
    [(True, True), ("True", True), ("yes", True), (1, True), (False, False), ("False", False), ("no", False),
     (0, False)],
)  # fmt: skip
def test_a_tick_is_read_as_pages_and_programs_write_it(written: Any, meant: bool) -> None:
    assert AnalysisRequest.read({"swap_axes": written, "fresh": written}) == AnalysisRequest(
        swap_axes=meant, fresh=meant
    )


def test_more_prompts_are_lines_or_a_list() -> None:
    for written in ("a dog\n\n  \na cat", ["a dog", "", "a cat"], ("a dog", "a cat")):
        assert AnalysisRequest.read({"more_prompts": written}).more_prompts == ("a dog", "a cat")
    with pytest.raises(WeightsError, match=f"the limit is {limits.PROMPTS}"):
        AnalysisRequest.read({"more_prompts": ["a dog"] * limits.PROMPTS})


def test_what_is_missing_none_or_empty_is_as_in_the_base() -> None:
    base = AnalysisRequest("base", seed=3, steps=7, negative_prompt="dogs", needed=4.0)
    assert AnalysisRequest.read({"prompt": "mine", "steps": None, "seed": "", "other": 5}, base) == replace(
        base, prompt="mine"
    )
    assert AnalysisRequest.read({"negative_prompt": ""}, base).negative_prompt == ""
    assert AnalysisRequest.read({"steps": "", "blocks": ""}) == AnalysisRequest()


def test_a_painted_mask_goes_along_and_is_no_plain_option() -> None:
    mask = np.zeros((4, 4), np.uint8)
    asked = AnalysisRequest.read({"mask": mask})
    assert asked.mask is mask
    assert "mask" not in asked.plain()
    assert AnalysisRequest.read(asked.plain()).mask is None


def test_the_region_is_a_rectangle_or_what_is_painted_or_everywhere() -> None:
    remarks: list[str] = []
    assert AnalysisRequest().mask_of(remarks) is None
    rectangle = AnalysisRequest(region="25,0,75,50").mask_of(remarks)
    assert rectangle is not None
    assert rectangle(8, 4).astype(int).tolist() == [[0, 0, 1, 1, 1, 1, 0, 0]] * 2 + [[0] * 8] * 2
    mask = np.zeros((40, 80), np.uint8)
    mask[:, 40:] = 255
    painted = AnalysisRequest(mask=mask).mask_of(remarks)
    assert painted is not None
    assert painted(80, 40).tolist() == (mask > 0).tolist()
    assert remarks == []
    for _ in range(2):
        assert painted(20, 10).shape == (10, 20)
    assert ["80x40" in remark for remark in remarks] == [True]  # told once


def test_an_axis_is_its_type_and_its_values() -> None:
    asked = PlotRequest(x_values="1", y_type="seed", y_values="0,1", z_type="values")
    assert [asked.axis(name) for name in "xyz"] == [("none", "1"), ("seed", "0,1"), ("values", "")]


# Round trips -------------------------------------------------------------------------------------

texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=30)
numbers = st.floats(-50, 50).map(lambda number: round(number, 3))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "range": st.builds("{},{}".format, numbers, numbers),
    "at": st.lists(st.floats(0, 0.99).map(str), min_size=1, max_size=3).map(",".join),
    "region": st.sampled_from(["", "25,0,75,50", " 0, 0, 50, 100 "]),
    "blocks": st.sampled_from(["auto", "12ALL", "IN04-IN08,OUT01", "NOT IN"]),
    "more_prompts": st.lists(texts.filter(lambda text: bool(text.strip())), max_size=3).map(tuple),
    **dict.fromkeys(("x_type", "y_type", "z_type"), st.sampled_from(["none", "values", "Block ID"])),
}


def values_of(option: Option) -> st.SearchStrategy[Any]:
    if option.name in VALUES:
        return VALUES[option.name]
    if option.allowed:
        return st.sampled_from(option.allowed)
    if option.low is not None and option.high is not None:
        if option.type == "int":
            return st.integers(int(option.low), int(option.high))
        number = st.floats(option.low, option.high)
        return number | st.none() if option.type == "float | None" else number
    return st.booleans() if option.type == "bool" else texts


def requests(kind: type[PictureRequest]) -> st.SearchStrategy[PictureRequest]:
    return st.builds(kind, **{name: values_of(option) for name, option in kind.options().items()})


@given(st.one_of(requests(AnalysisRequest), requests(PlotRequest), requests(PictureRequest)))
def test_a_request_is_read_again_from_its_plain_data_and_from_text(asked: PictureRequest) -> None:
    plain = asked.plain()
    assert type(asked).read(plain) == asked
    written = {name: value if isinstance(value, list | None) else str(value) for name, value in plain.items()}
    assert type(asked).read(written) == asked


# Faces -------------------------------------------------------------------------------------------


def said_by(command: str) -> str:
    actions = [action for action in parser()._actions if action.dest == "command"]
    text: str = actions[0].choices[command].format_help()  # type: ignore[index,call-overload]
    return " ".join(text.replace("-\n", "-").split())


@pytest.mark.parametrize("command", ["analyze", "demo"])
def test_the_command_line_says_of_each_option_what_the_definition_says(command: str) -> None:
    text = said_by(command)
    for option in AnalysisRequest.options().values():
        if option.flag:
            assert option.flag in text
            assert option.meaning in text


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("render", ("seed", "steps", "cfg_scale", "negative_prompt")),
        ("xyz", ("seed", "steps", "cfg_scale", "negative_prompt", "fresh")),
        ("scan", ("range", "blocks", "seeds", "more_prompts", "at", "seed", "steps", "cfg_scale", "negative_prompt")),
    ],
)
def test_other_commands_have_the_options_that_they_use(command: str, names: tuple[str, ...]) -> None:
    text = said_by(command)
    for name in names:
        assert f"{ALL[name].flag} " in text or f"{ALL[name].flag}]" in text
        assert ALL[name].meaning in text


def test_no_two_options_have_one_flag() -> None:
    flags = [option.flag for option in ALL.values() if option.flag]
    assert sorted(flags) == sorted({flag for flag in flags if flag.startswith("--")})
    assert [name for name in AnalysisRequest.options() if not ALL[name].flag] == [
        "prompt", "width", "height", "sampler_name",
    ]  # the prompt stands without one, --size has both sides, and pipelines have no samplers  # fmt: skip
