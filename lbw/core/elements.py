"""Elemental presets: rules that set the weight of tensors by block and by parts of their path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .blocks import Site
from .errors import PresetError, quote, unknown_preset
from .family import Architecture
from .numbers import format_number, parse_number
from .selectors import select_in_kind
from .texts import t


@dataclass(frozen=True)
class Rule:
    """One rule: tensors of `blocks` whose path contains one of `pieces` (or none of them, if `inverted`) get `weight`.

    blocks: as written, empty for all. pieces: empty for all.
    """

    blocks: str
    pieces: tuple[str, ...]
    inverted: bool
    weight: float

    def matches(self, site: Site, architecture: Architecture) -> bool:
        """Return whether this rule sets the weight of the tensor at `site`."""
        if self.blocks:
            if "ENCODER" in self.blocks.upper().split() and not site.encoder and site.block == "BASE":
                return False
            if site.block not in select_in_kind(self.blocks, architecture):
                return False
        return not self.pieces or any(piece in site.path for piece in self.pieces) != self.inverted

    def text(self) -> str:
        """Return the rule in the form used in tags, with `;` instead of `:`."""
        pieces = " ".join((["NOT"] if self.inverted else []) + list(self.pieces))
        return f"{self.blocks};{pieces};{format_number(self.weight)}"


def parse_rules(text: str, separator: str = ":") -> tuple[Rule, ...]:
    """Return the rules `BLOCKS:ELEMENTS:WEIGHT` of `text`, separated by commas or line ends.

    Raises:
        PresetError: a rule does not have three parts, or its weight is not a number.
    """
    rules = []
    for written in re.split(r"[,\n\r]", text):
        if not written.strip():
            continue
        parts = [part.strip() for part in written.split(separator)]
        weight = parse_number(parts[-1])
        if len(parts) != 3 or weight is None:
            raise PresetError(
                t(
                    "elemental rule {rule} is not {form}; write for example {example}",
                    rule=quote(written),
                    form=separator.join(("BLOCKS", "ELEMENTS", "WEIGHT")),
                    example=separator.join(("IN05-OUT05", "attn", "0.5")),
                )
            )
        words = parts[1].split()
        inverted = bool(words) and words[0] == "NOT"
        pieces = tuple(words[inverted:])
        # `NOT` on its own excludes nothing, as in the extension we are compatible with.
        rules.append(Rule("" if parts[0] == "NOT" else parts[0], pieces, inverted and bool(pieces), weight))
    return tuple(rules)


@dataclass(frozen=True)
class ElementalPreset:
    """One entry of an elemental preset file: the number of its first line, from 1; its name; its rules' text.

    name: empty for lines that are not a preset.
    """

    number: int
    name: str
    rules: str


def elemental_presets(text: str) -> list[ElementalPreset]:
    """Return the entries of an elemental preset file, which are separated by blank lines."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    entries: list[ElementalPreset] = []
    lines: list[str] = []
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        if line.strip(" \t"):
            lines.append(line)
            continue
        if lines:
            name, colon, rules = "\n".join(lines).strip().partition(":")
            first = number - len(lines)
            entries.append(ElementalPreset(first, name.strip(), rules) if colon else ElementalPreset(first, "", ""))
        lines = []
    return entries


def parse_elements(text: str) -> dict[str, str]:
    """Return the rules of an elemental preset file as text, by name; of two with the same name, the last is used."""
    return {entry.name: entry.rules for entry in elemental_presets(text) if entry.name}


def resolve_elements(text: str, presets: Mapping[str, str], architecture: Architecture) -> tuple[Rule, ...]:
    """Return the rules that `lbwe=text` means: an elemental preset's name, or rules with `;` instead of `:`.

    Raises:
        PresetError: there is no such preset, or it is not valid.
        WeightsError: a rule names a block that `architecture` does not have.
    """
    if text in presets:
        rules = parse_rules(presets[text])
    elif ";" in text:
        rules = parse_rules(text, ";")
    else:
        raise unknown_preset(text, presets, "elemental preset")
    for rule in rules:
        if rule.blocks:
            select_in_kind(rule.blocks, architecture)
    return rules
