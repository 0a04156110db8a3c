"""One generation of the WebUI, and the state that its callbacks share.

The WebUI calls the extension many times in one generation: at its start, for each batch, for the hires pass, at each
step, at its end. State that one of these calls leaves for the next is in a `Generation`, which is attached to the
request's own object, the WebUI's `p`. A generation runs for as long as the WebUI's `process_images_inner` does, however
that ends; another one started in the meantime, such as a detailer's, is nested in it.

Other extensions copy `p`, and call the scripts with copies that are never run. A copy has its original's attributes,
but is a generation of its own.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from lbw.core.plan import ResolvedLora

from . import predecessor
from .options import RequestOptions

_ATTRIBUTE = "lbw_generation"  # on `p`: its generation, or that of the `p` it is a copy of
_innermost: ContextVar[Generation | None] = ContextVar("lbw_innermost", default=None)  # of the running ones


@dataclass(eq=False)
class Generation:
    """One generation.

    p: returns the WebUI's own object for it, as long as that exists.
    parent: the generation that it is nested in.
    arguments: of the script; None if it was not called because it is not among the scripts of `p`.
    cell: settings for this generation only, if it is a cell of an analysis.
    told: the messages that were shown, in order.
    infotext: our fields of its infotext.
    loras: the resolved tags of the current pass. in_force: of each, whether the denoiser has it now.
    """

    p: Callable[[], Any]
    parent: Generation | None = None
    arguments: RequestOptions | None = None
    cell: RequestOptions | None = None
    told: dict[str, None] = field(default_factory=dict)
    infotext: dict[str, str] = field(default_factory=dict)
    loras: tuple[ResolvedLora, ...] = ()
    in_force: list[bool] = field(default_factory=list)

    @property
    def options(self) -> RequestOptions:
        """The options of the request; without any of its own, those of the surrounding generation."""
        if self._follows is not None:
            return self._follows.options
        options = self.arguments or RequestOptions()
        return options if self.cell is None else options.with_cell(self.cell)

    @property
    def is_in_charge(self) -> bool:
        """Whether this extension handles the tags, and not its predecessor."""
        if self._follows is not None:
            return self._follows.is_in_charge
        return not predecessor.is_in_charge(getattr(self.p(), "scripts", None))

    @property
    def _follows(self) -> Generation | None:
        return self.parent if self.arguments is None and self.cell is None else None


def own(p: Any) -> Generation | None:
    """Return the generation of `p`, None if it has none yet."""
    generation: Generation | None = getattr(p, _ATTRIBUTE, None)
    return generation if generation is not None and generation.p() is p else None


def of(p: Any) -> Generation:
    """Return the generation of `p`, a new one if it has none yet."""
    return own(p) or _begin(p)


@contextmanager
def running(p: Any) -> Iterator[Generation]:
    """Run the generation of `p`, nested in the current one; it starts afresh if `p` has run before."""
    generation = _begin(p)
    token = _innermost.set(generation)
    try:
        yield generation
    finally:
        _innermost.reset(token)


def _begin(p: Any) -> Generation:
    before = own(p)
    generation = Generation(weakref.ref(p), _innermost.get(), cell=before.cell if before is not None else None)
    setattr(p, _ATTRIBUTE, generation)
    return generation
