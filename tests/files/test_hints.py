"""The table of hints: read whatever it holds, written as spreadsheets read it, saved as presets are."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbw.core.architectures import by_name
from lbw.core.errors import FileError
from lbw.core.preset_names import find_preset
from lbw.core.presets import parse_presets
from lbw.files.hints import HINTS, Hint, hint_problems, hints_of_rows, hints_text, parse_hints, rows_of_hints
from lbw.files.user_presets import SHIPPED, WEIGHTS, PresetStore, read_text

CELL = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map(str.strip)


def test_the_shipped_hints_are_flawless_and_say_what_the_presets_of_their_names_say() -> None:
    hints = parse_hints(read_text(SHIPPED / HINTS))
    assert hint_problems(hints) == []
    presets = parse_presets(read_text(SHIPPED / WEIGHTS)).presets
    named = {name: weights for name, weights in presets.items() if name.startswith(("XL-", "FLUX-"))}
    found = {}
    for hint in hints:
        key = find_preset(hint.name, presets, by_name(hint.architecture))
        assert key is not None
        found[key] = hint.weights
    assert found == named
    assert len(hints) == len(named) == 7
    assert hints_text(hints) == read_text(SHIPPED / HINTS)


@given(st.lists(st.builds(Hint, CELL, CELL, CELL, CELL).filter(lambda hint: any(rows_of_hints([hint])[0]))))
def test_what_is_written_is_read_again(hints: list[Hint]) -> None:
    assert parse_hints(hints_text(hints)) == hints
    assert hints_of_rows(rows_of_hints(hints)) == hints


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert isinstance(parse_hints(text), list)


def test_a_text_that_is_no_table_is_refused() -> None:
    with pytest.raises(FileError, match="not a table of hints"):
        parse_hints('"' + "x" * 200_000)


def test_rows_that_are_too_short_too_long_or_empty() -> None:
    text = '\ufeffname,architecture,weights,note\r\nA,sdxl\r\n\r\n,,,\r\nB,sd1,"0,IN01=1",first,second\r\n'
    assert parse_hints(text) == [Hint("A", "sdxl", "", ""), Hint("B", "sd1", "0,IN01=1", "first, second")]


def test_a_table_of_an_editor_may_hold_numbers_and_nothing() -> None:
    assert hints_of_rows([[1, "sdxl", 0.5, None], [None, None, "", " "], []]) == [Hint("1", "sdxl", "0.5", "")]


def test_problems_name_the_row_and_what_would_be_right() -> None:
    hints = [Hint("A", "sdx", "1"), Hint("B", "sdxl", "1,2"), Hint("C", "flux", "0.5")]
    first, second = hint_problems(hints)
    assert first == 'row 1, "A": unknown architecture "sdx"; did you mean sdxl?'
    assert second.startswith('row 2, "B": 2 numbers given')


def test_the_table_is_kept_beside_the_users_presets_and_never_written_over_anothers(tmp_path: Path) -> None:
    store = PresetStore(tmp_path / "user")
    shipped = store.read(HINTS)
    hints = [*parse_hints(shipped.text), Hint("名", "sdxl", "0.5", 'said "so", twice')]
    saved = store.save(HINTS, hints_text(hints), shipped.version)
    assert parse_hints(store.read(HINTS).text) == hints
    store.save(HINTS, "theirs", saved.version)
    with pytest.raises(FileError, match="was changed by another program"):
        store.save(HINTS, "mine", saved.version)
