"""How a message reaches the user: below the image, in the console, in the API response, or by ending the generation."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, NoReturn

from lbw.core.errors import LbwError
from lbw.core.texts import t
from lbw.hosts.unknown import has_loras
from lbw.ui.markup import BAD, message_view

from . import generation

TITLE = t("LoRA Block Weight")
WARNINGS = "LBW warnings"
log = logging.getLogger("lbw")


def tell(p: Any, texts: Iterable[str]) -> None:
    """Show `texts` below the images of the generation `p` and in the console, each once."""
    told = generation.of(p).told
    for text in texts:
        if text in told:
            continue
        told[text] = None
        log.warning("%s: %s", TITLE, text)
        if hasattr(p, "comment"):
            p.comment(f"{TITLE}: {text}")


def note(p: Any, texts: Iterable[str]) -> None:
    """Show `texts`, which are not warnings, below the images of the generation `p` and in the console."""
    for text in texts:
        log.info("%s: %s", TITLE, text)
        if hasattr(p, "comment"):
            p.comment(f"{TITLE}: {text}")


def host_notice(name: str) -> str:
    """Return HTML that says that block weights have no effect on the WebUI `name`, and what to do about it.

    Empty if `name` is empty, as for a known WebUI.
    """
    if not name:
        return ""
    if has_loras():
        texts = [
            t("Block weights have no effect on this WebUI: {name} is not known to this extension.", name=name),
            t(
                "LoRAs are applied without them. Check for an update of this extension; if there is none, report this "
                "line to its authors. Presets, the panel at the tag and the explanation of a tag still work."
            ),
        ]
    else:
        texts = [
            t(
                "Block weights have no effect on this WebUI: {name} has not loaded its built-in LoRA extension.",
                name=name,
            ),
            t("Enable it under Extensions and restart the WebUI."),
        ]
    return "".join(message_view(text, BAD) for text in texts)


def answer(p: Any, processed: Any) -> None:
    """Add the messages to the API response, in `info`, `extra_generation_params`, but not to infotexts.

    The response shares `extra_generation_params` with `p`, and other extensions request one during a generation.
    """
    told = generation.of(p).told
    if told:
        processed.extra_generation_params = {**processed.extra_generation_params, WARNINGS: "\n".join(told)}


def stop(p: Any, texts: Iterable[str]) -> None:
    """End the generation `p` with `texts`.

    The host swallows exceptions while it activates LoRAs, so the error is raised by the next step, the computation of
    the text conditioning.
    """
    text = "; ".join(texts)

    def fail(*_: Any, **__: Any) -> NoReturn:
        raise LbwError(f"{TITLE}: {text}")

    p.setup_conds = p.calculate_hr_conds = fail
