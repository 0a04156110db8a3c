"""The pictures of a round of the tuner, rendered on demand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lbw.core.errors import HostError, WeightsError
from lbw.core.texts import t

from .cells import Cell
from .measure import Pixels
from .prompt import tag_to_analyze
from .request import PictureRequest
from .runner import run
from .session import Host
from .sheet import beside


def round_pictures(host: Host, todo: Sequence[Cell], request: PictureRequest) -> Iterator[tuple[Cell, Pixels]]:
    """Yield each cell with its picture, in any order, as it is rendered; existing pictures are reused.

    Raises:
        WeightsError: the tuner is for another model. HostError: a picture failed. LbwError: something in the
            request is wrong.
    """
    request.check()
    made = host.prepare(request, [tag_to_analyze(request.prompt)], lambda done, total, left: None, lambda: False)
    if not set(todo[0].layout) <= set(made.architecture.blocks):
        raise WeightsError(t("the model is {model}: choose it in Weights type", model=made.architecture.title))
    for outcome in run(todo, made.renderer, made.store, made.tensors):
        if outcome.rendered is None:
            raise HostError(t("a picture failed: {error}", error=outcome.error))
        yield outcome.cell, beside(outcome.rendered.pictures)
