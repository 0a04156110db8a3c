"""How a message reaches the user: under the image, in the console, in the API's answer, or as an end of it all."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, NoReturn

from lbw.core.errors import LbwError
from lbw.hosts.unknown import has_loras
from lbw.ui.markup import BAD, Text, message_view

from . import generation

TITLE = "LoRA Block Weight"
WARNINGS = "LBW warnings"
log = logging.getLogger("lbw")


def tell(p: Any, texts: Iterable[str]) -> None:
    """Show `texts` under the images of the generation `p`, and in the console; each once."""
    told = generation.of(p).told
    for text in texts:
        if text in told:
            continue
        told[text] = None
        log.warning("%s: %s", TITLE, text)
        if hasattr(p, "comment"):
            p.comment(f"{TITLE}: {text}")


def note(p: Any, texts: Iterable[str]) -> None:
    """Show `texts`, which are no warnings, under the images of the generation `p`, and in the console."""
    for text in texts:
        log.info("%s: %s", TITLE, text)
        if hasattr(p, "comment"):
            p.comment(f"{TITLE}: {text}")


def host_notice(name: str) -> str:
    """Return HTML that says that block weights do nothing on the WebUI `name`, and what to do about it.

    Empty where `name` is, as it is for a WebUI that is known.
    """
    if not name:
        return ""
    if has_loras():
        text: Text = (
            "Block weights do nothing on this WebUI:", name, "is none that this extension knows.",
            "LoRAs are applied without them. Look for an update of this extension; if there is none, report this line "
            "to its authors. Presets, the sliders at a tag and the explanation of a tag work as ever.",
        )  # fmt: skip
    else:
        text = (
            "Block weights do nothing on this WebUI:", name,
            "has not loaded its own extension for LoRAs. Enable it under Extensions, and restart the WebUI.",
        )  # fmt: skip
    return message_view(text, BAD)


def answer(p: Any, processed: Any) -> None:
    """Put what was told into the API's answer: `info`, `extra_generation_params`; not into infotexts.

    The WebUI's answer shares `extra_generation_params` with `p`, and other extensions ask for one amid a generation.
    """
    told = generation.of(p).told
    if told:
        processed.extra_generation_params = {**processed.extra_generation_params, WARNINGS: "\n".join(told)}


def stop(p: Any, texts: Iterable[str]) -> None:
    """End the generation `p` with `texts`.

    The host swallows what is raised while it activates LoRAs, so the error is raised by what comes next: the
    computation of the text conditioning.
    """
    text = "; ".join(texts)

    def fail(*_: Any, **__: Any) -> NoReturn:
        raise LbwError(f"{TITLE}: {text}")

    p.setup_conds = p.calculate_hr_conds = fail
