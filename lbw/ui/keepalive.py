"""Something to say while a slow step is waited for: servers of Gradio 3 close connections that are silent for long."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
SECONDS = 2.0


def with_keepalive(items: Iterable[T], seconds: float = SECONDS) -> Iterator[T | None]:
    """Yield `items` as they come, and None whenever none has come for `seconds`.

    The items are made in a thread of their own. When the caller ends early, the thread ends after the item that it
    is at. What `items` raises is raised here.
    """
    ready: queue.SimpleQueue[tuple[str, T | BaseException | None]] = queue.SimpleQueue()
    is_over = threading.Event()

    def work() -> None:
        try:
            for item in items:
                ready.put(("item", item))
                if is_over.is_set():
                    return
            ready.put(("end", None))
        except BaseException as error:  # it belongs to the caller
            ready.put(("error", error))

    threading.Thread(target=work, name="lbw keepalive", daemon=True).start()
    try:
        while True:
            try:
                kind, value = ready.get(timeout=seconds)
            except queue.Empty:
                yield None
                continue
            if kind == "end":
                return
            if isinstance(value, BaseException) and kind == "error":
                raise value
            yield value  # type: ignore[misc]
    finally:
        is_over.set()
