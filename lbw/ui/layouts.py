"""The list *Weights type*: layouts of every model, and converting text to slider values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lbw.core.architectures import ARCHITECTURES, by_name
from lbw.core.errors import LbwError, WeightsError
from lbw.core.family import Architecture
from lbw.core.fitting import misfit_reason
from lbw.core.texts import t
from lbw.core.weights import by_block_text, parse_block_weights, positional_text

_OTHER_SIZE = re.compile(r"^(\d+): .*\(([^()]+)\)(?:, every block)?$")


@dataclass(frozen=True)
class Layout:
    """A layout in the list *Weights type*: its title, its architecture, its blocks."""

    title: str
    architecture: Architecture
    count: int

    @property
    def blocks(self) -> tuple[str, ...]:
        """The blocks, in layout order."""
        return self.architecture.layouts[self.count]

    @property
    def unlisted(self) -> float:
        """The weight of blocks that the layout leaves out."""
        return self.architecture.unlisted.get(self.count, 0.0)


def _layouts() -> list[Layout]:
    """Return every layout once; its title has its count and the smallest models with all of its blocks."""
    found: dict[tuple[str, int], Layout] = {}
    for architecture in ARCHITECTURES.values():
        for count, blocks in architecture.layouts.items():
            owners = [
                a for a in ARCHITECTURES.values()
                if a.kind == architecture.kind and a.layouts.get(count) == blocks and set(blocks) <= set(a.blocks)
            ]  # fmt: skip
            if not owners:
                continue  # a list of another model's blocks that this one accepts too
            smallest = min(len(owner.blocks) for owner in owners)
            owners = [owner for owner in owners if len(owner.blocks) == smallest]
            title = _title(", ".join(owner.title for owner in owners), owners[0], count)
            found.setdefault((architecture.kind, count), Layout(title, owners[0], count))
    return sorted(found.values(), key=lambda layout: layout.count)


def _title(models: str, architecture: Architecture, count: int) -> str:
    return f"{count}: {models}{', every block' * (count == architecture.full_layout)}"


LAYOUTS = {layout.title: layout for layout in _layouts()}
"""The layouts of the known models, by title, the shortest first."""

_KINDS = list(dict.fromkeys(a.kind for a in ARCHITECTURES.values()))
_WIDEST = {kind: max((a.blocks for a in ARCHITECTURES.values() if a.kind == kind), key=len) for kind in _KINDS}


def layouts_of(architecture: Architecture) -> list[Layout]:
    """Return the layouts made for `architecture`, the shortest first; it may have a size that is not listed."""
    listed = [layout for layout in LAYOUTS.values() if layout.architecture.blocks == architecture.blocks]
    if listed and architecture.name in ARCHITECTURES:
        return listed
    counts = [count for count, blocks in architecture.layouts.items() if set(blocks) <= set(architecture.blocks)]
    models = f"{architecture.title} ({architecture.name})"
    return [Layout(_title(models, architecture, count), architecture, count) for count in sorted(counts)]


def first_layout(architecture: Architecture | None) -> Layout:
    """Return the shortest layout made for `architecture`; the shortest of all if it is None."""
    return next(iter(layouts_of(architecture) if architecture else []), next(iter(LAYOUTS.values())))


def titles(first: Architecture | None) -> list[str]:
    """Return the titles of all layouts, starting with those of `first`."""
    own = [layout.title for layout in layouts_of(first)] if first else []
    return [*own, *(title for title in LAYOUTS if title not in own)]


def layout_called(title: str) -> Layout:
    """Return the layout with this title."""
    match = _OTHER_SIZE.match(title)
    if title in LAYOUTS or not match:
        return LAYOUTS[title]
    return Layout(title, by_name(match[2]), int(match[1]))


def slider_blocks(layout: Layout) -> tuple[str, ...]:
    """Return the blocks with a slider: all of this kind of model, so that values are kept when the layout changes."""
    architecture = layout.architecture
    return tuple(dict.fromkeys((*_WIDEST.get(architecture.kind, ()), *architecture.blocks)))


# Weights and text --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loaded:
    """Block weights as slider values: the layout to show, a number for each block, and a remark for the user."""

    layout: Layout
    values: Mapping[str, float]
    remark: str = ""


def load(text: str, shown: Layout, presets: Mapping[str, str]) -> Loaded:
    """Return the slider values of `text`, a preset name or block weights; the layout `shown` is kept if possible.

    Raises:
        WeightsError: no model accepts it; the message says why.
    """
    weights = parse_block_weights(text)
    for layout in (shown, *(other for other in LAYOUTS.values() if other is not shown)):
        try:
            own = _of_count(layout, weights.entries_for(layout.architecture, presets).layout)
            entries = weights.entries_for(own.architecture, presets)
        except LbwError:
            continue
        drawn = entries.variable_blocks
        values = {block: 0.0 if block in drawn else entry.number for block, entry in entries.by_block.items()}
        remark = t("sliders cannot show R, U and X; these blocks are at 0: {blocks}", blocks=", ".join(drawn))
        return Loaded(_fitting(own, values), values, remark if drawn else "")
    raise WeightsError(misfit_reason(text, presets))


def _kin(layout: Layout) -> list[Layout]:
    """Return the layouts of models of one kind with that of `layout`, those of its own model first."""
    kind = layout.architecture.kind
    return [*layouts_of(layout.architecture), *(other for other in LAYOUTS.values() if other.architecture.kind == kind)]


def _of_count(layout: Layout, count: int | None) -> Layout:
    """Return the layout of `count` numbers for the same kind of model; `layout` if there is no count."""
    return next((other for other in _kin(layout) if other.count == count), layout)


def _fitting(layout: Layout, values: Mapping[str, float]) -> Layout:
    """Return `layout` if it can express `values`, otherwise the first of its kind that can."""
    for candidate in (layout, *_kin(layout)):
        if all(value == candidate.unlisted for block, value in values.items() if block not in candidate.blocks):
            return candidate
    return layout


def numbers_text(values: Mapping[str, float], layout: Layout) -> str:
    """Return the weights of the layout's blocks as a list of numbers."""
    return positional_text(values[block] for block in layout.blocks)


def names_text(values: Mapping[str, float], layout: Layout) -> str:
    """Return the same weights by name: the most common number, and the blocks with a different one."""
    weights = {block: values[block] for block in layout.blocks}
    if len(layout.blocks) < len(layout.architecture.blocks):
        default = layout.unlisted
    else:
        default = max(weights.values(), key=list(weights.values()).count)
    return by_block_text({block: weight for block, weight in weights.items() if weight != default}, default)
