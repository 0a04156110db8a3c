"""The panel Analyze in a real browser, under each Gradio."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .server import Server, serving
from .test_panels import HOSTILE, choose, expect, field, part, sync_api, tab


@pytest.fixture(scope="module")
def server(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(python, ["tests.browser.analyze_page"], tmp_path_factory.mktemp("analyze") / "page.log") as server:
        yield server


@pytest.fixture
def served(server: Server, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a new page, because pages keep the latest analysis, and the folder that it writes to."""
    folder = tmp_path / "user"
    folder.mkdir()
    (folder / "lbwpresets.txt").write_text("ALL:1\n")
    yield server.page(folder), folder
    server.check()


@pytest.fixture
def page(open_page: Callable[[str], Any], served: tuple[str, Path]) -> sync_api.Page:
    page = open_page(served[0])
    expect(part(page, "lbw_analyze_message")).to_contain_text("Press Analyze")
    expect(page.locator("#lbw_analyze_start")).to_have_attribute("title", re.compile("Renders"))
    return page


@pytest.fixture
def folder(served: tuple[str, Path]) -> Path:
    return served[1]


def press(page: sync_api.Page, control: str) -> None:
    page.locator(f"#lbw_analyze_{control}").click()


def message(page: sync_api.Page) -> sync_api.Locator:
    return part(page, "lbw_analyze_message")


def done(page: sync_api.Page) -> None:
    press(page, "start")
    expect(message(page)).to_contain_text("Done:")


def rows(page: sync_api.Page) -> sync_api.Locator:
    return part(page, "lbw_analyze_table").locator("tbody tr")


def test_cells_appear_and_after_a_stop_only_the_missing_ones_are_rendered(page: sync_api.Page, folder: Path) -> None:
    hold = folder / "hold"
    hold.write_text("3")
    field(page, "lbw_analyze_seeds").fill("2")
    press(page, "start")
    expect(part(page, "lbw_analyze_progress")).to_contain_text(re.compile(r"3 / 14 pictures · time left: \d+ s"))
    expect(part(page, "lbw_analyze_grid").locator("img")).to_be_visible()
    expect(rows(page)).to_have_count(6)
    press(page, "stop")
    expect(message(page)).to_contain_text("Run the same settings again to continue.")
    first = (folder / "painted.txt").read_text().splitlines()
    assert len(first) == 3
    hold.unlink()
    expect(part(page, "lbw_analyze_grid").locator("img")).to_be_visible()
    done(page)
    expect(message(page)).to_contain_text("11 pictures rendered, 3 reused")
    painted = (folder / "painted.txt").read_text().splitlines()
    assert len(painted) == len(set(painted)) == 14
    stopped, finished = sorted((folder / "out").iterdir())
    assert json.loads((stopped / "analysis.json").read_text())["state"] == "stopped"
    assert {"grid.png", "grid-seed8.png", "chart.png"} <= {path.name for path in finished.iterdir()}
    figures = json.loads((finished / "analysis.json").read_text())
    assert figures["ranking"] == ["OUT01", "OUT00", "M00", "IN08", "IN07", "IN04"]
    assert figures["settings"]["lora"] == "demo"
    assert (finished / "analysis.csv").read_text().startswith("rank,block,seed 7,seed 8,mean,std\n")
    expect(part(page, "lbw_analyze_files")).to_contain_text("analysis")
    expect(field(page, "lbw_analyze_folder")).to_have_value(str(finished))


