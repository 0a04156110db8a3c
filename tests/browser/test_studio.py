"""The studio's page in a real browser: the panel at a tag, and the page in another language."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from .server import Server, free_port, serving
from .test_panels import expect, field, part, sync_api, tab

pytest.importorskip("diffusers")
pytest.importorskip("gradio")


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Serve the page in a language, English for an empty one, and return its address."""
    running: dict[str, tuple[Server, str]] = {}
    with ExitStack() as stack:

        def served(language: str) -> str:
            if language not in running:
                folder, port = tmp_path_factory.mktemp("studio"), free_port()
                module = ["tests.browser.studio_page", str(port), str(folder), language]
                server = stack.enter_context(serving(Path(sys.executable), module, folder / "page.log"))
                running[language] = server, server.answers(port)
            return running[language][1]

        yield served
        for server, _ in running.values():
            server.check()


@pytest.fixture
def visit(open_page: Callable[[str], Any], serve: Callable[[str], str]) -> Callable[..., sync_api.Page]:
    """Open the page in a language, and return it when it has loaded."""

    def come(language: str = "") -> sync_api.Page:
        page = open_page(serve(language))
        page.locator("#lbw_analyze_start[title]").wait_for(state="attached")
        return page

    return come


def go_to_tag(page: sync_api.Page, elem_id: str) -> sync_api.Locator:
    """Put the caret into the tag of a prompt; return the panel, once it knows the LoRA."""
    box = field(page, elem_id)
    box.click(position={"x": 3, "y": 4})
    box.evaluate("box => { const at = box.value.indexOf('<lora:'); box.setSelectionRange(at, at); }")
    page.keyboard.press("ArrowRight")
    panel = page.locator(".lbw-panel")
    expect(panel.locator('.lbw-block[data-block="OUT04"] input')).to_be_enabled()
    return panel


@pytest.mark.parametrize(
    ("name", "elem_id"), [("Picture", "prompt"), ("Analyze", "lbw_analyze_prompt"), ("Tuner", "lbw_tuner_prompt")]
)
def test_the_panel_opens_at_the_tag_of_every_prompt(
    visit: Callable[..., sync_api.Page], name: str, elem_id: str
) -> None:
    page = visit()
    tab(page, name)
    panel = go_to_tag(page, elem_id)
    expect(panel).to_have_count(1)
    expect(panel.locator(".lbw-model")).to_have_text("SDXL")
    expect(panel.locator(".lbw-status")).to_be_hidden()
    panel.get_by_label("Preset", exact=True).select_option("XL-STYLE")
    expect(field(page, elem_id)).to_have_value(re.compile(r"<lora:planted:1:lbw=XL-STYLE>$"))


def test_a_picture_is_made_with_what_the_panel_wrote(visit: Callable[..., sync_api.Page]) -> None:
    page = visit()
    page.get_by_label("number input for Sampling steps").fill("2")
    panel = go_to_tag(page, "prompt")
    slider = panel.locator('.lbw-block[data-block="OUT04"] input')
    slider.focus()
    slider.press("0")
    expect(field(page, "prompt")).to_have_value(re.compile(r"<lora:planted:1:lbw=1,OUT04=0>$"))
    page.keyboard.press("Escape")
    page.locator("#generate").click()
    expect(field(page, "infotext")).to_have_value(re.compile(r'LBW: "<planted:lbw=1(,1){14},0(,1){4}>"'))
    expect(part(page, "picture").locator("img")).to_be_visible()


def test_a_preset_that_is_saved_on_the_page_is_offered_by_the_panel(visit: Callable[..., sync_api.Page]) -> None:
    page = visit()
    tab(page, "Presets")
    editor = field(page, "lbw_presets_text")
    expect(editor).to_have_value(re.compile("XL-STYLE"))
    editor.fill("ONLY MINE:0,IN05=1\n")
    page.locator("#lbw_presets_save").click()
    expect(part(page, "lbw_presets_message")).to_contain_text("Saved to")
    tab(page, "Picture")
    panel = go_to_tag(page, "prompt")
    panel.get_by_label("Preset", exact=True).select_option("ONLY MINE")
    expect(field(page, "prompt")).to_have_value(re.compile(r"<lora:planted:1:lbw=ONLY MINE>$"))
    expect(panel.locator('.lbw-block[data-block="IN05"] output')).to_have_text("● 1")


def test_in_japanese_labels_titles_messages_and_verdicts_are_japanese(visit: Callable[..., sync_api.Page]) -> None:
    page = visit("ja_JP")
    expect(page.locator("html")).to_have_attribute("lang", "ja-JP")
    tab(page, r"解析 \(Analyze\)")
    expect(part(page, "lbw_analyze_message")).to_contain_text("「解析」を押すと、どのブロックが")
    expect(page.locator("#lbw_analyze_start")).to_have_attribute("title", re.compile("不足している画像を生成"))
    field(page, "lbw_analyze_prompt").fill("a star")
    page.locator("#lbw_analyze_start").click()
    expect(part(page, "lbw_analyze_message")).to_contain_text("プロンプトに lbw=XYZ のタグがありません")
    field(page, "lbw_analyze_prompt").fill("a star <lora:planted:1:lbw=XYZ>")
    field(page, "lbw_analyze_blocks").fill("OUT04,IN00")
    field(page, "lbw_analyze_steps").fill("2")
    page.locator("#lbw_analyze_start").click()
    expect(part(page, "lbw_analyze_message")).to_have_text("✓ 完了: 2 枚を生成、0 枚は以前の結果を使用。")
    expect(part(page, "lbw_analyze_progress")).to_have_text("2 / 2 枚")
    rows = part(page, "lbw_analyze_table").locator("tbody tr")
    expect(rows.locator(".lbw-verdict")).to_have_text(["✓ 必要", "✗ 不要"])
    expect(rows.first.locator("button")).to_have_attribute("title", "画像を表示")
    expect(part(page, "lbw_analyze_table").locator("th").last).to_have_text("提案")
    verdicts = rows.locator(".lbw-verdict .lbw-text")
    colors = verdicts.evaluate_all("all => all.map(each => getComputedStyle(each).color)")
    assert len(set(colors)) == 2
    rows.first.locator("button").click()
    expect(part(page, "lbw_analyze_large").locator("h4")).to_have_text(re.compile(r"^OUT04 · シード 1 · 変化量: "))
    panel = go_to_tag(page, "lbw_analyze_prompt")
    expect(panel.get_by_label("プリセット", exact=True)).to_be_visible()
    expect(panel.get_by_label("Preset", exact=True)).to_have_count(0)


def test_what_people_write_is_not_translated(visit: Callable[..., sync_api.Page]) -> None:
    page = visit("ja_JP")
    field(page, "prompt").fill("Presets")
    page.locator("#prompt textarea").blur()
    expect(field(page, "prompt")).to_have_value("Presets")
    expect(page.get_by_role("tab", name="プリセット", exact=True)).to_be_visible()
