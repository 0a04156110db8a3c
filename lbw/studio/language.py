"""The page's language: the tables in `localizations/`, which the WebUIs use as well."""

from __future__ import annotations

import json
from pathlib import Path

from lbw.core.errors import FileError, LbwError, quote
from lbw.files.user_presets import ROOT, read_text

FOLDER = ROOT / "localizations"


def load_words(name: str, folder: Path = FOLDER) -> dict[str, str]:
    """Return the texts of the language `name`, for example `ja_JP`, by the English text.

    Raises:
        LbwError: there is no such language.
        FileError: its file cannot be read.
    """
    known = sorted(path.stem for path in folder.glob("*.json"))
    if name not in known:
        raise LbwError(f"unknown --language {quote(name)}; choose {', '.join(known)}")
    path = folder / f"{name}.json"
    try:
        return dict(json.loads(read_text(path)))
    except ValueError as error:
        raise FileError(f"{path} is not valid JSON: {error}") from error
