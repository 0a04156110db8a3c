"""The panel Analyze in a real browser, under the Gradio of the Python that LBW_GRADIO_PYTHON names."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from .test_panels import HOSTILE, PYTHON, ROOT, browser, expect, field, part, sync_api, tab  # noqa: F401


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a page of its own, as it keeps the latest analysis, and the folder of what it writes."""
    if subprocess.run([PYTHON, "-c", "import gradio, numpy, PIL"], capture_output=True).returncode:
        pytest.skip(f"{PYTHON} has no Gradio")
    folder = tmp_path / "user"
    folder.mkdir()
    (folder / "lbwpresets.txt").write_text("ALL:1\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "page.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [PYTHON, "-m", "tests.browser.analyze_page", str(port), str(folder)], cwd=ROOT, stdout=out, stderr=out,
            env={**os.environ, "PYTHONPATH": str(ROOT), "GRADIO_ANALYTICS_ENABLED": "False"},
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}/"
    for _ in range(240):
        try:
            urllib.request.urlopen(address, timeout=5).close()
            break
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.25)
    yield address, folder
    process.terminate()
    process.wait(20)
    assert "Traceback" not in log.read_text(), log.read_text()


@pytest.fixture
def page(browser: sync_api.Browser, served: tuple[str, Path]) -> Iterator[sync_api.Page]:  # noqa: F811
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.set_default_timeout(20_000)
    page.route(re.compile(r"^https?://(?!127\.0\.0\.1)"), lambda route: route.abort())
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append("a dialog"), dialog.dismiss()))
    page.goto(served[0])
    expect(part(page, "lbw_analyze_message")).to_contain_text("Press Analyze")
    expect(page.locator("#lbw_analyze_start")).to_have_attribute("title", re.compile("Renders"))
    yield page
    page.close()
    assert wrong == []


@pytest.fixture
def folder(served: tuple[str, Path]) -> Path:
    return served[1]


def press(page: sync_api.Page, control: str) -> None:
    page.locator(f"#lbw_analyze_{control}").click()


def said(page: sync_api.Page) -> sync_api.Locator:
    return part(page, "lbw_analyze_message")


def done(page: sync_api.Page) -> None:
    press(page, "start")
    expect(said(page)).to_contain_text("Done:", timeout=20_000)


def rows(page: sync_api.Page) -> sync_api.Locator:
    return part(page, "lbw_analyze_table").locator("tbody tr")


def test_cells_appear_and_after_a_stop_only_the_missing_ones_are_rendered(page: sync_api.Page, folder: Path) -> None:
    field(page, "lbw_analyze_seeds").fill("2")
    press(page, "start")
    expect(part(page, "lbw_analyze_progress")).to_contain_text(re.compile(r"[1-9] / 14 pictures · time left: \d+ s"))
    expect(part(page, "lbw_analyze_grid").locator("img")).to_be_visible()
    expect(rows(page)).to_have_count(6)
    press(page, "stop")
    expect(said(page)).to_contain_text("Press Analyze to go on")
    first = (folder / "painted.txt").read_text().splitlines()
    assert 0 < len(first) < 14
    expect(part(page, "lbw_analyze_grid").locator("img")).to_be_visible()
    done(page)
    expect(said(page)).to_contain_text(f"{14 - len(first)} pictures rendered, {len(first)} kept from before")
    painted = (folder / "painted.txt").read_text().splitlines()
    assert len(painted) == len(set(painted)) == 14
    assert (folder / "out" / "demo-blocks-seed8.png").exists()
    figures = json.loads((folder / "out" / "demo-blocks.json").read_text())
    assert figures["ranking"] == ["OUT01", "OUT00", "M00", "IN08", "IN07", "IN04"]
    assert figures["settings"]["lora"] == "demo"
    assert (folder / "out" / "demo-blocks.csv").read_text().startswith("place,block,seed 7,seed 8,mean,std\n")
    expect(part(page, "lbw_analyze_files")).to_contain_text("demo-blocks")
    expect(field(page, "lbw_analyze_folder")).to_have_value(str(folder / "out"))


