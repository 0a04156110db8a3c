"""The panels in a real browser, under the Gradio of the Python that LBW_GRADIO_PYTHON names."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

ROOT = Path(__file__).parents[2]
PYTHON = os.environ.get("LBW_GRADIO_PYTHON", sys.executable)
CHROMIUM = Path("/usr/bin/chromium")
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=str(CHROMIUM) if CHROMIUM.exists() else None, args=["--no-sandbox", "--disable-gpu"]
            )
        except sync_api.Error as error:
            pytest.skip(f"no browser: {error}")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The page's address, and the folder of its preset files."""
    if subprocess.run([PYTHON, "-c", "import gradio, numpy, PIL"], capture_output=True).returncode:
        pytest.skip(f"{PYTHON} has no Gradio")
    folder = tmp_path_factory.mktemp("user")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder.parent / "page.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [PYTHON, "-m", "tests.browser.page", str(port), str(folder)], cwd=ROOT, stdout=out, stderr=out,
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
    assert "Traceback" not in log.read_text()


@pytest.fixture
def folder(served: tuple[str, Path]) -> Path:
    """The folder of the preset files, with two presets."""
    for file in served[1].iterdir():
        file.unlink()
    (served[1] / "lbwpresets.txt").write_text("ALL:1\nSTYLE:0,OUT01=1\n")
    return served[1]


@pytest.fixture
def page(browser: sync_api.Browser, served: tuple[str, Path], folder: Path) -> Iterator[sync_api.Page]:
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.set_default_timeout(15_000)
    page.route(re.compile(r"^https?://(?!127\.0\.0\.1)"), lambda route: route.abort())
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append("a dialog"), dialog.dismiss()))
    page.goto(served[0])
    expect(editor(page)).to_have_value("ALL:1\nSTYLE:0,OUT01=1\n")
    yield page
    page.close()
    assert wrong == []


def editor(page: sync_api.Page) -> sync_api.Locator:
    return page.locator("#lbw_presets_text textarea")


def part(page: sync_api.Page, elem_id: str) -> sync_api.Locator:
    return page.locator(f"#{elem_id}").first


def field(page: sync_api.Page, elem_id: str) -> sync_api.Locator:
    return page.locator(f"#{elem_id} :is(textarea, input)").first


def tab(page: sync_api.Page, name: str) -> None:
    page.locator("button", has_text=re.compile(f"^\\s*{name}\\s*$")).first.click()


def slide(page: sync_api.Page, block: str, value: str) -> None:
    number = page.locator(f"#lbw_weights_{block} input[type=number]")
    number.fill(value)
    number.blur()


# Presets -----------------------------------------------------------------------------------------


def test_what_is_typed_is_checked_and_saved_with_a_backup(page: sync_api.Page, folder: Path) -> None:
    editor(page).fill("ALL:1\nBAD:1,2,3\nALL:0\n")
    expect(part(page, "lbw_presets_check")).to_contain_text("2 presets · 1 problem · 1 remark · not saved yet")
    expect(part(page, "lbw_presets_check")).to_contain_text("3 numbers are no layout")
    page.locator("#lbw_presets_save").click()
    expect(part(page, "lbw_presets_message")).to_contain_text("Saved to")
    expect(part(page, "lbw_presets_check")).not_to_contain_text("not saved yet")
    expect(field(page, "lbw_presets_names")).to_have_value("ALL,BAD")
    assert (folder / "lbwpresets.txt").read_text() == "ALL:1\nBAD:1,2,3\nALL:0\n"
    assert (folder / "lbwpresets.txt.bak").read_text() == "ALL:1\nSTYLE:0,OUT01=1\n"


def test_the_number_of_a_line_leads_to_it(page: sync_api.Page) -> None:
    part(page, "lbw_presets_check").locator("button", has_text="2").click()
    selected = editor(page).evaluate("box => box.value.slice(box.selectionStart, box.selectionEnd)")
    assert selected == "STYLE:0,OUT01=1"


