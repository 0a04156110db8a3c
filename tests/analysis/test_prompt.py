"""The tags of a prompt that a grid sets, and what XYZ and ZYX mean for the pictures of a cell."""

from __future__ import annotations

import pytest

from lbw.analysis.cells import Cell
from lbw.analysis.prompt import cell_elements, lora_looked_at, tag_to_analyze, tags_for_cells, with_tag_of
from lbw.core.architectures import ARCHITECTURES
from lbw.core.elements import parse_rules, resolve_elements
from lbw.core.errors import TagError

SDXL = ARCHITECTURES["sdxl"]


@pytest.mark.parametrize(
    "prompt",
    [
        "a cat <lora:猫 style:0.8:lbw=XYZ> sitting",
        "<lora:猫 style:0.8:XYZ><lora:other:1:lbw=ALL>",
        "<lyco:猫 style:0.8:w=XYZ>, <lora:other:1:lbw=ZYX>",
    ],
)
def test_the_tag_to_analyze_is_the_one_that_says_xyz(prompt: str) -> None:
    found = tag_to_analyze(prompt)
    assert (found.name, found.te, found.weights) == ("猫 style", 0.8, "XYZ")


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("", "no tag with lbw=XYZ"),
        ("XYZ <lora:a:1>", "no tag with lbw=XYZ"),
        ("<lora:a:1:lbw=xyz>", "no tag with lbw=XYZ"),
        ("<lora:a:1:lbw=ZYX>", "no tag with lbw=XYZ"),
        ("<lora:a:1:lbw=XYZ><lora:b:1:XYZ>", "2 tags with lbw=XYZ"),
    ],
)
def test_none_and_several_are_refused(prompt: str, words: str) -> None:
    with pytest.raises(TagError, match=words):
        tag_to_analyze(prompt)


def test_a_plot_sets_all_tags_that_ask_for_it() -> None:
    prompt = "<lora:a:1:lbw=XYZ> <lora:b:1:lbw=ZYX> <lora:c:1:lbw=ALL> <lora:d:1:lbw=ALL:lbwe=XYZ> <lora:e:1>"
    assert [request.name for request in tags_for_cells(prompt)] == ["a", "b", "d"]
    with pytest.raises(TagError):
        tags_for_cells("<lora:e:1:lbw=ALL>")


def test_rules_of_a_cell_come_after_those_of_the_preset() -> None:
    plain = Cell(("IN04",), ("1",), 1)
    ruled = Cell(("IN04",), ("1",), 1, "IN05:attn:0.5,OUT:mlp:0")
    assert cell_elements(plain, {"XYZ": "::1"}) == {}
    for before, count in (({}, 2), ({"XYZ": "IN04:proj:1"}, 3)):
        found = cell_elements(ruled, before)
        rules = resolve_elements("XYZ", found, SDXL)
        assert len(rules) == count
        assert rules[-2:] == parse_rules("IN05:attn:0.5,OUT:mlp:0")


def test_a_further_prompt_gets_the_tag_of_the_first_at_its_end() -> None:
    first = "a cat <lora:other:1:lbw=ALL> <lora:猫 style:0.8:lbw=XYZ:stop=5> sitting"
    assert with_tag_of(first, "a dog ") == "a dog <lora:猫 style:0.8:lbw=XYZ:stop=5>"
    assert with_tag_of(first, "a dog <lora:other:1>") == "a dog <lora:other:1> <lora:猫 style:0.8:lbw=XYZ:stop=5>"


def test_a_further_prompt_keeps_its_own_tag_of_the_same_lora() -> None:
    assert with_tag_of("<lora:a:1:lbw=XYZ>", "b <lora:a:0.5:lbw=XYZ>") == "b <lora:a:0.5:lbw=XYZ>"


@pytest.mark.parametrize("prompt", ["<lora:b:1:lbw=XYZ>", "<lora:a:1:lbw=XYZ> <lora:b:1:lbw=XYZ>"])
def test_a_further_prompt_that_looks_at_another_lora_is_refused(prompt: str) -> None:
    with pytest.raises(TagError, match='another LoRA than "a"'):
        with_tag_of("<lora:a:1:lbw=XYZ>", prompt)


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a cat <lora:one:1> <lora:two:1:lbw=XYZ> <lora:three:1>", "two"),
        ("a cat <lora:one:1:lbw=MIDD> <lora:two:1>", "one"),
        ("a cat", None),
    ],
)
def test_the_lora_looked_at_is_that_of_xyz_or_the_first(prompt: str, name: str | None) -> None:
    assert lora_looked_at(prompt) == name