def test_an_earlier_analysis_is_opened_again_with_its_fields(page: sync_api.Page, folder: Path) -> None:
    field(page, "lbw_analyze_blocks").fill("OUT01,IN04")
    done(page)
    page.wait_for_timeout(1100)  # so that neither name, of which one has seconds, is a prefix of the other
    field(page, "lbw_analyze_blocks").fill("M00")
    press(page, "start")
    expect(rows(page)).to_have_count(1)
    expect(message(page)).to_contain_text("1 pictures rendered")
    first, _ = sorted((folder / "out").iterdir())
    box = field(page, "lbw_analyze_earlier")
    box.click()
    box.fill(first.name)
    box.press("Enter")
    expect(rows(page)).to_have_count(2)
    expect(field(page, "lbw_analyze_blocks")).to_have_value("OUT01,IN04")
    expect(field(page, "lbw_analyze_folder")).to_have_value(str(first))
    expect(part(page, "lbw_analyze_grid").locator("img")).to_be_visible()


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
    expect(rows(page).first).to_contain_text("IN04")  # the chosen order is kept
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
    expect(message(page)).to_contain_text("Done:")
    field(page, "lbw_analyze_name").fill("FOUND")
    press(page, "save")
    expect(message(page)).to_contain_text("Saved to")
    assert (folder / "lbwpresets.txt").read_text() == "ALL:1\nFOUND:1,IN04=0,IN07=0,IN08=0.5,M00=0.5\n"
    press(page, "send_tag")
    expect(field(page, "lbw_analyze_tag")).to_have_value("<lora:demo:0.8:lbw=1,IN04=0,IN07=0,IN08=0.5,M00=0.5>")
    press(page, "to_tuner")
    expect(message(page)).to_contain_text("The tuner starts with this suggestion")
    tab(page, "Tuner")
    expect(field(page, "lbw_tuner_open_blocks")).to_have_value("IN08,M00")
    expect(field(page, "lbw_tuner_type")).to_have_value("SDXL: 12 blocks")
    tab(page, "Presets")
    expect(field(page, "lbw_presets_names")).to_have_value("ALL,FOUND")


def test_the_tuner_goes_on_with_the_pictures_of_the_analysis(page: sync_api.Page, folder: Path) -> None:
    field(page, "lbw_analyze_prompt").fill("a house <lora:demo:0.5:lbw=XYZ>")
    field(page, "lbw_analyze_negative").fill("rain")
    for name, value in (("steps", "7"), ("cfg", "5.5"), ("width", "160"), ("height", "96"), ("seed", "-1")):
        field(page, f"lbw_analyze_{name}").fill(value)
        field(page, f"lbw_analyze_{name}").blur()
    choose(page, "lbw_analyze_sampler", "Heun")
    field(page, "lbw_analyze_blocks").fill("IN04 IN05,IN08,OUT00-OUT02,OUT06")
    done(page)
    press(page, "to_tuner")
    expect(message(page)).to_contain_text("The tuner starts with this suggestion")
    tab(page, "Tuner")
    wanted = {
        "type": "SDXL: 20 blocks", "groups": "IN04 IN05,OUT00-OUT02", "seed": "7", "negative": "rain",
        "prompt": "a house <lora:demo:0.5:lbw=XYZ>", "steps": "7", "cfg": "5.5", "width": "160", "height": "96",
        "sampler": "Heun",
    }  # fmt: skip
    for name, value in wanted.items():
        expect(field(page, f"lbw_tuner_{name}")).to_have_value(value)
    field(page, "lbw_tuner_blocks").fill("OUT00 OUT01")
    page.locator("#lbw_tuner_unknown").click()
    page.locator("#lbw_tuner_next").click()
    expect(part(page, "lbw_tuner_progress")).to_contain_text(re.compile(r"(\d) / \1 pictures"))
    expect(part(page, "lbw_tuner_gallery")).to_contain_text("OUT00 OUT01 0.5 → 1")
    assert {line.split()[0] for line in (folder / "painted.txt").read_text().splitlines()} == {"7"}


def test_bad_input_is_told_in_the_panel_and_nothing_is_rendered(page: sync_api.Page, folder: Path) -> None:
    for control, text, words, good in (
        ("range", "wide", 'Range "wide" is not two numbers', "0,1"),
        ("blocks", "QQ", 'unknown block "QQ"', "auto"),
        ("seeds", "many", 'number of seed "many" is not a whole number', "1"),
        ("threshold", "300", 'difference threshold "300" is not a whole number', "20"),
        ("prompt", "a star", "no tag with lbw=XYZ", "a star <lora:demo:1:lbw=XYZ>"),
    ):
        field(page, f"lbw_analyze_{control}").fill(text)
        press(page, "start")
        expect(message(page)).to_contain_text(words)
        field(page, f"lbw_analyze_{control}").fill(good)
    page.get_by_text("Mask: measure changes").first.click()
    field(page, "lbw_analyze_rectangle").fill("1,2,3")
    press(page, "start")
    expect(message(page)).to_contain_text('mask "1,2,3" is not a rectangle')
    assert not (folder / "painted.txt").exists()