def test_a_file_that_changed_on_the_disk_is_not_overwritten(page: sync_api.Page, folder: Path) -> None:
    file = folder / "lbwpresets.txt"
    editor(page).fill("MINE:1\n")
    file.write_text("THEIRS:0.5\n")
    page.locator("#lbw_presets_save").click()
    expect(field(page, "lbw_presets_theirs")).to_have_value("THEIRS:0.5\n")
    expect(part(page, "lbw_presets_difference")).to_contain_text("+MINE:1")
    assert file.read_text() == "THEIRS:0.5\n"
    page.locator("#lbw_presets_keep_mine").click()
    expect(part(page, "lbw_presets_message")).to_contain_text("Saved to")
    expect(part(page, "lbw_presets_conflict")).to_be_hidden()
    assert file.read_text() == "MINE:1\n"
    assert (folder / "lbwpresets.txt.bak").read_text() == "THEIRS:0.5\n"


def test_the_files_version_can_be_taken_instead(page: sync_api.Page, folder: Path) -> None:
    editor(page).fill("MINE:1\n")
    (folder / "lbwpresets.txt").write_text("THEIRS:0.5\n")
    page.locator("#lbw_presets_reload").click()
    expect(part(page, "lbw_presets_message")).to_contain_text("so did the text in the editor")
    expect(editor(page)).to_have_value("MINE:1\n")
    page.locator("#lbw_presets_take_theirs").click()
    expect(editor(page)).to_have_value("THEIRS:0.5\n")
    assert (folder / "lbwpresets.txt").read_text() == "THEIRS:0.5\n"


def test_what_is_not_saved_survives_another_tab(page: sync_api.Page) -> None:
    editor(page).fill("MINE:1\n")
    tab(page, "Tuner")
    expect(editor(page)).to_be_hidden()
    tab(page, "Presets")
    expect(editor(page)).to_have_value("MINE:1\n")


def test_a_file_that_cannot_be_written_or_read_is_told(page: sync_api.Page, folder: Path) -> None:
    editor(page).fill("MINE:1\n")
    (folder / "lbwpresets.txt").write_bytes(b"\xff")
    page.locator("#lbw_presets_save").click()
    expect(part(page, "lbw_presets_message")).to_contain_text("is not UTF-8")
    expect(editor(page)).to_have_value("MINE:1\n")
    assert (folder / "lbwpresets.txt").read_bytes() == b"\xff"


def test_names_from_a_file_are_shown_as_text(page: sync_api.Page, served: tuple[str, Path], folder: Path) -> None:
    (folder / "lbwpresets.txt").write_text(f"{HOSTILE}:1\nB:{HOSTILE}\n")
    (folder / "lbwhints.csv").write_text(f"name,architecture,weights,note\n{HOSTILE},{HOSTILE},{HOSTILE},{HOSTILE}\n")
    page.goto(served[0])
    expect(part(page, "lbw_presets_check")).to_contain_text(HOSTILE)
    editor(page).fill(f"{HOSTILE}:2\n")
    (folder / "lbwpresets.txt").write_text(f"OTHER{HOSTILE}:1\n")
    page.locator("#lbw_presets_save").click()
    expect(part(page, "lbw_presets_difference")).to_contain_text(f"OTHER{HOSTILE}")
    field(page, "lbw_weights_preset").fill(HOSTILE)
    field(page, "lbw_weights_preset").press("Enter")
    page.locator("#lbw_weights_load").click()
    tab(page, "Tuner")
    page.get_by_text("Hints: reference weights").click()
    expect(part(page, "lbw_hints_table")).to_contain_text(HOSTILE)
    assert page.locator("img[src='x']").count() == 0


def test_elemental_presets_are_edited_in_their_own_file(page: sync_api.Page, folder: Path) -> None:
    tab(page, "Elemental")
    page.locator("#lbw_elements_text textarea").fill("NOATTN:IN05-OUT05:attn:0\n")
    expect(part(page, "lbw_elements_check")).to_contain_text("1 rule")
    page.locator("#lbw_elements_save").click()
    expect(part(page, "lbw_elements_message")).to_contain_text("Saved to")
    assert (folder / "elempresets.txt").read_text() == "NOATTN:IN05-OUT05:attn:0\n"


# Make weights ------------------------------------------------------------------------------------


