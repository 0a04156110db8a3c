"""The one set of panels in its three locations, under each Gradio."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .server import serving
from .test_panels import expect, field, part, sync_api, tab


@pytest.fixture
def page(python: Path, open_page: Callable[[str], Any], tmp_path: Path) -> Any:
    (tmp_path / "lbwpresets.txt").write_text("ALL:1\n")
    with serving(python, ["tests.browser.host_page"], tmp_path / "page.log") as server:
        page = open_page(server.page(tmp_path))
        expect(page.locator(".lbw-place > #lbw_tabs")).to_have_count(1)
        yield page
        server.check()


def test_the_panels_stand_where_they_are_looked_at_with_all_that_they_hold(page: sync_api.Page) -> None:
    start = page.locator("#lbw_analyze_start")
    expect(start).to_be_hidden()
    page.get_by_text("Panels in txt2img").click()
    expect(page.locator("#lbw_txt2img_panels #lbw_analyze_start")).to_be_visible()
    start.click()
    expect(part(page, "lbw_analyze_message")).to_contain_text("Done:")

    tab(page, "LoRA Block Weight")
    expect(start).to_be_visible()
    expect(page.locator("#tab_lbw #lbw_analyze_table tbody tr")).to_have_count(6)
    page.locator("#lbw_analyze_send_tag").click()
    expect(field(page, "txt2img_prompt")).to_have_value(
        "a cat <lora:demo:0.8:lbw=1,IN04=0,IN07=0,IN08=0.5,M00=0.5> on a mat"
    )

    tab(page, "img2img")
    expect(start).to_be_hidden()
    page.get_by_text("Panels in img2img").click()
    expect(page.locator("#lbw_img2img_panels #lbw_analyze_table tbody tr")).to_have_count(6)
    page.locator("#lbw_analyze_send_tag").click()
    expect(field(page, "img2img_prompt")).to_have_value(
        "a cat <lora:demo:0.8:lbw=1,IN04=0,IN07=0,IN08=0.5,M00=0.5> on a mat"
    )

    tab(page, "txt2img")
    expect(page.locator("#lbw_txt2img_panels #lbw_analyze_table tbody tr")).to_have_count(6)
    page.get_by_text("Panels in txt2img").click()
    expect(start).to_be_hidden()
