"""The files of `localizations/`: every text of the code, and nothing else, in each language.

Texts are marked with `t` where they stand (`lbw/core/texts.py`); those with names and numbers in them are put into the
page's language by `javascript/lbw_messages.js`.
"""

from __future__ import annotations

import json
from pathlib import Path
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


@pytest.mark.parametrize("path", sorted((words.ROOT / "lbw").rglob("*.py")), ids=lambda path: path.stem)
def test_what_a_file_shows_is_marked(path: Path) -> None:
    is_command = path.parent.name == "studio" and path.stem in words.COMMANDS
    assert not list(words.unmarked(path.read_text(encoding="utf-8"), is_command))


def test_a_text_without_a_mark_is_found() -> None:
    code = """
gr.Button("Save it")
gr.Button(value="Load it")
gr.Textbox("as it was", label="Its name", elem_id="name")
gr.Textbox(label="for nobody", visible=False)
raise WeightsError("this is wrong")
message_view(t("All is well."))
message_view("All is over.")
raise FileError(f"{path}: {error}") from error
raise FileError(f"{path} cannot be read") from error
raise HostError(t("no {what}", what=f"{one} and so on"))
raise HostError(t("nothing") if all else f"none of {len(all)} is there")
raise ValueError(f"{what} is for programmers")
"""
    assert [text for _, text in words.unmarked(code)] == [
        "Save it", "Load it", "Its name", "this is wrong", "All is over.", "… cannot be read", "… and so on",
        "none of … is there",
    ]  # fmt: skip


def test_a_mark_is_found_wherever_it_stands() -> None:
    code = """
A, B = t("one"), t("two {count} three", count=4)
f"<b>{t('four')}</b>"
OptionInfo(True, t("five")).info(t("six"))
"""
    assert sorted(words.marked(code)) == ["(six)", "five", "four", "one", "two {count} three"]


def test_a_script_s_texts_are_found() -> None:
    found = words.texts()
    kinds = {
        "word()": "as written below", "word() with a parenthesis": "Close (Esc)", "field()": "From step",
        "button()": "The LoRA applies uniformly", "WORDS": "not allowed in a tag", "STATES": "between zero and one",
    }  # fmt: skip
    assert not {kind: text for kind, text in kinds.items() if text not in found}


def test_examples_are_not_translated() -> None:
    assert not {"MYSTYLE", "0,OUT00=1", "1", "–"} & set(words.texts())
