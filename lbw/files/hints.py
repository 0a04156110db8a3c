"""Hints: reference weights that people keep beside their presets, one a line of a table that spreadsheets open."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

from lbw.core.architectures import by_name, unknown_architecture
from lbw.core.errors import FileError, LbwError, quote
from lbw.core.texts import t
from lbw.core.weights import parse_block_weights

HINTS = "lbwhints.csv"
"""The name of the file, beside the preset files; read and saved by `PresetStore`, as those are."""

COLUMNS = (t("name"), t("architecture"), t("weights"), t("note"))


@dataclass(frozen=True)
class Hint:
    """Block weights to look up: their name, the architecture that they are for, the weights, and what they do."""

    name: str
    architecture: str
    weights: str
    note: str = ""


def parse_hints(text: str) -> list[Hint]:
    """Return the hints of `text`, a table as CSV with a line of headings.

    A row with too few columns is filled up, the columns that are too many join the note; empty rows are left out.

    Raises:
        FileError: the text is no table.
    """
    text = text.removeprefix("\ufeff").replace("\x00", "")
    try:
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise FileError(t("this is not a table of hints: {reason}", reason=error)) from error
    if rows and [cell.strip().lower() for cell in rows[0]][: len(COLUMNS)] == list(COLUMNS):
        del rows[0]
    return hints_of_rows(rows)


def hints_of_rows(rows: Iterable[Sequence[object]]) -> list[Hint]:
    """Return the hints in the rows of a table, cells of any sort; empty rows are left out."""
    hints = []
    for row in rows:
        cells = ["" if cell is None else str(cell).strip() for cell in row]
        if any(cells):
            cells += [""] * (len(COLUMNS) - len(cells))
            name, architecture, weights, *notes = cells
            hints.append(Hint(name, architecture, weights, ", ".join(note for note in notes if note)))
    return hints


def rows_of_hints(hints: Iterable[Hint]) -> list[list[str]]:
    """Return the rows of a table of `hints`."""
    return [list(astuple(hint)) for hint in hints]


def hints_text(hints: Iterable[Hint]) -> str:
    """Return the text of the file that holds `hints`."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows_of_hints(hints))
    return text.getvalue()


def hint_problems(hints: Sequence[Hint]) -> list[str]:
    """Return what is wrong with `hints`, a sentence each; hints with problems are kept anyway."""
    problems = []
    for number, hint in enumerate(hints, start=1):
        problem = _problem(hint)
        if problem:
            where = {"number": number, "name": quote(hint.name, 40)}
            problems.append(t("row {number}, {name}: {message}", message=problem, **where))
    return problems


def _problem(hint: Hint) -> str:
    try:
        parse_block_weights(hint.weights).resolve(by_name(hint.architecture), {})
    except KeyError:
        return unknown_architecture(hint.architecture, 1)
    except LbwError as error:
        return str(error)
    return ""
