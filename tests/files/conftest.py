"""Keeps the table of numbers of a run, and prints it at the end."""

from __future__ import annotations

import pytest

from .numbers_table import Table

TABLE = pytest.StashKey[Table]()


@pytest.fixture
def numbers_table(request: pytest.FixtureRequest) -> Table:
    """The table that the run prints."""
    return request.config.stash.setdefault(TABLE, Table())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    table = config.stash.get(TABLE, None)
    if table is not None:
        terminalreporter.section("Numbers against LyCORIS and PEFT: worst relative error of ΔW")
        for line in table.lines():
            terminalreporter.write_line(line)