def test_the_table_is_sorted_and_the_thresholds_sort_the_blocks_without_rendering(
    page: sync_api.Page, folder: Path
) -> None:
    done(page)
    expect(rows(page).first).to_contain_text("OUT01")
    part(page, "lbw_analyze_table").locator("th", has_text="block").click()
    expect(rows(page).first).to_contain_text("IN04")
    expect(rows(page).nth(3)).to_contain_text("? unknown")
    chart = part(page, "lbw_analyze_chart").locator("img")
    before = chart.get_attribute("src")
    number = page.locator("#lbw_analyze_high input[type=number]")
    number.fill("3")
    number.blur()
    expect(rows(page).nth(3)).to_contain_text("✓ needed")
    expect(rows(page).first).to_contain_text("IN04")  # the order that was chosen stays
    expect(chart).not_to_have_attribute("src", str(before))
    press(page, "automatic")
    expect(rows(page).nth(3)).to_contain_text("? unknown")
    assert len((folder / "painted.txt").read_text().splitlines()) == 7


def test_a_block_is_shown_large_beside_its_source(page: sync_api.Page) -> None:
    done(page)
    rows(page).filter(has_text="OUT00").locator("td").nth(2).click()
    large = part(page, "lbw_analyze_large")
    expect(large).to_contain_text("OUT00 · seed 7 · changed: 5.6")
    expect(large.locator(".lbw-figures img")).to_have_count(4)
    expect(field(page, "lbw_analyze_block")).to_have_value("OUT00")
    divider = large.locator("input[type=range]")
    divider.focus()
    for _ in range(4):
        divider.press("ArrowLeft")
    assert large.locator(".lbw-compare").evaluate("box => box.style.getPropertyValue('--lbw-at')") == "48%"
    box = field(page, "lbw_analyze_block")
    box.click()
    box.fill("M00")
    box.press("Enter")
    expect(large).to_contain_text("M00 · seed 7 · changed: 3.5")


def test_the_suggestion_goes_to_the_tuner_to_the_presets_and_into_a_tag(page: sync_api.Page, folder: Path) -> None:
    press(page, "start")
    expect(said(page)).to_contain_text("Done:")
    field(page, "lbw_analyze_name").fill("FOUND")
    press(page, "save")
    expect(said(page)).to_contain_text("Saved to")
    assert (folder / "lbwpresets.txt").read_text() == "ALL:1\nFOUND:0,IN08=0.5,M00=0.5,OUT00=1,OUT01=1\n"
    press(page, "send_tag")
    expect(field(page, "lbw_analyze_tag")).to_have_value("<lora:demo:0.8:lbw=0,IN08=0.5,M00=0.5,OUT00=1,OUT01=1>")
    press(page, "to_tuner")
    expect(said(page)).to_contain_text("The tuner begins with this suggestion")
    tab(page, "Tuner")
    expect(field(page, "lbw_tuner_open_blocks")).to_have_value("IN08,M00")
    tab(page, "Presets")
    expect(field(page, "lbw_presets_names")).to_have_value("ALL,FOUND")


def test_bad_input_is_told_in_the_panel_and_nothing_is_rendered(page: sync_api.Page, folder: Path) -> None:
    for control, text, words, good in (
        ("range", "wide", 'Range "wide" is not two numbers', "0,1"),
        ("blocks", "QQ", 'unknown block "QQ"', "auto"),
        ("seeds", "many", 'number of seed "many" is no whole number', "1"),
        ("threshold", "300", 'difference threshold "300" is no whole number', "20"),
        ("prompt", "a star", "no tag with lbw=XYZ", "a star <lora:demo:1:lbw=XYZ>"),
    ):
        field(page, f"lbw_analyze_{control}").fill(text)
        press(page, "start")
        expect(said(page)).to_contain_text(words)
        field(page, f"lbw_analyze_{control}").fill(good)
    page.get_by_text("Mask: tell changes").first.click()
    field(page, "lbw_analyze_rectangle").fill("1,2,3")
    press(page, "start")
    expect(said(page)).to_contain_text('mask "1,2,3" is no rectangle')
    assert not (folder / "painted.txt").exists()


