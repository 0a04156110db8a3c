"""The tags of a prompt whose block weights a grid sets."""

from __future__ import annotations

from collections.abc import Mapping

from lbw.core.errors import TagError, quote
from lbw.core.tag import LoraRequest, find_tags, requests_in
from lbw.core.texts import t

from .cells import CHANGED, COMPLEMENT, Cell

_EXAMPLE = t("write it in the tag of the LoRA to analyze: <lora:name:1:lbw=XYZ>")


def tags_for_cells(prompt: str) -> list[LoraRequest]:
    """Return the requests of `prompt` that say XYZ or ZYX.

    Raises:
        TagError: there is none.
    """
    requests = requests_in(prompt, {})
    found = [r for r in requests if r.weights in (CHANGED, COMPLEMENT) or r.elements == CHANGED]
    if not found:
        raise TagError(t("no tag with lbw=XYZ in the prompt; {example}", example=_EXAMPLE))
    return found


def tag_to_analyze(prompt: str) -> LoraRequest:
    """Return the one request of `prompt` whose block weights say XYZ.

    Raises:
        TagError: none does, or several do.
    """
    found = [request for request in tags_for_cells(prompt) if request.weights == CHANGED]
    if len(found) != 1:
        if not found:
            raise TagError(t("no tag with lbw=XYZ in the prompt; {example}", example=_EXAMPLE))
        raise TagError(t("{count} tags with lbw=XYZ in the prompt; {example}", count=len(found), example=_EXAMPLE))
    return found[0]


def lora_looked_at(prompt: str) -> str | None:
    """Return the name of the LoRA whose block weights in `prompt` say XYZ, else of its first one; None if it has none.

    Raises:
        TagError: a tag cannot be understood.
    """
    requests = requests_in(prompt, {})
    asked = [request for request in requests if request.weights == CHANGED] or requests
    return asked[0].name if asked else None


def with_tag_of(first: str, prompt: str) -> str:
    """Return `prompt` with the tag of `first` that is looked at, which it gets at its end where it has no such tag.

    Raises:
        TagError: it looks at another LoRA, or at several.
    """
    asked = tag_to_analyze(first)
    mine = [request for request in requests_in(prompt, {}) if request.weights == CHANGED]
    if not mine:
        tags = [match[0] for match in find_tags(first) if request_of(match[0]).weights == CHANGED]
        return f"{prompt.rstrip()} {tags[0]}"
    if [request.name for request in mine] != [asked.name]:
        raise TagError(
            t(
                "{text} analyzes another LoRA than {name}; an analysis is for one LoRA",
                text=quote(prompt),
                name=quote(asked.name),
            )
        )
    return prompt


def request_of(tag: str) -> LoraRequest:
    """Return the request of a text that is one tag."""
    return requests_in(tag, {})[0]


def cell_presets(cell: Cell) -> dict[str, str]:
    """Return the presets that XYZ and ZYX are for the pictures of `cell`."""
    return {CHANGED: cell.weights, COMPLEMENT: cell.complement}


def cell_elements(cell: Cell, elements: Mapping[str, str]) -> dict[str, str]:
    """Return the elemental preset that XYZ is for the pictures of `cell`: what it was, and then the cell's rules."""
    if not cell.elements:
        return {}
    return {CHANGED: ",".join(filter(None, (elements.get(CHANGED), cell.elements)))}
