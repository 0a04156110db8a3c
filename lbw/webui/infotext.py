"""Infotext: records the numbers that were used, and restores them when it is pasted."""

from __future__ import annotations

from typing import Any

from lbw.core.tag import fill_in, find_entries

from .generation import Generation

FIELD = "LBW"
HIRES_FIELD = "LBW hires"


def write(generation: Generation, hires: bool) -> None:
    """Write the resolved LoRAs of a pass into the infotext of `generation`."""
    text = "".join(f"<{lora.entry}>" for lora in generation.loras if lora.entry)
    before = generation.infotext if hires else {}
    if hires and text == before.get(FIELD, ""):
        text = ""
    generation.infotext = {**before, HIRES_FIELD if hires else FIELD: text}
    _put(generation)


def give_back(generation: Generation) -> None:
    """Restore what `write` wrote for the surrounding generation: the two may share a table."""
    parent = generation.parent
    if parent is not None and _params(parent) is _params(generation):
        _put(parent)


def _put(generation: Generation) -> None:
    params = _params(generation)
    if params is None:
        return
    for field in (FIELD, HIRES_FIELD):
        if text := generation.infotext.get(field):
            params[field] = text
        else:
            params.pop(field, None)


def _params(generation: Generation) -> dict[str, str] | None:
    return getattr(generation.p(), "extra_generation_params", None)


def pasted(infotext: str, params: dict[str, Any]) -> None:
    """Replace the block weights in the prompts of a pasted infotext with its recorded numbers."""
    params["Prompt"] = prompt_of(params) or params.get("Prompt", "")
    hires = params.get("Hires prompt")
    if hires:
        params["Hires prompt"] = fill_in(hires, find_entries(params.get(HIRES_FIELD) or params.get(FIELD) or ""))


def prompt_of(params: dict[str, Any]) -> str | None:
    """Return the prompt of a pasted infotext with its recorded numbers; None if it has none."""
    if not params.get(FIELD):
        return None
    return fill_in(params.get("Prompt", ""), find_entries(params[FIELD]))