def test_a_mask_tells_inside_from_outside(page: sync_api.Page) -> None:
    page.get_by_text("Mask: tell changes").first.click()
    field(page, "lbw_analyze_rectangle").fill("50,0,100,100")
    done(page)
    head = part(page, "lbw_analyze_table").locator("thead")
    expect(head).to_contain_text("focus")
    expect(rows(page).first).to_contain_text("1.00")
    expect(rows(page).last).to_contain_text("0.00")


def test_a_mask_is_painted_on_the_source(page: sync_api.Page) -> None:
    done(page)
    page.get_by_text("Mask: tell changes").first.click()
    canvas = part(page, "lbw_analyze_mask").locator("canvas").last
    expect(canvas).to_be_visible()
    brush = (
        part(page, "lbw_analyze_mask")
        .get_by_label("Draw button")
        .or_(part(page, "lbw_analyze_mask").locator("button[aria-label='Brush']"))
    )
    if brush.count():
        brush.first.click()
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    x, y = box["x"] + box["width"] * 0.78, box["y"] + box["height"] * 0.65
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y + 8, steps=8)
    page.mouse.up()
    time.sleep(1)
    press(page, "start")
    expect(part(page, "lbw_analyze_table").locator("thead")).to_contain_text("focus")


def test_a_quick_scan_renders_nothing(page: sync_api.Page, folder: Path) -> None:
    page.get_by_label("quick scan: no pictures").check()
    done(page)
    expect(rows(page).first).to_contain_text("IN04")
    expect(rows(page).first).to_contain_text("50.000")
    assert not (folder / "painted.txt").exists()
    press(page, "to_tuner")
    expect(said(page)).to_contain_text("The tuner begins")


def test_a_page_that_is_opened_anew_shows_the_latest_analysis(page: sync_api.Page, served: tuple[str, Path]) -> None:
    done(page)
    page.goto(served[0])
    expect(rows(page)).to_have_count(6)
    expect(part(page, "lbw_analyze_grid").locator("img")).to_be_visible()


def test_the_name_of_a_lora_is_shown_as_text(page: sync_api.Page, folder: Path) -> None:
    box = field(page, "lbw_analyze_lora")
    box.click()
    part(page, "lbw_analyze_lora").locator("li, [role=option]").filter(has_text=HOSTILE).first.click()
    expect(field(page, "lbw_analyze_prompt")).to_have_value(f"a star <lora:{HOSTILE}:1:lbw=XYZ>")
    press(page, "start")
    expect(said(page)).to_contain_text("no tag with lbw=XYZ")
    name = HOSTILE.replace(">", "")
    field(page, "lbw_analyze_prompt").fill(f"<lora:{name}:1:lbw=XYZ>")
    done(page)
    expect(field(page, "lbw_analyze_name")).to_have_value("img src=x onerror=alert(1)")
    press(page, "send_tag")
    expect(field(page, "lbw_analyze_tag")).to_have_value(re.compile(re.escape(f"<lora:{name}:1:lbw=0,")))
    assert page.locator("img[src='x']").count() == 0


def test_every_control_says_what_it_is_for(page: sync_api.Page) -> None:
    done(page)
    page.get_by_text("Mask: tell changes").first.click()
    untold = page.evaluate(
        """() => [...document.querySelectorAll('button[id^=lbw_analyze], .block[id^=lbw_analyze]')]
            .filter(part => !part.title && !part.closest('[title]')
                && !/_(message|progress|chart|large|grid|pick|masked|mask_part|results)$/.test(part.id)
                && !part.querySelector("[data-testid='block-info'] ~ *"))
            .map(part => part.id)"""
    )
    assert [elem_id for elem_id in untold if elem_id != "lbw_analyze_swap_axes"] == []
