"""The check of a preset text, line by line: what each preset is, which models it fits, what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from . import limits
from .architectures import ARCHITECTURES, USUAL
from .elements import elemental_presets, parse_rules
from .errors import LbwError
from .fitting import fitting_architectures, misfit_reason
from .preset_names import is_for, is_preset, misspelled_model, split_model
from .presets import parse_presets
from .selectors import can_select_in_kind, select_in_kind
from .texts import t
from .weights import parse_block_weights

NAMED, ONE_NUMBER, OTHER_PRESET = t("named"), t("one number"), t("another preset")
"""Shown instead of a layout if the weights are not a list of numbers."""

_EXPLAINED = 50
"""How many problems are explained one by one; a text with more of them is not a preset file."""


@dataclass(frozen=True)
class CheckedLine:
    """The result of the check for one line.

    number: of the line, from 1. name: of the preset; empty for a line without one. layout: the count of numbers, or
    one of the words above; for an elemental preset, the count of rules. fits: titles of the architectures that accept
    it. problem: why it cannot be used. remark: what the user may not have intended.
    """

    number: int
    name: str
    layout: str = ""
    fits: tuple[str, ...] = ()
    problem: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Check:
    """The check of a whole text: its lines in order, and the presets' names in the order of the file."""

    lines: tuple[CheckedLine, ...]
    names: tuple[str, ...]

    @property
    def problems(self) -> list[CheckedLine]:
        """The lines that cannot be used."""
        return [line for line in self.lines if line.problem]

    @property
    def remarks(self) -> list[CheckedLine]:
        """The lines that have a remark but no problem."""
        return [line for line in self.lines if line.remark and not line.problem]


def check_presets(text: str) -> Check:
    """Return the check of `text`, a preset file (SYNTAX.md 4)."""
    file = parse_presets(text)
    hidden = {line.number for line in file.duplicates}
    lines: list[CheckedLine] = []
    explained = 0
    for line in file.lines:
        if line.name is None or line.weights is None:
            remark = _comment_remark(line.text)
            if remark:
                lines.append(CheckedLine(line.number, "", remark=remark))
            continue
        model = split_model(line.name)[1]
        fits = tuple(a.title for a in fitting_architectures(line.weights, file.presets) if is_for(model, a))
        problem = ""
        if not fits:
            explained += 1
            problem = t("is not valid")
            if len(line.weights) > limits.TAG_CHARACTERS:
                counts = {"count": f"{len(line.weights):,}", "most": f"{limits.TAG_CHARACTERS:,}"}
                problem = t("has {count} characters; the limit is {most}", **counts)
            elif explained <= _EXPLAINED:
                problem = misfit_reason(line.weights, file.presets, model)
        remark = _name_remark(line.name, line.number in hidden)
        lines.append(CheckedLine(line.number, line.name, _layout(line.weights, file.presets), fits, problem, remark))
    return Check(tuple(lines), tuple(file.names))


def check_elements(text: str) -> Check:
    """Return the check of `text`, an elemental preset file (SYNTAX.md 5): a line for each entry and each bad rule."""
    entries = elemental_presets(text)
    last = {entry.name: entry.number for entry in entries}
    lines: list[CheckedLine] = []
    for entry in entries:
        if not entry.name:
            lines.append(CheckedLine(entry.number, "", remark=t("has no name before a colon: treated as a comment")))
            continue
        bad = []
        count = 0
        for number, written in enumerate(entry.rules.split("\n"), start=entry.number):
            try:
                count += len(parse_rules(written))
            except LbwError as error:
                bad.append(CheckedLine(number, entry.name, problem=str(error)))
        remark = _name_remark(entry.name, last[entry.name] != entry.number)
        if bad:
            lines += bad
            continue
        blocks = [rule.blocks for rule in parse_rules(entry.rules) if rule.blocks]
        fits = tuple(a.title for a in ARCHITECTURES.values() if all(can_select_in_kind(text, a) for text in blocks))
        problem = "" if fits else _blocks_problem(blocks)
        layout = t("1 rule") if count == 1 else t("{count} rules", count=count)
        lines.append(CheckedLine(entry.number, entry.name, layout, fits, problem, remark))
    names = dict.fromkeys(entry.name for entry in entries if entry.name)
    return Check(tuple(lines), tuple(names))


# The parts ---------------------------------------------------------------------------------------


def _comment_remark(text: str) -> str:
    content = text.strip().removeprefix("\ufeff").strip()
    if not content or content.startswith("#"):
        return ""
    if "#" in content:
        return t("contains a #: the whole line is treated as a comment")
    return t("has no name before a colon: treated as a comment")


def _name_remark(name: str, is_hidden: bool) -> str:
    if is_hidden:
        return t("is ignored: a later preset has the same name")
    if ">" in name:
        return t("cannot be used in a tag, because > ends the tag")
    meant = misspelled_model(name)
    if not meant:
        return ""
    return t("is for no known model, so the @ is part of the name; did you mean @{model}?", model=meant)


def _layout(text: str, presets: Mapping[str, str]) -> str:
    if is_preset(text, presets):
        return OTHER_PRESET
    weights = parse_block_weights(text)
    if weights.by_block:
        return NAMED
    if weights.positional:
        return str(len(weights.positional))
    return ONE_NUMBER if weights.default else ""


def _blocks_problem(blocks: Iterable[str]) -> str:
    """Return what is wrong with the blocks of elemental rules that no architecture has all of."""
    for text in blocks:
        if not any(can_select_in_kind(text, a) for a in ARCHITECTURES.values()):
            try:
                select_in_kind(text, USUAL)
            except LbwError as error:
                return str(error)
    return t("its rules name blocks of different models")