def test_a_mask_tells_inside_from_outside(page: sync_api.Page) -> None:
    page.get_by_text("Mask: measure changes").first.click()
    field(page, "lbw_analyze_rectangle").fill("50,0,100,100")
    done(page)
    head = part(page, "lbw_analyze_table").locator("thead")
    expect(head).to_contain_text("focus")
    expect(rows(page).first).to_contain_text("1.00")
    expect(rows(page).last).to_contain_text("0.00")


def painter(page: sync_api.Page) -> sync_api.Locator:
    """Return the canvas of the mask, once the source and what was painted before are drawn."""
    expect(part(page, "lbw_analyze_mask").get_by_role("button", name="Paint")).to_have_attribute("aria-pressed", "true")
    return part(page, "lbw_analyze_mask").locator("canvas")


def open_painter(page: sync_api.Page) -> sync_api.Locator:
    page.get_by_text("Mask: measure changes").first.click()
    return painter(page)


def paint(page: sync_api.Page, canvas: sync_api.Locator, *points: tuple[float, float]) -> None:
    """Draw a line through `points`, in fractions of the picture's size, with the mouse."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    places = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def opaque(canvas: sync_api.Locator, x: float, y: float) -> int:
    """Return the opacity of the canvas at a point, 0 to 255."""
    return int(
        canvas.evaluate(
            "(it, [x, y]) => it.getContext('2d').getImageData(x * it.width, y * it.height, 1, 1).data[3]", [x, y]
        )
    )


def test_a_mask_is_painted_on_the_source(page: sync_api.Page, folder: Path) -> None:
    done(page)
    canvas = open_painter(page)
    paint(page, canvas, (0.86, 0.3), (0.86, 0.7), (0.8, 0.7))  # where OUT01's disc is
    press(page, "start")
    expect(message(page)).to_contain_text("0 pictures rendered, 7 reused")
    expect(part(page, "lbw_analyze_table").locator("thead")).to_contain_text("focus")
    focus = {
        row.locator("td").nth(1).inner_text(): float(row.locator("td").nth(6).inner_text()) for row in rows(page).all()
    }
    assert focus["OUT01"] > 0.5
    assert focus["IN04"] == focus["IN07"] == 0
    assert len((folder / "painted.txt").read_text().splitlines()) == 7
    assert opaque(painter(page), 0.86, 0.5) == 255  # it is kept when the source is loaded again


def test_what_is_painted_can_be_erased_undone_and_cleared(page: sync_api.Page) -> None:
    done(page)
    canvas = open_painter(page)
    sent = field(page, "lbw_analyze_painted")
    bar = part(page, "lbw_analyze_mask")
    assert sent.input_value() == ""
    paint(page, canvas, (0.2, 0.5), (0.8, 0.5))
    assert [opaque(canvas, x, 0.5) for x in (0.1, 0.5, 0.9)] == [0, 255, 0]
    painted = sent.input_value()
    assert painted.startswith("data:image/png;base64,")
    bar.get_by_role("button", name="Erase").press("Enter")
    paint(page, canvas, (0.5, 0.2), (0.5, 0.8))
    assert [opaque(canvas, x, 0.5) for x in (0.3, 0.5, 0.7)] == [255, 0, 255]
    page.keyboard.press("Control+z")
    assert sent.input_value() == painted
    bar.get_by_role("button", name="Clear").click()
    assert (sent.input_value(), opaque(canvas, 0.3, 0.5)) == ("", 0)
    bar.get_by_role("button", name="Undo").click()
    assert sent.input_value() == painted
    bar.get_by_role("button", name="Paint").click()
    bar.get_by_label("Brush size").fill("0.4")
    paint(page, canvas, (0.5, 0.5), (0.5, 0.5))
    assert opaque(canvas, 0.5, 0.7) == 255


def test_a_mask_is_painted_with_a_finger(open_page: Callable[..., Any], served: tuple[str, Path]) -> None:
    phone = open_page(served[0], width=390, height=800, has_touch=True, is_mobile=True)
    done(phone)
    canvas = open_painter(phone)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert 0 <= box["x"] < box["x"] + box["width"] <= 390 - 24  # beside it the page can be scrolled
    phone.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert [opaque(canvas, x, 0.5) for x in (0.2, 0.5, 0.8)] == [0, 255, 0]
    assert field(phone, "lbw_analyze_painted").input_value() != ""


def test_a_mask_that_is_no_picture_is_told(page: sync_api.Page, folder: Path) -> None:
    page.get_by_text("Mask: measure changes").first.click()
    expect(part(page, "lbw_analyze_mask")).to_contain_text("paint the region on the source picture here")
    write = "(box) => { box.value = 'data:image/png;base64,AAAA'; box.dispatchEvent(new Event('input')); }"
    field(page, "lbw_analyze_painted").evaluate(write)
    press(page, "start")
    expect(message(page)).to_contain_text("the painted mask cannot be read")
    assert not (folder / "painted.txt").exists()


def test_a_quick_scan_renders_nothing(page: sync_api.Page, folder: Path) -> None:
    page.get_by_label("quick scan: no pictures").check()
    done(page)
    expect(rows(page).first).to_contain_text("IN04")
    expect(rows(page).first).to_contain_text("50.000")
    assert not (folder / "painted.txt").exists()
    press(page, "to_tuner")
    expect(message(page)).to_contain_text("The tuner starts")


def test_a_page_that_is_opened_anew_shows_the_latest_analysis(page: sync_api.Page, served: tuple[str, Path]) -> None:
    done(page)
    page.goto(served[0])
    expect(rows(page)).to_have_count(6)
    expect(part(page, "lbw_analyze_grid").locator("img")).to_be_visible()


def test_the_name_of_a_lora_is_shown_as_text(page: sync_api.Page, folder: Path) -> None:
    choose(page, "lbw_analyze_lora", HOSTILE)
    expect(field(page, "lbw_analyze_prompt")).to_have_value(f"a star <lora:{HOSTILE}:1:lbw=XYZ>")
    press(page, "start")
    expect(message(page)).to_contain_text("no tag with lbw=XYZ")
    name = HOSTILE.replace(">", "")
    field(page, "lbw_analyze_prompt").fill(f"<lora:{name}:1:lbw=XYZ>")
    done(page)
    expect(field(page, "lbw_analyze_name")).to_have_value("img src=x onerror=alert(1)")
    press(page, "send_tag")
    expect(field(page, "lbw_analyze_tag")).to_have_value(re.compile(re.escape(f"<lora:{name}:1:lbw=1,")))
    assert page.locator("img[src='x']").count() == 0


def test_every_control_says_what_it_is_for(page: sync_api.Page) -> None:
    done(page)
    page.get_by_text("Mask: measure changes").first.click()
    untold = page.evaluate(
        """() => [...document.querySelectorAll('button[id^=lbw_analyze], .block[id^=lbw_analyze]')]
            .filter(part => !part.title && !part.closest('[title]')
                && !/_(message|progress|chart|large|grid|pick|painted|mask|masked|mask_part|results)$/.test(part.id)
                && !part.querySelector("[data-testid='block-info'] ~ *"))
            .map(part => part.id)"""
    )
    assert [elem_id for elem_id in untold if elem_id != "lbw_analyze_swap_axes"] == []


def test_a_server_that_is_gone_is_told_and_what_was_found_stays(
    python: Path, open_page: Callable[[str], Any], tmp_path: Path
) -> None:
    (tmp_path / "hold").write_text("3")
    with serving(python, ["tests.browser.analyze_page"], tmp_path / "page.log") as server:
        page = open_page(server.page(tmp_path))
        expect(message(page)).to_contain_text("Press Analyze")
        press(page, "start")
        expect(part(page, "lbw_analyze_progress")).to_contain_text("3 / 7 pictures")
        expect(rows(page)).to_have_count(6)
        server.process.kill()
        expect(part(page, "lbw_analyze_progress")).to_contain_text("The server is not responding.")
        expect(rows(page)).to_have_count(6)


def test_the_folder_of_the_results_is_opened(page: sync_api.Page, folder: Path) -> None:
    expect(page.locator("#lbw_analyze_open_folder")).to_be_hidden()
    done(page)
    press(page, "open_folder")
    expect(message(page)).to_contain_text("The folder opens")
    (result,) = (folder / "out").iterdir()
    assert (folder / "opened.txt").read_text() == str(result)
