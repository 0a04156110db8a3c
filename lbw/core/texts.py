"""The mark of texts that users read in their own language.

`t("LoRA {name} was not found", name=…)` is that sentence in English. The literal is also the key under which
`localizations/` has it: tests collect every one from the code, and the page, which is told whole sentences, finds the
one that a sentence was made of, and what stood in the place of each name.
"""

from __future__ import annotations


def t(text: str, /, **values: object) -> str:
    """Return `text` with `values` in the places of their names. A text without values is returned as it is."""
    return text.format(**values) if values else text
