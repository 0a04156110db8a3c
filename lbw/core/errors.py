"""The errors of this project, and the building blocks of their messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .texts import t


class LbwError(Exception):
    """Base of all errors of this project. Its text is a sentence for the user.

    Errors of the same type and text are equal, so that requests and plans that contain them can be compared.
    """

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and str(other) == str(self)

    def __hash__(self) -> int:
        return hash((type(self), str(self)))


class TagError(LbwError):
    """A tag that is not valid, as a whole or in part."""


class WeightsError(LbwError):
    """Block weights that are not valid or do not fit the LoRA."""


class PresetError(LbwError):
    """A preset that does not exist or is not valid."""


class FileError(LbwError):
    """A file that cannot be read or written, or is not of the expected format."""


class HostError(LbwError):
    """Something that the host cannot do with a LoRA."""


def quote(text: str, limit: int = 80) -> str:
    """Return `text` in quotes, on one line, cut to `limit` characters."""
    text = " ".join(text.split())
    return f'"{text[: limit - 1]}…"' if len(text) > limit else f'"{text}"'


_COMPARED = 100
"""Longest name that is compared with others; anything longer is not a mistyped name."""


def nearest(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` of `names` that resemble `name`; those that differ only in case come first."""
    import difflib  # here, because it is slow to import and few prompts need it

    if len(name) > _COMPARED:
        return []
    names = [other for other in dict.fromkeys(names) if len(other) <= _COMPARED]
    same = [n for n in names if n.lower() == name.lower()]
    lowered = {n.lower(): n for n in reversed(names)}
    close = [lowered[n] for n in difflib.get_close_matches(name.lower(), lowered, n=count, cutoff=0.5)]
    return list(dict.fromkeys(same + close))[:count]


def unknown_preset(name: str, names: Iterable[str], kind: str = "preset") -> PresetError:
    """Return the error for a preset that does not exist, with the most similar names."""
    quoted = quote(name)
    if kind == "preset":
        unknown = t("unknown preset {name}", name=quoted)
    else:
        unknown = t("unknown elemental preset {name}", name=quoted)
    return PresetError(did_you_mean(unknown, map(quote, nearest(name, names))))


def did_you_mean(message: str, names: Iterable[str]) -> str:
    """Return `message`, and behind it the question whether one of the first three of `names` is meant."""
    match list(names)[:3]:
        case [one]:
            return t("{message}; did you mean {one}?", message=message, one=one)
        case [one, two]:
            return t("{message}; did you mean {one} or {two}?", message=message, one=one, two=two)
        case [one, two, three]:
            return t("{message}; did you mean {one}, {two} or {three}?", message=message, one=one, two=two, three=three)
    return message


def listing(items: Sequence[str]) -> str:
    """Return `items` as text; if there are many, the middle is left out."""
    if len(items) <= 30:
        return ", ".join(items)
    return ", ".join([*items[:24], "…", *items[-3:]])


def some(items: Sequence[str], shown: int = 4) -> str:
    """Return the first few of `items` as text, and how many more there are."""
    names = ", ".join(items[:shown])
    more = len(items) - shown
    return t("{names} and {count} more", names=names, count=more) if more > 0 else names
