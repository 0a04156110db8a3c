"""Doubles of the hosts for all tests; without torch, the tests that need them are skipped."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# The speed of a machine says nothing about correctness.
settings.register_profile("lbw", deadline=None)
settings.load_profile("lbw")

collect_ignore = [] if importlib.util.find_spec("torch") else ["api", "hosts", "webui"]


HOSTS = ("AUTOMATIC1111", "Forge", "reForge", "Classic", "Neo", "Neo on the fly", "Neo partly loaded")


@pytest.fixture(params=HOSTS)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A running double of each host in turn."""
    from hosts.worlds import make_world

    return make_world(request.param, tmp_path, monkeypatch)


@pytest.fixture
def a1111(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A running double of AUTOMATIC1111."""
    from hosts.worlds import make_world

    return make_world("AUTOMATIC1111", tmp_path, monkeypatch)


@pytest.fixture
def forge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A running double of Forge."""
    from hosts.worlds import make_world

    return make_world("Forge", tmp_path, monkeypatch)
