"""Patches of a host's functions beside those of other extensions, and after Reload UI."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from lbw.hosts import patch as this_load
from lbw.hosts.patch import Patch, patch_of


def another_load() -> ModuleType:
    """Return the module `lbw.hosts.patch` as it is loaded again after Reload UI."""
    spec = importlib.util.find_spec("lbw.hosts.patch")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.Patch is not Patch
    return module


def host() -> Any:
    """Return a module of a host with a function that says its name."""
    module = ModuleType("networks")
    module.load = lambda text: f"host {text}"
    return module


def says(name: str) -> Callable[..., str]:
    return lambda original, text: f"{name}({original(text)})"


class Theirs:
    """Another extension's patch, which remembers the function that it found, with and without `wraps`."""

    def __init__(self, owner: Any, wrap: bool) -> None:
        self.owner, self.found = owner, owner.load

        def load(text: str) -> str:
            return f"theirs({self.found(text)})"

        owner.load = functools.wraps(self.found)(load) if wrap else load

    def leave(self) -> None:
        self.owner.load = self.found


wrapping = pytest.mark.parametrize("wrap", [True, False])


def test_the_replacement_is_called_with_the_original_until_it_is_removed() -> None:
    networks = host()
    original = networks.load
    patch = Patch(networks, "load", says("ours"))
    assert networks.load("x") == "ours(host x)"
    patch.remove()
    assert networks.load is original
    assert vars(networks).keys() == vars(host()).keys()


def test_a_method_of_a_class_gets_its_object() -> None:
    class Loader:
        name = "loader"

        def refresh(self, text: str) -> str:
            return f"{self.name} {text}"

    original = Loader.refresh
    patch = Patch(Loader, "refresh", lambda refresh, loader, text: f"{loader.name}: {refresh(loader, text)}")
    assert Loader().refresh("x") == "loader: loader x"
    patch.remove()
    assert Loader.refresh is original


def test_an_object_whose_method_was_replaced_has_nothing_of_its_own_afterwards() -> None:
    class Page:
        def create_item(self) -> str:
            return "item"

    page = Page()
    patch = Patch(page, "create_item", lambda original: original() + "!")
    assert (page.create_item(), Page().create_item()) == ("item!", "item")
    patch.remove()
    assert vars(page) == {}


def test_the_hosts_name_and_signature_are_kept() -> None:
    networks = host()
    networks.load.__doc__ = "Load."
    original = networks.load
    Patch(networks, "load", says("ours"))
    assert (networks.load.__doc__, networks.load.__wrapped__) == ("Load.", original)


@wrapping
def test_beside_a_patch_of_before_ours_both_count_and_theirs_stays(wrap: bool) -> None:
    networks = host()
    theirs = Theirs(networks, wrap)
    ours = Patch(networks, "load", says("ours"))
    assert networks.load("x") == "ours(theirs(host x))"
    ours.remove()
    assert networks.load("x") == "theirs(host x)"
    theirs.leave()
    assert networks.load("x") == "host x"


@wrapping
def test_when_a_patch_of_before_ours_leaves_first_ours_takes_nothing_with_it(wrap: bool) -> None:
    networks = host()
    theirs = Theirs(networks, wrap)
    ours = Patch(networks, "load", says("ours"))
    theirs.leave()
    assert networks.load("x") == "host x"
    ours.remove()
    assert networks.load("x") == "host x"
    Patch(networks, "load", says("again"))
    assert networks.load("x") == "again(host x)"


@wrapping
def test_below_a_patch_of_after_ours_ours_lets_calls_through_and_theirs_stays(wrap: bool) -> None:
    networks = host()
    ours = Patch(networks, "load", says("ours"))
    theirs = Theirs(networks, wrap)
    top = networks.load
    assert networks.load("x") == "theirs(ours(host x))"
    ours.remove()
    assert networks.load is top
    assert networks.load("x") == "theirs(host x)"
    theirs.leave()
    assert networks.load("x") == "host x"


@wrapping
def test_when_a_patch_of_after_ours_leaves_first_ours_is_removed_as_ever(wrap: bool) -> None:
    networks = host()
    original = networks.load
    ours = Patch(networks, "load", says("ours"))
    Theirs(networks, wrap).leave()
    assert networks.load("x") == "ours(host x)"
    ours.remove()
    assert networks.load is original


@pytest.mark.parametrize("removed", [True, False])
def test_after_reload_ours_takes_the_place_of_the_older_one(removed: bool) -> None:
    networks = host()
    original = networks.load
    older = another_load().Patch(networks, "load", says("older"))
    if removed:
        older.remove()
    newer = Patch(networks, "load", says("newer"))
    assert networks.load("x") == "newer(host x)"
    newer.remove()
    assert networks.load is original


@wrapping
@pytest.mark.parametrize("removed", [True, False])
def test_after_reload_the_older_one_below_another_patch_has_no_effect(wrap: bool, removed: bool) -> None:
    networks = host()
    older = another_load().Patch(networks, "load", says("older"))
    Theirs(networks, wrap)
    if removed:
        older.remove()
    newer = Patch(networks, "load", says("newer"))
    assert networks.load("x") == "newer(theirs(host x))"
    newer.remove()
    assert networks.load("x") == "theirs(host x)"


def test_after_reload_what_another_patch_brought_back_of_the_older_one_is_taken_off() -> None:
    networks = host()
    original = networks.load
    older = another_load().Patch(networks, "load", says("older"))
    theirs = Theirs(networks, True)
    older.remove()
    theirs.leave()
    assert networks.load is older.function
    Patch(networks, "load", says("newer")).remove()
    assert networks.load is original


def test_who_gives_way_is_told_so() -> None:
    networks = host()
    told: list[str] = []

    def close() -> None:
        told.append("older")
        older.remove()

    older = another_load().Patch(networks, "load", says("older"), give_way=close)
    Patch(networks, "load", says("newer"))
    assert told == ["older"]
    assert networks.load("x") == "newer(host x)"


def test_two_functions_of_one_module_are_patched_apart() -> None:
    networks = host()
    networks.other = networks.load
    first, second = Patch(networks, "load", says("first")), Patch(networks, "other", says("second"))
    first.remove()
    assert (networks.load("x"), networks.other("x")) == ("host x", "second(host x)")
    Patch(networks, "other", says("third"))
    assert networks.other("x") == "third(host x)"
    second.remove()
    assert networks.other("x") == "third(host x)"


def test_a_function_that_only_wraps_ours_is_not_taken_for_ours() -> None:
    networks = host()
    patch = this_load.Patch(networks, "load", says("ours"))
    assert patch_of(networks.load) is patch
    Theirs(networks, True)
    assert networks.load.lbw_patch is patch
    assert patch_of(networks.load) is None
    assert patch_of(SimpleNamespace()) is None