def test_sliders_write_a_preset_and_save_it(page: sync_api.Page, folder: Path) -> None:
    page.locator("#lbw_weights_all_0").click()
    expect(field(page, "lbw_weights_line")).to_have_value(",".join("0" * 12))
    slide(page, "OUT01", "0.333")
    expect(field(page, "lbw_weights_line")).to_have_value("0,0,0,0,0,0,0,0.333,0,0,0,0")
    expect(page.locator("#lbw_weights_strip img")).to_have_attribute("alt", re.compile(r"OUT01 0\.333"))
    field(page, "lbw_weights_name").fill("FINE")
    page.locator("#lbw_weights_add").click()
    expect(editor(page)).to_have_value("ALL:1\nSTYLE:0,OUT01=1\nFINE:0,0,0,0,0,0,0,0.333,0,0,0,0\n")
    assert "FINE" not in (folder / "lbwpresets.txt").read_text()
    page.locator("#lbw_weights_add_save").click()
    expect(part(page, "lbw_weights_message")).to_contain_text("Saved to")
    assert "FINE:0,0,0,0,0,0,0,0.333,0,0,0,0\n" in (folder / "lbwpresets.txt").read_text()


def test_a_preset_of_any_layout_loads_into_the_sliders(page: sync_api.Page) -> None:
    weights = ",".join(["0.25"] * 25 + ["5"])
    for text, block, value in (("STYLE", "OUT01", "1"), (weights, "OUT11", "5"), (",".join("1" * 61), "D18", "1")):
        field(page, "lbw_weights_preset").fill(text)
        field(page, "lbw_weights_preset").press("Enter")
        page.locator("#lbw_weights_load").click()
        expect(page.locator(f"#lbw_weights_{block} input[type=number]")).to_have_value(value)
        expect(page.locator(f"#lbw_weights_{block} input[type=number]")).to_be_visible()
    expect(field(page, "lbw_weights_line")).to_have_value(",".join("1" * 61))
    expect(page.locator("#lbw_weights_OUT11")).to_be_hidden()


def test_bad_input_to_the_sliders_is_told_in_the_panel(page: sync_api.Page) -> None:
    said = part(page, "lbw_weights_message")
    page.locator("#lbw_weights_add").click()
    expect(said).to_contain_text("the preset has no name")
    field(page, "lbw_weights_custom_value").fill("much")
    page.locator("#lbw_weights_custom").click()
    expect(said).to_contain_text('Custom value "much" is no number')
    field(page, "lbw_weights_preset").fill("1,2,3")
    field(page, "lbw_weights_preset").press("Enter")
    page.locator("#lbw_weights_load").click()
    expect(said).to_contain_text("3 numbers are no layout")


# Tuner -------------------------------------------------------------------------------------------


@pytest.fixture
def tuner(page: sync_api.Page) -> sync_api.Page:
    """The tuner with IN08 and OUT00 open and everything else not needed."""
    tab(page, "Tuner")
    field(page, "lbw_tuner_blocks").fill("NOT IN08 OUT00")
    page.locator("#lbw_tuner_not_needed").click()
    expect(field(page, "lbw_tuner_open_blocks")).to_have_value("IN08,OUT00")
    return page


def test_a_round_is_rendered_accepted_and_undone(tuner: sync_api.Page, folder: Path) -> None:
    tuner.locator("#lbw_tuner_next").click()
    expect(part(tuner, "lbw_tuner_progress")).to_contain_text("5 / 5 pictures")
    gallery = part(tuner, "lbw_tuner_gallery")
    gallery.locator("button", has_text="OUT00 0.5 → 1").first.click()
    expect(part(tuner, "lbw_tuner_message")).to_contain_text("Accepted: OUT00 0.5 → 1")
    expect(field(tuner, "lbw_tuner_preset")).to_have_value("TUNED:0,0,0,0,0.5,0,1,0,0,0,0,0")
    expect(gallery).to_contain_text("✓ OUT00 0.5 → 1")
    gallery.locator("button", has_text="IN08 0.5 → 0").first.click()
    expect(field(tuner, "lbw_tuner_preset")).to_have_value("TUNED:0,0,0,0,0,0,1,0,0,0,0,0")
    for before in ("0,0,0,0,0.5,0,1,0,0,0,0,0", "0,0,0,0,0.5,0,0.5,0,0,0,0,0"):
        tuner.locator("#lbw_tuner_undo").click()
        expect(field(tuner, "lbw_tuner_preset")).to_have_value(f"TUNED:{before}")
    tuner.locator("#lbw_tuner_add_save").click()
    expect(part(tuner, "lbw_tuner_message")).to_contain_text("Saved to")
    assert "TUNED:0,0,0,0,0.5,0,0.5,0,0,0,0,0\n" in (folder / "lbwpresets.txt").read_text()


