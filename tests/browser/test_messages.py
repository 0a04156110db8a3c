"""Messages of the server in the page's language, with the names and numbers that they hold, in a browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import words

from .server import ROOT

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
TEMPLATES = sorted(text for text in words.texts() if words.placeholders(text) and text != "{place}: {message}")


def table(language: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((ROOT / "localizations" / f"{language}.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def show(open_page: Callable[[str], Any]) -> Callable[..., Any]:
    """Open a page with `html` in a language, None for English."""

    def shown(html: str, language: str | None = "ja_JP") -> Any:
        page = open_page("about:blank")
        page.set_content(html)
        if language is not None:
            page.evaluate("words => { window.localization = words; }", table(language))
        page.add_script_tag(content=(ROOT / "javascript" / "lbw_messages.js").read_text(encoding="utf-8"))
        return page

    return shown


@pytest.mark.parametrize("language", ["ja_JP", "ko_KR", "pt_BR", "zh_CN", "zh_TW"])
def test_every_message_is_told_from_all_others_by_what_it_says_itself(show: Callable[..., Any], language: str) -> None:
    page = show("", language)
    values = {
        text: {name: "1,234" if name in ("count", "most") else f"<{name}>" for name in words.placeholders(text)}
        for text in TEMPLATES
    }
    assert len(TEMPLATES) > 50
    english = [text.format(**values[text]) for text in TEMPLATES]
    meant = [table(language)[text].format(**values[text]) for text in TEMPLATES]
    assert page.evaluate("all => all.map(text => lbwMessages.translated(text))", english) == meant


def test_a_message_within_a_message_is_translated_too(show: Callable[..., Any]) -> None:
    comment = 'LoRA Block Weight: LoRA "a": unknown preset "NOPE"; did you mean "NONE"?'
    page = show(f"<p class='comments'>{comment}<br>LoRA Block Weight: what nobody knows</p><p id='other'>{comment}</p>")
    words_of = page.locator(".comments")
    expect(words_of).to_contain_text(
        'LoRA Block Weight: LoRA "a": プリセット "NOPE" はありません。"NONE" のことですか?'
    )
    expect(words_of).to_contain_text("LoRA Block Weight: what nobody knows")
    expect(page.locator("#other")).to_have_text(comment)


def test_a_message_is_read_as_what_knows_most_of_it(show: Callable[..., Any]) -> None:
    page = show('<p class=\'lbw-text\'>row 2, "my: own": unknown architecture "sdx"; did you mean sdxl?</p>', "pt_BR")
    expect(page.locator("p")).to_have_text('linha 2, "my: own": arquitetura desconhecida: "sdx"; você quis dizer sdxl?')


def test_what_holds_no_message_stays_as_it_is(show: Callable[..., Any]) -> None:
    page = show("<table class='lbw-table'><tr><td>style: mine</td><td>style: stopped</td></tr></table>", "zh_CN")
    expect(page.locator("td")).to_have_text(["style: mine", "style：已停止"])


def test_the_label_of_a_field_is_told_from_what_was_written_in_it(show: Callable[..., Any]) -> None:
    page = show("<p class='lbw-text'>Fill value \"1 or so\" is not a number; write for example 0.5</p>")
    expect(page.locator("p")).to_have_text('補完値 "1 or so" は数値ではありません。0.5 のように書いてください')


def test_a_message_that_comes_later_is_translated_with_signs_of_patterns_in_its_names(show: Callable[..., Any]) -> None:
    page = show("<main></main>")
    page.evaluate(
        """() => {
            const message = document.createElement("div");
            message.className = "lbw-message";
            message.innerHTML = "<span>✗</span> <span class='lbw-text'></span>";
            message.lastChild.textContent = 'LoRA "$1 (.*) {name}" was not found';
            document.querySelector("main").append(message);
        }"""
    )
    expect(page.locator(".lbw-message")).to_have_text('✗ LoRA "$1 (.*) {name}" が見つかりません')


def test_an_english_page_shows_messages_as_they_are(show: Callable[..., Any]) -> None:
    page = show("<div class='lbw-message'><span class='lbw-text'>LoRA x was not found</span></div>", None)
    expect(page.locator(".lbw-message")).to_have_text("LoRA x was not found")
