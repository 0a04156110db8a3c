"""The check of a preset file in the editor: what each line is, and which models it is for."""

from __future__ import annotations

from collections.abc import Collection
from html import escape

from lbw.core.architectures import ARCHITECTURES, FAMILIES
from lbw.core.preset_check import CheckedLine
from lbw.core.preset_names import split_model
from lbw.core.texts import t

from .markup import BAD, GOOD, REMARK, SIGNS, words

_NAMED = 3
"""How many models are named in a line; beyond that their number is shown, with all of them in the tooltip."""

_KIND_TITLES = {"unet": "U-Nets"}


def kind_of(line: CheckedLine) -> str:
    """Return the status of a line: `GOOD`, `REMARK` or `BAD`."""
    return BAD if line.problem else REMARK if line.remark else GOOD


def cells(line: CheckedLine) -> list[str]:
    """Return the cells of the line's row, as HTML."""
    number = f'<button type="button" data-line="{line.number}" title="{t("Go to this line")}">{line.number}</button>'
    base, model = split_model(line.name)
    name = escape(base) + (f' <small class="lbw-for">@{escape(model)}</small>' if model else "")
    fits = f'<span title="{escape(", ".join(line.fits))}">{words(short_fits(line.fits))}</span>' if line.fits else ""
    return [number, SIGNS[kind_of(line)], name, escape(line.layout), fits, escape(line.problem or line.remark)]


def short_fits(fits: Collection[str]) -> str:
    """Return the models of `fits`, titles of architectures, with a complete kind or family under one name."""
    if len(fits) == len(ARCHITECTURES):
        return t("every model")
    left = dict.fromkeys(fits)
    named: list[str] = []
    groups = [
        *((title, [a.title for a in ARCHITECTURES.values() if a.kind == kind]) for kind, title in _KIND_TITLES.items()),
        *((family.title, [size.title for size in family.sizes]) for family in FAMILIES if len(family.sizes) > 1),
    ]
    for title, members in groups:
        if set(members) <= left.keys():
            named.append(title)
            left = dict.fromkeys(other for other in left if other not in members)
    named += left
    more = len(named) - _NAMED
    return ", ".join(named) if more <= 0 else f"{', '.join(named[:_NAMED])} +{more}"
