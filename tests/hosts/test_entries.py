"""Lists of entries, worked by hand: whose they are, what they are weighted with, when two are the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lbw.core.architectures import ARCHITECTURES
from lbw.core.plan import ResolvedLora, resolve_request
from lbw.core.tag import parse_tag
from lbw.hosts.entries import counts_of, difference, plan_table, same, same_table, weighted, with_strangers

IN04 = "diffusion_model.input_blocks.4.1.proj_in.weight"
OUT11 = "diffusion_model.output_blocks.11.1.proj_in.weight"


def asked(tag: str) -> ResolvedLora:
    return resolve_request(parse_tag(tag, {}), ARCHITECTURES["sd1"], {}, {})


def entry(strength: float, name: str) -> tuple[Any, ...]:
    return (strength, name, 1.0, None, None)


def test_what_was_added_is_what_there_is_more_of() -> None:
    patcher = SimpleNamespace(patches={"a": [1, 2], "b": [3]})
    before = counts_of(patcher, ("patches", "wrappers"))
    assert before == {"patches": {"a": 2, "b": 1}, "wrappers": {}}
    assert counts_of(None, ("patches",)) == {"patches": {}}
    patcher.patches = {"a": [1, 2, 4, 5], "b": [3], "c": [6]}
    assert difference(before, counts_of(patcher, ("patches", "wrappers"))) == {"patches": {"a": 2, "c": 1}}


def test_each_owner_weights_its_own_entries_and_what_nobody_asked_for_stays() -> None:
    table = {
        IN04: [
            entry(1, "before"),
            entry(1, "unnamed"),
            entry(0.8, "first"),
            entry(1, "second"),
            entry(1, "second too"),
        ],
        OUT11: [entry(0.8, "first"), entry(1, "second")],
        "other": [entry(1, "before")],
    }
    owners = [
        ({IN04: 1}, None),
        ({IN04: 1, OUT11: 1}, asked("<lora:n:0.8:lbw=0,IN04=0.5>")),
        ({IN04: 2, OUT11: 1}, asked("<lora:m:1:-2:lbw=0,IN04=0.25,OUT11=3>")),
    ]
    assert plan_table(table, owners) == {
        IN04: [
            entry(1, "before"), entry(1, "unnamed"), entry(0.4, "first"), entry(-0.5, "second"),
            entry(-0.5, "second too"),
        ],
        OUT11: [entry(-6, "second")],
        "other": [entry(1, "before")],
    }  # fmt: skip
    assert plan_table({OUT11: [entry(0.8, "first")]}, owners[1:2]) == {}
    assert table[IN04][2] == entry(0.8, "first")


def test_an_entry_of_the_host_keeps_its_kind_and_all_but_its_strength() -> None:
    assert weighted([1.0, "patch", 1.0], 0.5) == [0.5, "patch", 1.0]
    function = SimpleNamespace(key="k", patch=[entry(1, "a"), entry(1, "b")])
    twin = weighted(function, 0.25)
    assert (twin.key, twin.patch) == ("k", [entry(0.25, "a"), entry(0.25, "b")])
    assert function.patch == [entry(1, "a"), entry(1, "b")]


def test_entries_that_somebody_else_has_added_stand_behind_the_plan() -> None:
    ours, theirs, alone = entry(1, "ours"), entry(1, "theirs"), entry(1, "alone")
    was_planned = {"a": [ours], "c": [ours]}
    table = {"a": [ours, theirs], "b": [alone], "c": [ours]}
    planned = {"a": [entry(2, "ours")]}
    assert with_strangers(planned, was_planned, table) == {"a": [entry(2, "ours"), theirs], "b": [alone]}
    assert planned == {"a": [entry(2, "ours")]}


class Tensor:
    """Refuses to be compared, as a tensor of many numbers does."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")


ONE, OTHER = Tensor(), Tensor()


@pytest.mark.parametrize(
    ("a", "b", "is_same"),
    [
        ([(1.0, ONE)], [(1, ONE)], True),
        ([(1.0, ONE)], [(0.5, ONE)], False),
        ([(1.0, ONE)], [(1.0, OTHER)], False),
        ([(1.0, ("diff", [ONE]))], [(1.0, ("diff", [ONE]))], True),
        ([(1.0, ("diff", [ONE]))], [(1.0, ("set", [ONE]))], False),
        ([(1.0, [ONE])], [(1.0, (ONE,))], False),
        ([(1.0, ONE)], [(1.0, ONE), (1.0, ONE)], False),
        ([(1.0, "1")], [(1.0, 1)], False),
        ([SimpleNamespace(key="k", patch=[(1.0, ONE)])], [SimpleNamespace(key="k", patch=[(1.0, ONE)])], True),
        ([SimpleNamespace(key="k", patch=[(1.0, ONE)])], [SimpleNamespace(key="l", patch=[(1.0, ONE)])], False),
        ([SimpleNamespace(key="k", patch=[(1.0, ONE)])], [SimpleNamespace(key="k", patch=[(1.0, OTHER)])], False),
        ([SimpleNamespace(key="k", patch="p")], [SimpleNamespace(key="k", patch="p")], False),
        ([], [], True),
    ],
)
def test_entries_are_the_same_where_numbers_are_equal_and_all_else_is_identical(
    a: list[Any], b: list[Any], is_same: bool
) -> None:
    assert same(a, b) is is_same
    assert same_table({"k": a}, {"k": b}) is is_same
    assert not same_table({"k": a}, {"l": a})
    assert not same_table({"k": a}, {})
