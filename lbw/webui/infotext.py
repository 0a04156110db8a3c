"""Infotext: the numbers that were used go with the image, and come back when it is pasted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lbw.core.plan import ResolvedLora
from lbw.core.tag import fill_in, find_entries

FIELD = "LBW"
HIRES_FIELD = "LBW hires"


def write(p: Any, loras: Sequence[ResolvedLora], hires: bool) -> None:
    """Put what `loras` resolved to into the infotext of the pass of `p`."""
    params = p.extra_generation_params
    text = "".join(f"<{entry}>" for entry in (lora.entry for lora in loras) if entry)
    if not hires:
        params.pop(HIRES_FIELD, None)
    if hires and text == params.get(FIELD, ""):
        text = ""
    if text:
        params[HIRES_FIELD if hires else FIELD] = text
    else:
        params.pop(HIRES_FIELD if hires else FIELD, None)


def pasted(infotext: str, params: dict[str, Any]) -> None:
    """Replace the block weights in the prompts of a pasted infotext by the numbers that it carries."""
    params["Prompt"] = prompt_of(params) or params.get("Prompt", "")
    hires = params.get("Hires prompt")
    if hires:
        params["Hires prompt"] = fill_in(hires, find_entries(params.get(HIRES_FIELD) or params.get(FIELD) or ""))


def prompt_of(params: dict[str, Any]) -> str | None:
    """Return the prompt of a pasted infotext with the numbers that it carries; None where it carries none."""
    if not params.get(FIELD):
        return None
    return fill_in(params.get("Prompt", ""), find_entries(params[FIELD]))
