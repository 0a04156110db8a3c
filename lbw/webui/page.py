"""Components of the WebUI's page, recorded while it is built, for those of our parts that are built later.

The WebUI builds a page once for each load of its scripts: in each tab the accordion before the selectable scripts, and
our own tab after all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

TABS = ("txt2img", "img2img")
FIELDS = {
    "prompt": "prompt", "negative_prompt": "neg_prompt", "seed": "seed", "steps": "steps", "width": "width",
    "height": "height", "cfg_scale": "cfg_scale", "sampler_name": "sampling",
}  # fmt: skip
"""The WebUI's fields, without the tab's name before them, that the options of a request are taken from."""


class Page:
    """One page that is being built.

    theirs: components of the WebUI by their `elem_id`. regions: by tab, the accordion's hidden box for the region,
    which is not an argument of our predecessor.
    """

    def __init__(self) -> None:
        self.theirs: dict[str, Any] = {}
        self.regions: dict[str, Any] = {}

    def remember(self, component: Any, **fields: Any) -> None:
        """Record each component that the WebUI creates, just after it is created."""
        name = fields.get("elem_id") or getattr(component, "elem_id", None)
        if name in _WANTED:
            self.theirs[name] = component


def _wanted() -> Iterator[str]:
    for tab in TABS:
        yield f"generation_info_{tab}"
        yield from (f"{tab}_{field}" for field in FIELDS.values())


_WANTED = frozenset(_wanted())
