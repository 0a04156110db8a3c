"""What an analysis, a plot or a picture is asked for: every option once, with its type, default, bounds and meaning.

The script's arguments, the page's fields, the command line's options and the API's model are made from these
definitions, or checked by them. A new option is a new field here, and a control on the page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from lbw.core import limits
from lbw.core.errors import TagError, WeightsError, quote
from lbw.core.numbers import parse_number
from lbw.core.texts import t

from .cells import AUTO, parse_span, plain_number, whole_number
from .measure import Mask, picture_mask, rectangle_mask
from .prompt import with_tag_of

BLACK, WHITE = t("black"), t("white")
FULL, QUICK = "full", "quick"
RANDOM = -1
"""The seed that stands for one that is drawn."""
LARGEST_MEAN = 1_000
"""Percent: of the predicted noise, of which a quick scan tells, more can change than there was."""


@dataclass(frozen=True)
class Option:
    """What is known of one option.

    label: as pages show it; the predecessor's, where it has one. meaning: a sentence without its full stop.
    flag: on the command line, empty where it has none of its own. low, high: bounds of a number. allowed: all that it
    may be, where that is a list.
    """

    label: str
    meaning: str
    flag: str = ""
    low: float | None = None
    high: float | None = None
    allowed: tuple[str, ...] = ()
    name: str = ""
    default: Any = None
    type: str = "str"

    def read(self, value: Any, named: str = "") -> Any:
        """Return `value`, text or what it stands for, as the option holds it.

        named: how the user knows the option; its label if not given.

        Raises:
            WeightsError: the option cannot be that.
        """
        called = named or self.label
        if self.type == "int":
            assert self.low is not None
            assert self.high is not None
            return whole_number(value, called, int(self.low), int(self.high))
        if self.type.startswith("float"):
            return self._number(value, called)
        if self.type == "bool":
            return value is True or str(value).strip().lower() in ("true", "1", "yes", "on")
        if self.type == "tuple[str, ...]":
            lines = value.splitlines() if isinstance(value, str) else map(str, value)
            return tuple(line for line in lines if line.strip())
        text = str(value)
        if self.allowed:
            chosen = next((choice for choice in self.allowed if choice == text.strip().lower()), None)
            if chosen is None:
                asked = {"field": called, "text": quote(text)}
                allowed = " or ".join(self.allowed)
                raise WeightsError(t("{field} {text} is not valid; it can be {allowed}", allowed=allowed, **asked))
            return chosen
        return text

    def _number(self, value: Any, called: str) -> float:
        number = plain_number(value, called, f"{self.default or 1:g}")
        if (self.low is not None and number < self.low) or (self.high is not None and number > self.high):
            bounds = {"number": f"{number:g}", "low": f"{self.low:g}", "high": f"{self.high:g}"}
            raise WeightsError(t("{field} {number} is out of range; it can be {low} to {high}", field=called, **bounds))
        return number


def option(default: Any, label: str, meaning: str, flag: str = "", **bounds: Any) -> Any:
    """Return a field of a request; `bounds` are those of `Option`."""
    return field(default=default, metadata={"option": Option(label, meaning, flag, **bounds)})


R = TypeVar("R", bound="PictureRequest")


@dataclass(frozen=True)
class PictureRequest:
    """A picture: what the WebUIs call the generation parameters, under their names."""

    prompt: str = option("", t("Prompt"), "the prompt with its tags")
    negative_prompt: str = option("", t("Negative prompt"), "what the pictures should not show", "--negative")
    seed: int = option(RANDOM, t("Seed"), "-1 for a random one", "--seed", low=-1, high=limits.SEED)
    steps: int = option(20, t("Steps"), "sampling steps", "--steps", low=1, high=limits.STEPS)
    width: int = option(512, t("Width"), "in pixels", low=8, high=limits.PICTURE_SIDE)
    height: int = option(512, t("Height"), "in pixels", low=8, high=limits.PICTURE_SIDE)
    cfg_scale: float = option(
        7.0, t("CFG scale"), "how closely to follow the prompt", "--cfg", low=-limits.GUIDANCE, high=limits.GUIDANCE
    )
    sampler_name: str = option("", t("Sampler"), "for the pictures; empty if the host has only one")

    _cached: ClassVar[dict[type, dict[str, Option]]] = {}

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Return all options by the names of their fields."""
        if cls not in cls._cached:
            cls._cached[cls] = {
                one.name: replace(one.metadata["option"], name=one.name, default=_default(one), type=str(one.type))
                for one in fields(cls)
                if "option" in one.metadata
            }
        return cls._cached[cls]

    @classmethod
    def option(cls, name: str) -> Option:
        """Return one option."""
        return cls.options()[name]

    @classmethod
    def read(cls: type[R], values: Mapping[str, Any], base: R | None = None, by_flag: bool = False) -> R:
        """Return the request that `values` describe, by the names of the fields, as somebody wrote them.

        What is missing, None or empty is as in `base`, or has its default; other names are left aside. by_flag: errors
        name an option as the command line does.

        Raises:
            WeightsError: an option cannot be what it is given.
        """
        options = cls.options()
        given = {
            name: options[name].read(value, options[name].flag if by_flag else "")
            for name, value in values.items()
            if name in options and value is not None and (value != "" or options[name].default == "")
        }
        own = {one.name for one in fields(cls)} - options.keys()
        others = {name: value for name, value in values.items() if name in own and value is not None}
        made = replace(base, **given, **others) if base is not None else cls(**given, **others)
        made.check(by_flag)
        return made

    def check(self, by_flag: bool = False) -> None:
        """Check what can be checked without a model, before anything is done for it.

        Raises:
            TagError: a prompt is too long. WeightsError: an option is out of range, or is not valid.
        """
        for what, text in ((t("the prompt"), self.prompt), (t("the negative prompt"), self.negative_prompt)):
            limits.check_length(text, limits.PROMPT_CHARACTERS, what, TagError)
        for name, known in self.options().items():
            value = getattr(self, name)
            if value is not None and known.type != "tuple[str, ...]":
                known.read(value, known.flag if by_flag else "")

    def plain(self) -> dict[str, Any]:
        """Return the options as plain data, from which `read` makes the request again."""
        plain = {name: getattr(self, name) for name in self.options()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


@dataclass(frozen=True)
class AnalysisRequest(PictureRequest):
    """An analysis: a prompt with `lbw=XYZ` at the LoRA to look at, and how to look at it.

    mask: the region as a grayscale picture, (height, width), light inside; None if `region` is used, or for everywhere.
    """

    mode: str = option(
        FULL, t("Scan"), "full renders a picture for each block; quick only compares the model's predictions", "--mode",
        allowed=(FULL, QUICK),
    )  # fmt: skip
    range: str = option("0,1", t("Range"), "the weight of the analyzed block, and that of all others", "--range")
    blocks: str = option(AUTO, t("Blocks"), "auto, 12ALL, or for example IN04-IN08,OUT01", "--blocks")
    seeds: int = option(
        1, t("number of seed"), "how many seeds, each with its own source picture", "--seeds", low=1, high=limits.SEEDS
    )
    more_prompts: tuple[str, ...] = option(
        (), t("More prompts"), "analyze these too; those without the tag get that of the first", "--more-prompts"
    )
    threshold: int = option(
        20, t("difference threshold"), "a color value counts as changed if it differs by more than this, 0 to 255",
        "--threshold", low=0, high=255,
    )  # fmt: skip
    diff_color: str = option(
        BLACK, t("diff image color"), "background of the difference images", "--diff", allowed=(BLACK, WHITE)
    )
    swap_axes: bool = option(False, t("change X-Y"), "blocks in columns", "--swap-axes")
    region: str = option(
        "",
        t("Region"),
        "the rectangle to look at: left,top,right,bottom in percent, for example 25,0,75,50",
        "--region",
    )
    needed: float | None = option(
        None, t("Needed at least"),
        "suggest keeping blocks with at least this mean percentage (default: half of the largest)",
        "--needed", low=0, high=LARGEST_MEAN,
    )  # fmt: skip
    not_needed: float | None = option(
        None, t("Not needed at most"),
        "suggest dropping blocks with at most this mean percentage (default: a tenth of the largest)",
        "--not-needed", low=0, high=LARGEST_MEAN,
    )  # fmt: skip
    at: str = option(
        "0.3", "At", "quick scan: at which points of the sampling to compare, as fractions of the steps", "--at"
    )
    fresh: bool = option(False, t("Render again"), "render again what earlier runs have finished", "--fresh")
    mask: NDArray[np.uint8] | None = field(default=None, compare=False, repr=False)

    def check(self, by_flag: bool = False) -> None:
        """See `PictureRequest.check`."""
        super().check(by_flag)
        parse_span(self.range, self.options()["range"].flag if by_flag else t("Range"))
        _shares(self.at, self.option("at").flag if by_flag else "At")
        if len(self.more_prompts) >= limits.PROMPTS:
            counts = {"count": len(self.more_prompts) + 1, "most": limits.PROMPTS}
            raise WeightsError(t("{count} prompts are too many; the limit is {most}", **counts))
        if self.region.strip():
            rectangle_mask(self.region, 100, 100)

    @property
    def prompts(self) -> tuple[str, ...]:
        """All prompts, each once: the first is the empty text, which stands for `prompt`.

        Raises:
            TagError: one has another tag with `lbw=XYZ` than the first.
        """
        others = (with_tag_of(self.prompt, text) for text in self.more_prompts if text.strip())
        return tuple(dict.fromkeys(("", *(text for text in others if text != self.prompt))))

    @property
    def shares(self) -> tuple[float, ...]:
        """Where on the way from noise to picture a quick scan asks, as shares of the steps."""
        return _shares(self.at)

    @property
    def span(self) -> tuple[float, float]:
        """The weight of the block that is looked at, and that of all others."""
        return parse_span(self.range)

    @property
    def is_quick(self) -> bool:
        """Whether this is a quick scan, which renders no pictures."""
        return self.mode == QUICK

    def mask_of(self, remarks: list[str]) -> Callable[[int, int], Mask] | None:
        """Return what gives the region in pictures of a width and a height; None to look everywhere.

        remarks: gets what there is to say about the mask.
        """
        mask, rectangle = self.mask, self.region
        if rectangle.strip():
            return lambda width, height: rectangle_mask(rectangle, width, height)
        if mask is None:
            return None
        painted = mask

        def fitted(width: int, height: int) -> Mask:
            made, remark = picture_mask(painted, width, height)
            if remark and remark not in remarks:
                remarks.append(remark)
            return made

        return fitted


@dataclass(frozen=True)
class PlotRequest(PictureRequest):
    """An XYZ plot: a prompt with `lbw=XYZ` or `lbwe=XYZ` at the LoRAs that the axes change."""

    x_type: str = option("none", t("X Types"), "what the X axis changes")
    x_values: str = option("", t("X Values"), "its values, separated by commas")
    y_type: str = option("none", t("Y Types"), "what the Y axis changes")
    y_values: str = option("", t("Y Values"), "its values, separated by commas")
    z_type: str = option("none", t("Z Types"), "what changes from grid to grid")
    z_values: str = option("", t("Z Values"), "its values, separated by commas")
    fresh: bool = option(False, t("Render again"), "render again what earlier runs have finished", "--fresh")

    def axis(self, name: str) -> tuple[str, str]:
        """Return the type and the values of the axis `x`, `y` or `z`."""
        return getattr(self, f"{name}_type"), getattr(self, f"{name}_values")


def _shares(text: str, called: str = "At") -> tuple[float, ...]:
    """Return shares of the steps of a picture, each from 0, the first step, to below 1.

    Raises:
        WeightsError: they are none.
    """
    found = [parse_number(part) for part in text.split(",")]
    shares = tuple(share for share in found if share is not None and 0 <= share < 1)
    if len(shares) != len(found):
        raise WeightsError(
            t(
                "{field} {text} is not a fraction of the steps; write for example 0.3, or 0.1,0.4",
                field=called,
                text=quote(text),
            )
        )
    return shares


def _default(one: Field[Any]) -> Any:
    return None if one.default is MISSING else one.default
