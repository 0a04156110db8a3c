"""The fuzzer's targets with a few inputs, its own limits, and every input that has led to a finding."""

from __future__ import annotations

import time
from random import Random

import pytest

from . import requests
from .run import Findings, HangError, fuzz, limit, one
from .targets import TARGETS

FOUND = [
    ("preset files", 1795615101089),  # lines of a hundred thousand characters, compared with the names of presets
    ("preset files", 1795615101001),
    ("preset files", 1795620546508),  # thousands of unknown blocks, each told in words for each model
    ("tags", 1795615456081),
    ("tags", 5000003162),  # random weights for a LoRA in whose name is half a character
    ("requests", 208),  # an analysis with a weight of 10,000
    ("requests", 549),  # and several of a million pictures
    ("requests", 649),
    ("requests", 1579),
    ("states and hints", 1795620545076),  # a layout of Infinity numbers
]


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A target, if the libraries that it needs are installed."""
    target = str(request.param)
    for library in ("fastapi", "gradio", "diffusers") if target == "requests" else ():
        pytest.importorskip(library)
    if target == "requests":
        requests.server()  # whose libraries take longer to import than any input may run
    return target


@pytest.mark.parametrize("name", TARGETS, indirect=True)
def test_a_few_inputs_find_nothing(name: str) -> None:
    findings = Findings()
    for number in range(40):
        one(name, TARGETS[name], number, findings)
    # How long an input takes depends on the machine: only long runs of the fuzzer check that.
    assert [kind for _, kind in findings.found if kind != "slow"] == []
    assert findings.counts[name] == 40


@pytest.mark.parametrize(("name", "number"), FOUND, indirect=["name"])
def test_what_was_found_once_is_found_no_more(name: str, number: int) -> None:
    with limit(10):
        TARGETS[name](Random(f"{name} {number}"))


def test_a_failure_and_an_input_that_never_ends_are_findings() -> None:
    def fails(chance: Random) -> None:
        assert chance.random() < 2
        raise KeyError("x")

    told: list[str] = []
    findings = Findings(lambda *failure: told.append(failure[1]))
    fuzz({"fails": fails}, 0, findings, batch=3)
    assert findings.counts["fails"] == 3
    ((_, kind),) = findings.found
    assert kind.startswith("KeyError")
    assert told == [kind]


def busy_until(end: float) -> None:
    while time.process_time() < end:
        pass


def test_a_limit_of_cpu_time_ends_what_takes_longer() -> None:
    began = time.process_time()
    with pytest.raises(HangError), limit(0.2):
        busy_until(began + 20)
    assert time.process_time() - began < 10
