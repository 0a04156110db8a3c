"""Sampling steps: in which steps a LoRA acts on the denoiser."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import TagError, quote
from .numbers import format_number, parse_number
from .texts import t


@dataclass(frozen=True)
class Step:
    """A sampling step, counted from 1, or a percentage of the steps of a pass."""

    value: float
    percent: bool = False

    def of(self, steps: int) -> float:
        """Return the step's number in a pass of `steps` steps; a percentage may fall between two steps."""
        return steps * self.value / 100 if self.percent else self.value

    def __str__(self) -> str:
        return format_number(self.value) + ("%" if self.percent else "")


@dataclass(frozen=True)
class Span:
    """`start`: no effect before that step. `stop`: no effect from that step on. None: no such bound."""

    start: Step | None = None
    stop: Step | None = None

    def holds(self, step: int, steps: int) -> bool:
        """Return whether a LoRA is active in `step` (from 1) of a pass of `steps` steps."""
        if self.start is not None and step < self.start.of(steps):
            return False
        return self.stop is None or step < self.stop.of(steps)

    def check(self, steps: int | None = None) -> None:
        """Raise TagError if start comes after stop, as far as that is known with or without the number of `steps`."""
        if self.start is None or self.stop is None:
            return
        if steps is None and self.start.percent != self.stop.percent:
            return
        if self.start.of(steps or 100) > self.stop.of(steps or 100):
            raise TagError(
                t(
                    "start={start} comes after stop={stop}; start must be smaller",
                    start=self.start,
                    stop=self.stop,
                )
            )


def parse_step(key: str, text: str) -> Step:
    """Return the step that `text` writes: a whole number, or a percentage such as `30%`.

    Raises:
        TagError: it is neither.
    """
    text = text.strip()
    percent = text.endswith("%")
    value = parse_number(text[:-1] if percent else text)
    if value is None or value < 0 or (percent and value > 100) or (not percent and value != int(value)):
        raise TagError(
            t("{key}={text} is not a step; write for example {key}=5, or {key}=30% (0% to 100%)", key=key, text=text)
        )
    return Step(value, percent)


def parse_span(start: str | None, stop: str | None, step: str | None) -> Span:
    """Return the span of `start=`, `stop=` and `step=A-B`; each is None if the tag does not have it.

    Raises:
        TagError: a text is not a step, or start comes after stop.
    """
    if step is not None:
        first, dash, last = step.partition("-")
        if not dash:
            raise TagError(t("step={text} is not a range of steps; write for example step=5-10", text=quote(step)))
        start, stop = first, last
    span = Span(
        parse_step("start", start) if start is not None else None,
        parse_step("stop", stop) if stop is not None else None,
    )
    span.check()
    return span
