"""Random tags with block weights: every way of writing them, drawn from one seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

PRESETS = ("NONE", "ALL", "INS", "IND", "INALL", "MIDD", "OUTD", "OUTS", "OUTALL", "ALL0.5")
GROUPS = ("IN", "MID", "OUT", "BASE")
ELEMENTS = ("", "attn", "attn1", "NOT attn2", "to_v to_q", "ff_net")
SAMPLERS = ("Euler", "Heun", "Euler a")
ODDS_OF_A_WRONG_TAG = 0.05
WRONG = ("lbw=NOWHERE", "lbw=1,2,3", "lbw=0,IN99=1", "lbwe=NOWHERE", "lbw=0.5:start=soon")


class TagMaker:
    """Draws tags, prompts and how many steps a picture gets; the same ones for the same seed, names and layouts."""

    def __init__(self, draw: random.Random, names: Sequence[str], layouts: Sequence[Sequence[str]]) -> None:
        self._draw = draw
        self._names = names
        self._layouts = layouts

    def prompt(self, subject: str) -> str:
        """A prompt with one to three LoRAs, one of them perhaps twice."""
        tags = [self.tag(self._draw.choice(self._names)) for _ in range(self._draw.choice((1, 1, 2, 2, 3)))]
        if self._draw.random() < ODDS_OF_A_WRONG_TAG:
            tags.append(f"<lora:{self._draw.choice(self._names)}:1:{self._draw.choice(WRONG)}>")
        self._draw.shuffle(tags)
        return f"{subject} {''.join(tags)}"

    def payload(self) -> dict[str, Any]:
        """Steps and sampler of a picture."""
        return {"steps": self._draw.randint(1, 3), "sampler_name": self._draw.choice(SAMPLERS)}

    def tag(self, name: str) -> str:
        """One tag for this LoRA, its items in any order."""
        named = [*self._weights(), *self._rules(), *self._steps()]
        strengths = [self._strength()]
        form = self._draw.randrange(3)
        if form == 1:
            strengths.append(self._strength())
        elif form == 2:
            named += [f"te={self._strength()}", f"unet={self._strength()}"]
        self._draw.shuffle(named)
        return f"<lora:{':'.join([name, *strengths, *named])}>"

    def _number(self, low: float, high: float) -> str:
        return f"{self._draw.uniform(low, high):.2f}"

    def _strength(self) -> str:
        return self._draw.choice(("1", "1", "0.5", "0", self._number(-0.5, 1.2), self._number(-0.5, 1.2)))

    def _weight(self) -> str:
        return self._draw.choice(("0", "1", self._number(-0.5, 1.5)))

    def _blocks(self) -> str:
        """A block, a range or a group."""
        layout = self._draw.choice(self._layouts)
        first, last = sorted(self._draw.sample(range(len(layout)), 2))
        return self._draw.choice((layout[first], f"{layout[first]}-{layout[last]}", self._draw.choice(GROUPS)))

    def _weights(self) -> list[str]:
        """The items that give block weights: none, a preset, a number, a list, random entries, names of blocks."""
        layout = self._draw.choice(self._layouts)
        form = self._draw.randrange(7)
        if form == 0:
            return []
        if form == 1:
            return [f"lbw={self._draw.choice(PRESETS)}"]
        if form == 2:
            return [f"lbw={self._weight()}"]
        if form == 3:
            return [f"lbw={','.join(self._weight() for _ in layout)}"]
        if form == 4:
            return [f"lbw={','.join(self._draw.choice(('R', 'U', '0', '1')) for _ in layout)}"]
        if form == 5:
            entries = ",".join(self._draw.choice(("X", "X+0.2", "X-0.1", "0", "1")) for _ in layout)
            return [f"lbw={entries}", f"x={self._number(0, 1)}"]
        default = self._draw.choice(("", "0,", "1,", "MIDD,"))
        overrides = [f"{self._blocks()}={self._weight()}" for _ in range(self._draw.randint(1, 3))]
        return [f"lbw={default}{','.join(overrides)}"]

    def _rules(self) -> list[str]:
        """Rules for elements, written out in the tag, in one tag of four."""
        if self._draw.randrange(4):
            return []
        blocks = self._blocks()
        where = self._draw.choice(("", blocks if blocks not in GROUPS else ""))
        return [f"lbwe={where};{self._draw.choice(ELEMENTS)};{self._weight()}"]

    def _steps(self) -> list[str]:
        """When the LoRA is on, in every other tag."""
        start, stop = self._draw.randint(1, 3), self._draw.randint(3, 5)
        forms = ([f"start={start}"], [f"stop={stop - 1}"], [f"step={start}-{stop}"], ["start=50%"], ["stop=40%"])
        return self._draw.choice((*forms, *([] for _ in forms)))
