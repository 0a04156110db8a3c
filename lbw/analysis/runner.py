"""Renders the cells of a grid: each once, in the cheapest order, going on where an earlier run stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lbw.core.errors import FileError, LbwError

from .cells import Cell, ordered
from .store import CellStore, Rendered


class StoppedError(Exception):
    """The user wants no more pictures."""


class SkippedError(Exception):
    """The user does not want this picture."""


class CellRenderer(Protocol):
    """What a host does for the analyzer."""

    def render(self, cell: Cell) -> Rendered:
        """Return the pictures of `cell`.

        Raises:
            StoppedError, SkippedError: the user said so; what was rendered of the cell is worth nothing.
            Exception: the cell failed; the others are rendered all the same.
        """

    def progress(self, done: int, total: int, seconds_left: float | None) -> None:
        """Show how far it is: `done` of the `total` pictures that have to be rendered."""


@dataclass(frozen=True)
class Outcome:
    """What came of a cell.

    rendered: None where it failed. error: why. reused: it was there from an earlier run.
    """

    cell: Cell
    rendered: Rendered | None
    error: str = ""
    reused: bool = False


def run(
    cells: Sequence[Cell], renderer: CellRenderer, store: CellStore, tensors: Mapping[str, int]
) -> Iterator[Outcome]:
    """Yield what comes of each of `cells`, in the order in which they are rendered.

    Ends early when the user stops it, or when a finished cell cannot be kept: what was yielded is good.

    tensors: how many tensors the LoRA has in each block.
    """
    order = ordered(cells, tensors)
    todo = [cell for cell in order if cell not in store]
    done = 0
    began = time.monotonic()
    for cell in order:
        if cell not in todo:
            kept = store.load(cell)
            if kept is not None:
                yield Outcome(cell, kept, reused=True)
                continue
            todo.append(cell)
        left = (time.monotonic() - began) / done * (len(todo) - done) if done else None
        renderer.progress(done, len(todo), left)
        try:
            outcome = Outcome(cell, renderer.render(cell))
        except StoppedError:
            return
        except SkippedError:
            outcome = Outcome(cell, None, "skipped")
        except Exception as error:  # whatever the host raises: the other cells go on
            outcome = Outcome(cell, None, _reason(error))
        done += 1
        if outcome.rendered is not None:
            try:
                store.save(cell, outcome.rendered)
            except FileError as error:
                yield outcome
                raise CannotKeepError(str(error)) from error
        yield outcome
    renderer.progress(done, len(todo), 0.0)


class CannotKeepError(LbwError):
    """A finished cell could not be written to disk; those before it are kept."""


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
