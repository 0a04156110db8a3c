"""The runner: each cell once, and what was finished is never rendered again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")

from lbw.analysis.cells import Cell, uniform_cell
from lbw.analysis.runner import CannotKeepError, Outcome, SkippedError, run
from lbw.analysis.store import CellStore, Rendered
from lbw.core.architectures import ARCHITECTURES
from lbw.core.errors import FileError

from .doubles import Painter, picture, same_areas, weights_of

SDXL = ARCHITECTURES["sdxl"]

AREAS = {"IN04": 10, "IN05": 20, "OUT00": 30, "OUT01": 40}
TENSORS = {"IN04": 2, "IN05": 2, "OUT00": 2, "OUT01": 2}
SOURCE = uniform_cell(SDXL, 1, 1)
CELLS = [SOURCE, *(SOURCE.with_entry((block,), "0") for block in AREAS)]


@pytest.fixture
def store(tmp_path: Path) -> CellStore:
    return CellStore(tmp_path, {})


def painter(count: int = 1) -> Painter:
    return Painter(same_areas(**AREAS), count)


def outcomes(cells: list[Cell], renderer: Painter, store: CellStore) -> list[Outcome]:
    return list(run(cells, renderer, store, TENSORS))


def test_each_cell_is_rendered_once(store: CellStore) -> None:
    renderer = painter(2)
    found = outcomes([*CELLS, *CELLS], renderer, store)
    assert len(renderer.painted) == len(found) == 5
    assert set(renderer.painted) == {outcome.cell for outcome in found} == set(CELLS)
    assert found[0].cell == SOURCE
    for outcome in found:
        wanted = picture(weights_of(outcome.cell), AREAS)
        assert outcome.rendered is not None
        assert np.array_equal(outcome.rendered.pictures, np.stack([wanted, wanted]))
        assert outcome.rendered.infotext == "seed 1"
        assert (outcome.error, outcome.reused) == ("", False)


def test_a_finished_run_renders_nothing_again(store: CellStore) -> None:
    first = {o.cell: o.rendered for o in outcomes(CELLS, painter(), store)}
    renderer = painter()
    again = outcomes(CELLS, renderer, store)
    assert renderer.painted == []
    assert len(again) == 5
    for outcome in again:
        kept = first[outcome.cell]
        assert outcome.reused
        assert outcome.rendered is not None
        assert kept is not None
        assert np.array_equal(outcome.rendered.pictures, kept.pictures)
        assert outcome.rendered.infotext == "seed 1"


def test_a_cell_is_kept_before_the_next_is_rendered(store: CellStore) -> None:
    for outcome in run(CELLS, painter(), store, TENSORS):
        assert store.load(outcome.cell) is not None


def test_a_failing_cell_does_not_end_the_run(store: CellStore) -> None:
    renderer = painter()
    renderer.fails = lambda cell: cell == CELLS[2]
    found = {o.cell: o for o in outcomes(CELLS, renderer, store)}
    assert len(found) == len(renderer.painted) == 5
    assert found[CELLS[2]] == Outcome(CELLS[2], None, "RuntimeError: out of memory")
    assert all(found[cell].rendered is not None for cell in CELLS if cell != CELLS[2])
    assert CELLS[2] not in store
    renderer = painter()
    outcomes(CELLS, renderer, store)
    assert renderer.painted == [CELLS[2]]


@pytest.mark.parametrize(
    ("error", "words"), [(ValueError(), "ValueError"), (MemoryError("  \n"), "MemoryError"), (KeyError("k"), "'k'")]
)
def test_an_error_without_words_is_named(error: Exception, words: str, store: CellStore) -> None:
    class Raising(Painter):
        def render(self, cell: Cell) -> Rendered:
            raise error

    (outcome,) = outcomes([SOURCE], Raising(same_areas()), store)
    assert words in outcome.error


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_not_taken_for_a_failing_cell(error: type[BaseException], store: CellStore) -> None:
    class Raising(Painter):
        def render(self, cell: Cell) -> Rendered:
            raise error

    with pytest.raises(error):
        outcomes([SOURCE], Raising(same_areas()), store)


def test_a_skipped_cell_is_marked_and_not_kept(store: CellStore) -> None:
    renderer = painter()
    renderer.skips = lambda cell: cell == CELLS[1]
    found = {o.cell: o for o in outcomes(CELLS, renderer, store)}
    assert found[CELLS[1]] == Outcome(CELLS[1], None, "skipped")
    assert [o.error for o in found.values()].count("") == 4
    assert CELLS[1] not in store
    assert issubclass(SkippedError, Exception)


@pytest.mark.parametrize("number", range(6))
def test_a_stopped_run_goes_on_where_it_stopped(number: int, store: CellStore) -> None:
    renderer = painter()
    renderer.stops_after = number
    first = outcomes(CELLS, renderer, store)
    assert len(first) == number
    second = painter()
    again = outcomes(CELLS, second, store)
    assert len(again) == 5
    assert len(second.painted) == 5 - number
    assert set(renderer.painted).isdisjoint(second.painted)
    assert sum(o.reused for o in again) == number


def test_a_damaged_cell_is_rendered_again(store: CellStore) -> None:
    outcomes(CELLS, painter(), store)
    store.path(CELLS[3]).write_bytes(b"no picture")
    renderer = painter()
    again = outcomes(CELLS, renderer, store)
    assert renderer.painted == [CELLS[3]]
    assert {o.cell: o.reused for o in again} == {cell: cell != CELLS[3] for cell in CELLS}
    assert renderer.shown[-1][:2] == (1, 1)
    assert store.load(CELLS[3]) is not None


def test_progress_counts_what_has_to_be_rendered(store: CellStore) -> None:
    renderer = painter()
    outcomes(CELLS[:2], renderer, store)
    assert [shown[:2] for shown in renderer.shown] == [(0, 2), (1, 2), (2, 2)]
    renderer = painter()
    renderer.fails = lambda cell: cell == CELLS[2]
    renderer.skips = lambda cell: cell == CELLS[3]
    outcomes(CELLS, renderer, store)
    assert [shown[:2] for shown in renderer.shown] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert renderer.shown[0][2] is None
    assert all(left is not None and left >= 0 for _, _, left in renderer.shown[1:])
    assert renderer.shown[-1][2] == 0
    renderer = painter()
    outcomes(CELLS[:2], renderer, store)
    assert [shown[:2] for shown in renderer.shown] == [(0, 0)]


def test_the_time_left_follows_from_the_time_taken(store: CellStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from lbw.analysis import runner

    now = [100.0]
    monkeypatch.setattr(runner.time, "monotonic", lambda: now[0])

    class Slow(Painter):
        def render(self, cell: Cell) -> Rendered:
            now[0] += 3
            return super().render(cell)

    renderer = Slow(same_areas(**AREAS))
    outcomes(CELLS, renderer, store)
    assert [left for _, _, left in renderer.shown] == [None, 12, 9, 6, 3, 0]


def test_a_cell_that_cannot_be_kept_is_shown_and_ends_the_run(
    store: CellStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = CellStore.save

    def save(self: CellStore, cell: Cell, rendered: Rendered) -> None:
        if len(renderer.painted) == 3:
            raise FileError("the disk is full")
        real(self, cell, rendered)

    monkeypatch.setattr(CellStore, "save", save)
    renderer = painter()
    going = run(CELLS, renderer, store, TENSORS)
    found = [next(going) for _ in range(3)]
    with pytest.raises(CannotKeepError, match="the disk is full"):
        next(going)
    assert len(found) == len(renderer.painted) == 3
    assert all(outcome.rendered is not None for outcome in found)
    assert sum(cell in store for cell in CELLS) == 2


def test_pictures_of_earlier_cells_are_let_go(store: CellStore) -> None:
    renderer = painter()
    for outcome in run(CELLS, renderer, store, TENSORS):
        assert outcome.rendered is not None
        del outcome
    # While one is rendered, the previous one may still be in memory, but none before that.
    assert len(renderer.alive) == 5
    assert max(renderer.alive) <= 1
