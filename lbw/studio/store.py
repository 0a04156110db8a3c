"""The presets of the command line and of the page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lbw.core.elements import parse_elements
from lbw.core.presets import merged, parse_presets
from lbw.files.user_presets import ELEMENTS, WEIGHTS, PresetStore, read_text


@dataclass
class StudioPresets(PresetStore):
    """The user's files, for editing; prompts use the presets of a given file, or the built-in ones and the user's.

    weights, rules: files given with `--presets` and `--elements`.
    """

    weights: Path | None = None
    rules: Path | None = None

    def presets(self) -> dict[str, str]:
        """Return block weights by name."""
        if self.weights is not None:
            return parse_presets(read_text(self.weights)).presets
        return merged(parse_presets(read_text(self.shipped / WEIGHTS)).presets, super().presets())

    def elements(self) -> dict[str, str]:
        """Return elemental rules by name."""
        if self.rules is not None:
            return parse_elements(read_text(self.rules))
        return merged(parse_elements(read_text(self.shipped / ELEMENTS)), super().elements())