def test_a_click_on_a_block_chooses_it_and_one_more_lets_it_go(tuner: sync_api.Page) -> None:
    field(tuner, "lbw_tuner_blocks").fill("")
    blocks = part(tuner, "lbw_tuner_view").locator(".lbw-state")
    blocks.filter(has_text="IN08").click()
    blocks.filter(has_text="OUT01").click()
    blocks.filter(has_text="IN08").click()
    expect(field(tuner, "lbw_tuner_blocks")).to_have_value("OUT01")
    tuner.locator("#lbw_tuner_needed").click()
    expect(blocks.filter(has_text="OUT01")).to_contain_text("✓ fixed")


def test_a_tuning_is_taken_up_another_day(tuner: sync_api.Page, served: tuple[str, Path]) -> None:
    kept = field(tuner, "lbw_tuner_state").input_value()
    tuner.goto(served[0])
    tab(tuner, "Tuner")
    expect(field(tuner, "lbw_tuner_open_blocks")).to_have_value(re.compile("^BASE"))
    tuner.get_by_text("Start from a suggestion").click()
    field(tuner, "lbw_tuner_suggestion").fill(kept)
    tuner.locator("#lbw_tuner_from_suggestion").click()
    expect(field(tuner, "lbw_tuner_open_blocks")).to_have_value("IN08,OUT00")


def test_a_hint_is_loaded_into_the_tuner_and_a_table_saved(tuner: sync_api.Page, folder: Path) -> None:
    tuner.get_by_text("Hints: reference weights").click()
    tuner.locator("#lbw_hints_table td", has_text="XL-STYLE").first.click()
    expect(field(tuner, "lbw_tuner_weights")).to_have_value("0,OUT01=1,IN08=1")
    tuner.locator("#lbw_tuner_load").click()
    expect(field(tuner, "lbw_tuner_preset")).to_have_value("TUNED:0,0,0,0,1,0,0,1,0,0,0,0")
    tuner.locator("#lbw_hints_save").click()
    expect(part(tuner, "lbw_hints_message")).to_contain_text("Saved to")
    assert (folder / "lbwhints.csv").read_text() == (ROOT / "presets" / "lbwhints.csv").read_text()


def test_bad_input_to_the_tuner_is_told_in_the_panel(tuner: sync_api.Page) -> None:
    said = part(tuner, "lbw_tuner_message")
    field(tuner, "lbw_tuner_blocks").fill("QQ")
    tuner.locator("#lbw_tuner_fix").click()
    expect(said).to_contain_text('unknown block "QQ"')
    field(tuner, "lbw_tuner_weights").fill("1,2")
    tuner.locator("#lbw_tuner_load").click()
    expect(said).to_contain_text("2 numbers given")
    field(tuner, "lbw_tuner_range").fill("wide")
    expect(said).to_contain_text('Range "wide" is not two numbers')
    tuner.locator("#lbw_tuner_next").click()
    expect(said).to_contain_text('Range "wide" is not two numbers')


def test_every_control_says_what_it_is_for(page: sync_api.Page) -> None:
    untold = page.evaluate(
        """() => [...document.querySelectorAll('button[id^=lbw_], .block[id^=lbw_]')]
            .filter(part => !part.title && !part.closest('[title]')
                && !/_(message|progress|view|difference|gallery|start|hints)$/.test(part.id)
                && !part.querySelector("[data-testid='block-info'] ~ *"))
            .map(part => part.id)"""
    )
    assert [elem_id for elem_id in untold if elem_id not in ("lbw_hints", "lbw_tuner_start")] == []
