"""Finding the LoRA that a user means among the names the host knows."""

from __future__ import annotations

from collections.abc import Collection

from .errors import did_you_mean, nearest, quote
from .texts import t

_ENDINGS = (".safetensors", ".ckpt", ".pt")


def bare_name(name: str) -> str:
    """Return `name` without its folders and file extension."""
    name = name.replace("\\", "/").rpartition("/")[2].strip()
    ending = next((ending for ending in _ENDINGS if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)]


def meant_name(name: str, known: Collection[str]) -> str | None:
    """Return the name in `known` that `name` means: the same, or the same apart from folder, extension and case.

    None if there is none, or more than one.
    """
    if name in known:
        return name
    bare = bare_name(name)
    if bare in known:
        return bare
    alike = [other for other in known if bare_name(other).casefold() == bare.casefold()]
    return alike[0] if len(alike) == 1 else None


def not_found(name: str, known: Collection[str]) -> str:
    """Return the message for a LoRA that does not exist, with the most similar names."""
    close = nearest(bare_name(name), known)
    return did_you_mean(t("LoRA {name} was not found", name=quote(name)), map(quote, close))
