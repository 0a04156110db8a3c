"""Differences between Gradio 3.41 and 4, detected by features of the installed version and not by its number."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Set
from typing import Any, Protocol

from gradio.context import Context

Updates = dict[Any, Any]
"""What becomes of controls, by the controls; those that are not in it stay as they are."""


class Values(Protocol):
    """What the controls of an event hold, by the controls: a dictionary.

    A class of its own, because Gradio looks for classes among the annotations of a handler's parameters, in a way that
    fails for forms like `dict[str, int]` under Python 3.10.
    """

    def __getitem__(self, control: Any, /) -> Any: ...


_KNOWN: dict[str, frozenset[str]] = {}
"""The parameters of events, by their type: looking them up is what takes longest."""


def listen(
    event: Any,
    handler: Callable[..., Any] | None,
    inputs: Set[Any] = frozenset(),
    outputs: Set[Any] = frozenset(),
    *,
    js: str | None = None,
    queue: bool = False,
    show_progress: str = "hidden",
    cancels: Any = None,
) -> Any:
    """Let `handler` run at `event`, for example `button.click`; return what `cancels` of another takes.

    handler: takes the `Values` of `inputs` where there are any, and what Gradio tells of the event where a parameter is
    annotated with its class; returns `Updates` of `outputs`, at least one, or yields them.

    js: the name of a function of `javascript/` that the browser calls, instead of `handler` or before it, with the
    value of the one input. queue: wait in the queue behind what is slow, as handlers that yield must; the others answer
    at once. When an event comes while the handler still runs, the handler runs once more for the latest. show_progress:
    Gradio's own sign over the outputs while the handler runs: "full", "minimal" or "hidden".
    """
    kind = getattr(event, "__name__", type(event).__name__)
    known = _KNOWN.get(kind) or _KNOWN.setdefault(kind, frozenset(inspect.signature(event).parameters))
    options: dict[str, Any] = {"api_name": False, "queue": queue, "show_progress": show_progress}
    if js is not None:
        options["js" if "js" in known else "_js"] = js
    if "trigger_mode" in known and not queue:
        options["trigger_mode"] = "always_last"
    if cancels is not None:
        options["cancels"] = cancels
    return event(handler, set(inputs) or None, list(outputs), **options)


def on_page_load(handler: Callable[..., Any] | None, outputs: Set[Any] = frozenset(), js: str | None = None) -> None:
    """Run `handler` whenever the page is opened; call this within the page."""
    listen(Context.root_block.load, handler, outputs=outputs, js=js)


def tooltips(texts: Mapping[str, str]) -> None:
    """Show each of `texts` as the tooltip of the element with its id; call this within the page.

    For components without `info`, such as buttons, or that would be too tall with it. They are translated here, because
    the WebUI does not translate titles that are added after the page has loaded.
    """
    table = json.dumps(dict(texts)).replace("<", "\\u003c")
    on_page_load(None, js=f"lbwTooltips.show.bind(null, {table})")
