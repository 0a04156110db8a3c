"""Tables and progress in the terminal; silent if the output is not a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


def progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yield `items` with a bar on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield from bar.track(items, total=total)


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int, float | None], None]]:
    """Yield a function that shows a bar on standard error, if it is a terminal: done, total, seconds left."""
    if not sys.stderr.isatty():
        yield lambda done, total, left: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=None, left="")

        def show(done: int, total: int, left: float | None) -> None:
            text = "" if left is None else f"{int(left) // 60}:{int(left) % 60:02} left"
            shown.update(task, completed=done, total=total, left=text)

        yield show


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; plain columns if standard output is not a terminal."""
    if not sys.stdout.isatty():
        widths = [max(len(str(row[i])) for row in [headings, *rows]) for i in range(len(headings))]
        for row in [headings, *rows]:
            print("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip())
        return
    from rich.console import Console
    from rich.table import Table

    made = Table(*headings)
    for row in rows:
        made.add_row(*row)
    Console().print(made)
