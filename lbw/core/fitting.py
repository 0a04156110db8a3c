"""Which architectures accept given block weights, and why others do not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from .architectures import ARCHITECTURES, USUAL, layout_owners
from .errors import LbwError
from .family import Architecture
from .preset_names import is_for
from .selectors import can_select_in_kind
from .texts import t
from .weights import parse_block_weights

_ASKED = 200
"""How many selectors of one text are used to find the model it is meant for: more than any model has blocks."""


def fits(text: str, architecture: Architecture, presets: Mapping[str, str]) -> bool:
    """Tell whether a LoRA of `architecture` takes the block weights `text`."""
    weights = parse_block_weights(text)
    if not weights.names_preset(presets):
        # Most lines of most preset files: decided without composing an error message for each model.
        is_listed = len(weights.positional) in architecture.layouts
        is_number = weights.default is not None and weights.default.is_valid
        if not (weights.by_block or is_listed or is_number):
            return False
    try:
        weights.resolve(architecture, presets)
    except LbwError:
        return False
    return True


def fitting_architectures(text: str, presets: Mapping[str, str]) -> tuple[Architecture, ...]:
    """Return the known architectures that take the block weights `text`, oldest first.

    The answer is cached for texts that name no preset.
    """
    if parse_block_weights(text).names_preset(presets):
        return tuple(a for a in ARCHITECTURES.values() if fits(text, a, presets))
    return _fitting_without_presets(text)


@lru_cache(maxsize=8192)
def _fitting_without_presets(text: str) -> tuple[Architecture, ...]:
    return tuple(a for a in ARCHITECTURES.values() if fits(text, a, {}))


def misfit_reason(text: str, presets: Mapping[str, str], model: str = "") -> str:
    """Return what is wrong with the block weights `text` for the architecture that fits them best.

    model: the model they are meant for, empty for any. Returns "" if that architecture accepts them.
    """
    weights = parse_block_weights(text)
    selectors = list(dict.fromkeys(selector for selector, entry in weights.by_block if entry is not None))[:_ASKED]
    meant = [a for a in ARCHITECTURES.values() if is_for(model, a)]
    nearest = max(meant, key=lambda a: (sum(can_select_in_kind(selector, a) for selector in selectors), a is USUAL))
    count = len(weights.positional)
    if count:
        owners = layout_owners(count)
        if not owners:
            counts = sorted({count for a in meant for count in a.layouts})
            has = ", ".join(map(str, counts))
            return t("no layout has {count} numbers; the layouts have {counts}", count=count, counts=has)
        nearest = nearest if model else owners[0]
    try:
        weights.resolve(nearest, presets)
    except LbwError as error:
        return str(error)
    return ""
