"""The script's arguments, in the order of the predecessor, and which of the two extensions is in charge."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lbw.webui import predecessor
from lbw.webui.options import ARGUMENTS, RequestOptions, read_arguments

THEIRS = SimpleNamespace(filename="/webui/extensions/sd-webui-lora-block-weight/scripts/lora_block_weight.py")
OURS = SimpleNamespace(filename="/webui/extensions/lora-block-weight/scripts/lbw_script.py")
WITH, WITHOUT = SimpleNamespace(scripts=[OURS, THEIRS]), SimpleNamespace(scripts=[OURS, SimpleNamespace()])


def test_the_arguments_are_the_predecessors_eighteen_and_one_of_ours() -> None:
    names = [name for name, _ in ARGUMENTS]
    assert len(names) == len(set(names)) == 19
    assert (names[0], names[1], names[15], names[18]) == ("presets", "enabled", "elements", "region")


def test_the_predecessors_arguments_are_understood() -> None:
    theirs = ["MINE:1,0,1\nOTHER:0", True, "XY", "Disable", "", "none", "", "none", "", "", "", "", "black", "20",
              False, "SOFT:IN04:attn:0.5\n\nHARD:::1", "", False]  # fmt: skip
    assert read_arguments(theirs) == RequestOptions(
        True, {"MINE": "1,0,1", "OTHER": "0"}, {"SOFT": "IN04:attn:0.5", "HARD": "::1"}
    )


@pytest.mark.parametrize("arguments", [[], [None], [None, None], ["", ""], [None, True], ["", 1]])
def test_arguments_that_are_missing_say_nothing(arguments: list[Any]) -> None:
    assert read_arguments(arguments) == RequestOptions(True, {}, {})


@pytest.mark.parametrize("off", [False, 0])
def test_the_second_argument_switches_block_weights_off(off: Any) -> None:
    assert not read_arguments(["MINE:1", off]).enabled


def test_more_arguments_than_are_known_do_no_harm() -> None:
    assert read_arguments(["", True, *[""] * 30]) == RequestOptions()


def test_the_predecessor_is_in_charge_only_where_it_is_installed_and_chosen(a1111: Any) -> None:
    assert not predecessor.is_in_charge(WITH)
    a1111.opts.lbw_with_predecessor = "the other extension"
    assert predecessor.is_in_charge(WITH)
    assert not predecessor.is_in_charge(WITHOUT)
    assert not predecessor.is_in_charge(None)


def test_where_both_are_installed_the_advice_says_which_works_and_how_to_switch(a1111: Any) -> None:
    advice = predecessor.advice(WITH)
    assert "this extension is active and the other extension does nothing" in advice
    assert "Settings → LoRA Block Weight" in advice
    a1111.opts.lbw_with_predecessor = "the other extension"
    assert "the other extension is active and this extension does nothing" in predecessor.advice(WITH)


def test_where_one_is_installed_there_is_no_advice(a1111: Any) -> None:
    assert predecessor.advice(WITHOUT) == ""
    assert predecessor.advice(None) == ""
