"""Hundreds of random tags and interrupted pictures in a row: nothing stays behind, nothing drifts.

LBW_SOAK          how many random pictures, by default 30
LBW_SOAK_SEED     the seed of the tags, by default a new one; failures name it
"""

from __future__ import annotations

import collections
import os
import random
import secrets
from dataclasses import dataclass, field
from typing import Any

import pytest

from .checkpoint import Checkpoint
from .conftest import PROMPT, Files
from .tags import TagMaker
from .webui import Answer, RequestError, WebUI, same

pytestmark = pytest.mark.live
CHECK_EVERY = 10
ODDS_OF_AN_INTERRUPT = 0.1
ODDS_OF_A_HIRES_PASS = 0.06
ODDS_OF_A_REPEAT = 0.15
FAILURES_AT_MOST = 10


@dataclass(frozen=True)
class Picture:
    """What was asked for, and what came."""

    number: int
    prompt: str
    payload: dict[str, Any]
    answer: Answer


@dataclass
class Soak:
    """A long row of pictures: what was done so far, and what went wrong."""

    webui: WebUI
    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)

    def ask(self, number: int, prompt: str, payload: dict[str, Any], interrupt_at: int | None = None) -> Answer | None:
        """The answer; None if the WebUI returned an error, which is noted as a failure."""
        try:
            if interrupt_at is not None:
                return self.webui.interrupted(prompt, interrupt_at, **payload)
            return self.webui.render(prompt, fresh=True, **payload)
        except RequestError as error:
            self.fail(number, f"{prompt} {payload} interrupted at {interrupt_at}: {str(error)[:500]}")
            return None

    def compare(self, number: int, what: str, expected: Answer, got: Answer | None) -> None:
        """Notes whether the two pictures are the same bit for bit."""
        if got is not None and same(expected, got):
            self.counts[f"{what}, identical"] += 1
        elif got is not None:
            self.fail(number, f"{what}, differs: {expected} became {got}, block weights {got.lbw!r}")

    def fail(self, number: int, message: str) -> None:
        self.failures.append(f"picture {number}: {message}")


def kinds_that_load(webui: WebUI, files: Files, none: Answer) -> dict[str, str]:
    """The name of each kind's LoRA that this host applies."""
    return {
        kind: name for kind, name in files.kinds.items() if not same(webui.render(f"{PROMPT} <lora:{name}:1>"), none)
    }


def test_random_tags_and_interrupts_leave_nothing_behind_and_give_their_picture_again(
    webui: WebUI, files: Files, checkpoint: Checkpoint, none: Answer
) -> None:
    number_of_pictures = int(os.environ.get("LBW_SOAK", "30"))
    seed = int(os.environ.get("LBW_SOAK_SEED", secrets.randbelow(10**6)))
    draw = random.Random(seed)
    kinds = kinds_that_load(webui, files, none)
    names = [*kinds.values(), files.both, files.unet, files.text, files.mapped["diffusers"]]
    maker = TagMaker(draw, names, list(checkpoint.layouts.values()))
    soak, earlier = Soak(webui), list[Picture]()
    for number in range(1, number_of_pictures + 1):
        prompt, payload = maker.prompt(PROMPT), maker.payload()
        if draw.random() < ODDS_OF_AN_INTERRUPT:
            soak.counts["interrupted"] += 1
            soak.ask(number, prompt, {**payload, "steps": 40}, interrupt_at=draw.randint(0, 6))
        else:
            if draw.random() < ODDS_OF_A_HIRES_PASS:
                soak.counts["with a hires pass"] += 1
                payload |= webui.hires
            answer = soak.ask(number, prompt, payload)
            if answer:
                soak.counts["without effect"] += same(answer, webui.render(PROMPT, **payload))
                earlier.append(Picture(number, prompt, payload, answer))
        if earlier and draw.random() < ODDS_OF_A_REPEAT:
            old = draw.choice(earlier)
            again = soak.ask(number, old.prompt, old.payload)
            soak.compare(number, "an earlier tag again", old.answer, again)
        if number % CHECK_EVERY == 0 or number == number_of_pictures:
            soak.compare(number, "without LoRA", none, soak.ask(number, PROMPT, {}))
        if len(soak.failures) >= FAILURES_AT_MOST:
            break
    told = ", ".join(f"{count} {what}" for what, count in sorted(soak.counts.items()))
    webui.notes.append(f"{number} random pictures, seed {seed}, of {', '.join(kinds)}: {told}")
    to_repeat = f"to run it again: LBW_SOAK={number_of_pictures} LBW_SOAK_SEED={seed}"
    assert not soak.failures, "\n".join([to_repeat, *soak.failures])
    assert soak.counts["without effect"] < number_of_pictures / 2, "most tags did nothing: nothing was tested"
