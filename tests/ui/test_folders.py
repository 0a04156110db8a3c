"""The folder of the results, opened in the machine's file manager."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("click")

import click

from lbw.core.errors import HostError
from lbw.ui.folders import open_folder


def test_the_file_manager_is_asked_for_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []
    monkeypatch.setattr(click, "launch", lambda path: asked.append(path) or 0)
    open_folder(tmp_path)
    assert asked == [str(tmp_path)]


def test_where_there_is_none_the_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(click, "launch", lambda path: 1)
    with pytest.raises(HostError, match=str(tmp_path)):
        open_folder(tmp_path)
