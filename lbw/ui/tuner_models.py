"""The tuner's list *Weights type*: the models and layouts that can be tuned."""

from __future__ import annotations

import re

from lbw.analysis.tuner import Tuner
from lbw.analysis.tuner_start import start, tunable_layouts
from lbw.core.architectures import ARCHITECTURES, by_name
from lbw.core.family import Architecture

_OTHER_SIZE = re.compile(r"^.*\(([^()]+)\): (\d+) blocks$")


def titles_of(architecture: Architecture) -> list[str]:
    """Return the titles of the layouts of `architecture`, which may have a size that is not listed."""
    return [_title(architecture, count) for count in tunable_layouts(architecture)]


def _title(architecture: Architecture, count: int) -> str:
    name = "" if architecture.name in ARCHITECTURES else f" ({architecture.name})"
    return f"{architecture.title}{name}: {count} blocks"


MODELS = {_title(a, count): (a, count) for a in ARCHITECTURES.values() for count in tunable_layouts(a)}
"""The known architectures and layouts, by their titles in the list."""


def titles(first: Architecture | None) -> list[str]:
    """Return the titles of all layouts, starting with those of `first`."""
    own = titles_of(first) if first else []
    return [*own, *(title for title in MODELS if title not in own)]


def model_called(title: str) -> tuple[Architecture, int]:
    """Return the architecture and the layout with this title."""
    match = _OTHER_SIZE.match(title)
    return MODELS[title] if title in MODELS or not match else (by_name(match[1]), int(match[2]))


def title_of(tuner: Tuner) -> str:
    """Return the title of the layout of `tuner`."""
    return _title(tuner.family, tuner.layout)


def new_tuner(title: str) -> Tuner:
    """Return a new tuner for the model and layout with this title."""
    return start(*model_called(title))


def new_tuner_of(architecture: Architecture) -> Tuner:
    """Return the tuner that begins with the first layout of `architecture`."""
    return new_tuner(titles_of(architecture)[0])


def is_fresh(tuner: Tuner) -> bool:
    """Tell whether nobody has sorted, moved or fixed a block of `tuner`."""
    return not tuner.history and tuner.states == new_tuner(title_of(tuner)).states


def titles_with(tuner: Tuner, first: Architecture | None) -> list[str]:
    """Return the titles of all layouts, those of `first` before the others, with those of what `tuner` tunes."""
    return list(dict.fromkeys([*titles(first), *titles(tuner.family)]))
