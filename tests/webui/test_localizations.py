"""The files of `localizations/`: every text of the code, and nothing else, in each language.

Texts are marked with `t` where they stand (`lbw/core/texts.py`); those with names and numbers in them are put into the
page's language by `javascript/lbw_messages.js`. What the panels say is not marked yet: it comes in parts, words apart
from numbers and names (`lbw/ui/markup.py`), because the WebUI looks up whole texts only. Out of scope are errors that
hold values and are not marked, and parts of f-strings but for those that `tests/words.py` lists in `MORE`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import words

FOLDER = words.ROOT / "localizations"
LANGUAGES = ("ja_JP", "ko_KR", "pt_BR", "zh_CN", "zh_TW")
NAMED_BY_GUIDES = (
    "diff image color", "change X-Y", "difference threshold", "Range", "Blocks", "number of seed", "Save Presets",
    "Reload Tags",
)  # fmt: skip


def no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), f"twice: {sorted({key for key in keys if keys.count(key) > 1})}"
    return dict(pairs)


def read(language: str) -> dict[str, Any]:
    text = (FOLDER / f"{language}.json").read_text(encoding="utf-8")
    return dict(json.loads(text, object_pairs_hook=no_key_twice))


def test_there_are_the_five_languages_and_no_other_file() -> None:
    """The WebUI merges files of one name, so these are the names that the packs of each language have."""
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(f"{name}.json" for name in LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_is_a_flat_object_of_texts(language: str) -> None:
    table = read(language)
    assert not [key for key, value in table.items() if not isinstance(value, str) or not value.strip()]
    assert not [key for key, value in table.items() if value != value.strip() or key != key.strip()]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_every_text_of_the_code(language: str) -> None:
    table = read(language)
    missing = {text: "" for text in words.texts() if text not in table}
    assert not missing, f"localizations/{language}.json lacks, to be translated:\n{words.lines(missing)}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_no_text_that_the_code_lacks(language: str) -> None:
    orphans = [key for key in read(language) if key not in words.texts()]
    assert not orphans, f"localizations/{language}.json has orphans:\n" + "\n".join(orphans)


def test_all_languages_have_the_same_texts_in_the_same_order() -> None:
    first = list(read(LANGUAGES[0]))
    assert all(list(read(language)) == first for language in LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_tags_signs_and_parentheses_of_a_text_are_kept(language: str) -> None:
    table = read(language)
    assert not [key for key, value in table.items() if words.tags(key) != words.tags(value)]
    for sign in ("✓", "✗", "lbw=", ".bak", "OUT00=1", "IN04-IN08", "Alt+L"):
        assert not [key for key, value in table.items() if (sign in key) != (sign in value)], sign
    settings = [key for key in table if key.startswith("(")]
    assert settings
    assert all(table[key].startswith("(") and table[key].endswith(")") for key in settings)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_values_of_a_text_stand_in_its_translation_too(language: str) -> None:
    table = read(language)
    assert {len(words.placeholders(key)) for key in table} >= {0, 1, 2}
    assert not [key for key, value in table.items() if words.placeholders(key) != words.placeholders(value)]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("label", NAMED_BY_GUIDES)
def test_a_field_that_guides_name_can_be_recognised(language: str, label: str) -> None:
    assert label in read(language)[label]


def test_what_the_search_cannot_follow_is_still_in_the_code() -> None:
    assert not words.stale()


def test_the_search_finds_texts_of_each_kind() -> None:
    """One of each kind: should the search break, the files would not be called complete."""
    found = words.texts()
    kinds = {
        "label": "difference threshold", "button": "Save Presets", "info": "of the step",
        "placeholder": "left,top,right,bottom in percent: measures changes inside and outside of it",
        "tab": "Make weights", "accordion": "Hints: reference weights", "title": "LoRA Block Weight",
        "setting": "On invalid block weights", "setting's remark": "(Alt+L always opens it)",
        "choice": "warn", "imported choice": "black", "tooltip": "Sets every slider to 0.", "heading": "architecture",
        "text beside code": "Write block weights in the prompt, as a preset name, as numbers or by block:",
        "word()": "as written below", "word() with a parenthesis": "Close (Esc)", "field()": "From step",
        "button()": "The LoRA applies uniformly", "WORDS": "not allowed in a tag", "STATES": "between zero and one",
        "message": "Nothing is running.", "message of a choice": "The prompt has no tag with XYZ.",
        "part of a message": "Accepted:", "part of a variable": "time left:", "part that is added": "not saved yet",
        "sentence and its kind":
            "Done: measured how much each block changes the predicted noise; no pictures were rendered.",
        "one and many": "problems", "title in HTML": "Go to this line", "verdict": "not needed", "layout": "one number",
        "remark of the check": "is ignored: a later preset has the same name", "its problem": "is not valid",
        "error of a panel": "There is no suggestion yet: press Analyze",
        "error of a room below": "the mask is empty; paint the region white and leave the rest black",
        "error with an example": "no tag with lbw=XYZ in the prompt; write it in the tag of the LoRA to analyze: "
        "<lora:name:1:lbw=XYZ>",
    }  # fmt: skip
    assert not {kind: text for kind, text in kinds.items() if text not in found}


def test_what_holds_a_value_is_a_text_to_translate_where_it_is_marked_and_nowhere_else() -> None:
    every = {text for path in words.python_files(["lbw"]) for text in words.marked(path)}
    assert not [text for text in words.texts() if "{" in text and text not in every]
    assert not {"IN04", "·", "/"} & set(words.texts())


def test_examples_are_not_translated() -> None:
    assert not {"MYSTYLE", "0,OUT00=1", "1", "–"} & set(words.texts())


def test_pieces_are_the_texts_between_tags_as_the_page_has_them() -> None:
    assert words.pieces("One <b>two</b> &amp; three: <code>&lt;lora:a&gt;</code><br> four") == [
        "One", "two", "& three:", "four",
    ]  # fmt: skip
