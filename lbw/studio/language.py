"""The page's language: the tables of `localizations/`, which the WebUIs have a translator for."""

from __future__ import annotations

import json
from pathlib import Path

from lbw.core.errors import FileError, LbwError, quote
from lbw.files.user_presets import ROOT, read_text

FOLDER = ROOT / "localizations"


def load_words(name: str, folder: Path = FOLDER) -> dict[str, str]:
    """Return the texts of the language `name`, for example `ja_JP`, by the English.

    Raises:
        LbwError: there is no such language.
        FileError: its file cannot be read.
    """
    known = sorted(path.stem for path in folder.glob("*.json"))
    if name not in known:
        raise LbwError(f"--language {quote(name)} is not known; there are {', '.join(known)}")
    path = folder / f"{name}.json"
    try:
        return dict(json.loads(read_text(path)))
    except ValueError as error:
        raise FileError(f"{path} is no JSON: {error}") from error
