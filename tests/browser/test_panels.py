"""The panels in a real browser, under each Gradio."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .server import ROOT, Server, serving

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
expect.set_options(timeout=60_000)  # for busy machines; nothing waits if all is well

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def server(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(python, ["tests.browser.page"], tmp_path_factory.mktemp("panels") / "page.log") as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the preset files, with two presets."""
    folder = tmp_path / "user"
    folder.mkdir()
    (folder / "lbwpresets.txt").write_text("ALL:1\nSTYLE:0,OUT01=1\n")
    return folder


@pytest.fixture
def address(server: Server, folder: Path) -> Iterator[str]:
    """The address of a new page, because the tuner's state is kept between visits."""
    yield server.page(folder)
    server.check()


@pytest.fixture
def page(open_page: Callable[[str], Any], address: str) -> sync_api.Page:
    page = open_page(address)
    expect(editor(page)).to_have_value("ALL:1\nSTYLE:0,OUT01=1\n")
    return page


def editor(page: sync_api.Page) -> sync_api.Locator:
    return page.locator("#lbw_presets_text textarea")


def part(page: sync_api.Page, elem_id: str) -> sync_api.Locator:
    return page.locator(f"#{elem_id}").first


def field(page: sync_api.Page, elem_id: str) -> sync_api.Locator:
    return page.locator(f"#{elem_id} :is(textarea, input)").first


def choose(page: sync_api.Page, elem_id: str, text: str) -> None:
    """Choose an item of a dropdown; its list closes by itself where its choices come only after the click."""
    option = part(page, elem_id).locator("li, [role=option]").filter(has_text=text).first
    for _ in range(10):
        field(page, elem_id).click()
        try:
            option.click(timeout=6000)
        except sync_api.TimeoutError:
            field(page, elem_id).blur()
        else:
            return
    raise AssertionError(f"{elem_id} does not offer {text}")


def tab(page: sync_api.Page, name: str) -> None:
    page.locator("button", has_text=re.compile(f"^\\s*{name}\\s*$")).first.click()


def slide(page: sync_api.Page, block: str, value: str) -> None:
    number = page.locator(f"#lbw_weights_{block} input[type=number]")
    number.fill(value)


# Presets -----------------------------------------------------------------------------------------


def test_what_is_typed_is_checked_and_saved_with_a_backup(page: sync_api.Page, folder: Path) -> None:
    editor(page).fill("ALL:1\nBAD:1,2,3\nALL:0\n")
    expect(part(page, "lbw_presets_check")).to_contain_text("2 presets · 1 problem · 1 remark · not saved yet")
    expect(part(page, "lbw_presets_check")).to_contain_text("no layout has 3 numbers")
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
    expect(part(page, "lbw_presets_message")).to_contain_text("so has the text in the editor")
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
    expect(part(page, "lbw_presets_message")).to_contain_text("is not valid UTF-8")
    expect(editor(page)).to_have_value("MINE:1\n")
    assert (folder / "lbwpresets.txt").read_bytes() == b"\xff"


def test_a_file_that_is_gone_is_told_before_it_is_made_anew(page: sync_api.Page, folder: Path) -> None:
    editor(page).fill("MINE:1\n")
    (folder / "lbwpresets.txt").unlink()
    page.locator("#lbw_presets_save").click()
    expect(part(page, "lbw_presets_message")).to_contain_text("nothing was saved")
    assert not (folder / "lbwpresets.txt").exists()
    page.locator("#lbw_presets_keep_mine").click()
    expect(part(page, "lbw_presets_message")).to_contain_text("Saved to")
    assert (folder / "lbwpresets.txt").read_text() == "MINE:1\n"


def test_where_nothing_can_be_written_the_text_stays(page: sync_api.Page, folder: Path) -> None:
    editor(page).fill("MINE:1\n")
    shutil.rmtree(folder)
    folder.write_text("in the way")
    page.locator("#lbw_presets_save").click()
    page.locator("#lbw_presets_keep_mine").click()
    expect(part(page, "lbw_presets_message")).to_contain_text("Not saved:")
    expect(editor(page)).to_have_value("MINE:1\n")
    assert folder.read_text() == "in the way"


def test_who_leaves_with_unsaved_presets_is_asked(page: sync_api.Page) -> None:
    def leaves() -> bool:
        return bool(page.evaluate("() => window.dispatchEvent(new Event('beforeunload', {cancelable: true}))"))

    assert leaves()
    editor(page).fill("MINE:1\n")
    expect(part(page, "lbw_presets_check")).to_contain_text("not saved yet")
    assert not leaves()
    page.locator("#lbw_presets_save").click()
    expect(part(page, "lbw_presets_check")).not_to_contain_text("not saved yet")
    assert leaves()


def test_names_from_a_file_are_shown_as_text(page: sync_api.Page, address: str, folder: Path) -> None:
    (folder / "lbwpresets.txt").write_text(f"{HOSTILE}:1\nB:{HOSTILE}\n")
    (folder / "lbwhints.csv").write_text(f"name,architecture,weights,note\n{HOSTILE},{HOSTILE},{HOSTILE},{HOSTILE}\n")
    page.goto(address)
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
    expect(page.locator("#lbw_weights_image img")).to_have_attribute("alt", re.compile(r"OUT01 0\.333"))
    page.locator("#lbw_weights_IN08 input[type=range]").press("Home")
    expect(page.locator("#lbw_weights_IN08 input[type=number]")).to_have_value("-1")
    expect(field(page, "lbw_weights_line")).to_have_value("0,0,0,0,-1,0,0,0.333,0,0,0,0")
    slide(page, "IN08", "0")
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
    message = part(page, "lbw_weights_message")
    page.locator("#lbw_weights_add").click()
    expect(message).to_contain_text("the preset has no name")
    field(page, "lbw_weights_custom_value").fill("much")
    page.locator("#lbw_weights_custom").click()
    expect(message).to_contain_text('Custom value "much" is not a number')
    field(page, "lbw_weights_preset").fill("1,2,3")
    field(page, "lbw_weights_preset").press("Enter")
    page.locator("#lbw_weights_load").click()
    expect(message).to_contain_text("no layout has 3 numbers")


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


def test_a_group_is_rendered_and_accepted_as_one(page: sync_api.Page) -> None:
    tab(page, "Tuner")
    field(page, "lbw_tuner_blocks").fill("BASE, M00, OUT03-OUT05")
    page.locator("#lbw_tuner_not_needed").click()
    page.locator("#lbw_tuner_usual_groups").click()
    expect(field(page, "lbw_tuner_groups")).to_have_value("IN04 IN05,IN07 IN08,OUT00-OUT02,OUT03-OUT05")
    expect(field(page, "lbw_tuner_open_blocks")).to_have_value("IN04 IN05,IN07 IN08,OUT00-OUT02")
    view = part(page, "lbw_tuner_view")
    expect(view).to_contain_text("7 / 12 blocks open · 4 groups")
    expect(view.locator(".lbw-state", has_text="OUT01").locator(".lbw-group")).to_have_text("3")
    page.locator("#lbw_tuner_next").click()
    expect(part(page, "lbw_tuner_progress")).to_contain_text("7 / 7 pictures")
    gallery = part(page, "lbw_tuner_gallery")
    gallery.locator("button", has_text="OUT00-OUT02 0.5 → 1").first.click()
    expect(field(page, "lbw_tuner_preset")).to_have_value("TUNED:0,0.5,0.5,0.5,0.5,0,1,1,1,0,0,0")
    expect(gallery).to_contain_text("✓ OUT00-OUT02 0.5 → 1")
    kept = field(page, "lbw_tuner_state").input_value()
    field(page, "lbw_tuner_groups").fill("OUT00 OUT01, OUT01")
    expect(part(page, "lbw_tuner_message")).to_contain_text('OUT01 is in "OUT00 OUT01" and "OUT01"')
    page.get_by_text("Start from a suggestion").click()
    field(page, "lbw_tuner_suggestion").fill(kept)
    page.locator("#lbw_tuner_from_suggestion").click()
    expect(field(page, "lbw_tuner_groups")).to_have_value("IN04 IN05,IN07 IN08,OUT00-OUT02,OUT03-OUT05")


def test_a_stop_keeps_the_pictures_that_are_there(tuner: sync_api.Page) -> None:
    field(tuner, "lbw_tuner_steps").fill("400")  # a second for each picture
    tuner.locator("#lbw_tuner_next").click()
    progress, gallery = part(tuner, "lbw_tuner_progress"), part(tuner, "lbw_tuner_gallery")
    expect(progress).to_contain_text("2 / 5 pictures")
    tuner.locator("#lbw_tuner_stop").click()
    expect(progress).to_contain_text("Stopped.")
    time.sleep(2.5)
    expect(progress).to_contain_text("Stopped.")
    pictures = gallery.locator("button img")
    assert 2 <= pictures.count() < 5
    gallery.locator("button", has_text="IN08 0.5 → 0").first.click()
    expect(field(tuner, "lbw_tuner_preset")).to_have_value("TUNED:0,0,0,0,0,0,0.5,0,0,0,0,0")
    field(tuner, "lbw_tuner_steps").fill("4")
    tuner.locator("#lbw_tuner_next").click()
    expect(progress).to_contain_text("4 / 4 pictures")


def test_the_picture_is_what_the_fields_say(tuner: sync_api.Page, folder: Path) -> None:
    field(tuner, "lbw_tuner_prompt").fill("a house <lora:x:1:lbw=XYZ>")
    field(tuner, "lbw_tuner_seed").fill("77")
    field(tuner, "lbw_tuner_steps").fill("9")
    tuner.locator("#lbw_tuner_next").click()
    expect(part(tuner, "lbw_tuner_progress")).to_contain_text("5 / 5 pictures")
    assert (folder / "asked.txt").read_text() == "a house <lora:x:1:lbw=XYZ> Euler 9 77"
    field(tuner, "lbw_tuner_steps").fill("0")
    tuner.locator("#lbw_tuner_next").click()
    expect(part(tuner, "lbw_tuner_message")).to_contain_text("Steps")


def test_the_loaded_model_decides_what_a_page_begins_with(page: sync_api.Page, address: str, folder: Path) -> None:
    (folder / "loaded.txt").write_text("sd1")
    page.goto(address)
    expect(field(page, "lbw_weights_line")).to_have_value(",".join("1" * 17))
    expect(page.locator("#lbw_weights_OUT11")).to_be_visible()
    expect(page.locator("#lbw_weights_OUT00")).to_be_hidden()
    tab(page, "Tuner")
    expect(field(page, "lbw_tuner_type")).to_have_value("SD 1.x: 17 blocks")
    expect(field(page, "lbw_tuner_preset")).to_have_value("TUNED:" + ",".join(["0.5"] * 17))
    (folder / "loaded.txt").write_text("flux")
    page.goto(address)
    expect(field(page, "lbw_weights_line")).to_have_value(",".join("1" * 57))
    tab(page, "Tuner")
    expect(field(page, "lbw_tuner_type")).to_have_value("Flux.1: 61 blocks")


def test_a_fresh_tuner_follows_the_prompts_lora_and_the_model_that_was_loaded_meanwhile(
    page: sync_api.Page, folder: Path
) -> None:
    tab(page, "Tuner")
    expect(field(page, "lbw_tuner_type")).to_have_value("SDXL: 12 blocks")
    (folder / "loaded.txt").write_text("flux")
    field(page, "lbw_tuner_prompt").fill("a house")
    expect(field(page, "lbw_tuner_type")).to_have_value("Flux.1: 61 blocks")
    expect(field(page, "lbw_tuner_preset")).to_have_value("TUNED:" + ",".join(["0.5"] * 61))
    shutil.copy(ROOT / "demo" / "loras" / "planted.safetensors", folder / "planted.safetensors")
    field(page, "lbw_tuner_prompt").fill("a house <lora:planted:1:lbw=XYZ>")
    expect(field(page, "lbw_tuner_type")).to_have_value("SDXL: 12 blocks")
    expect(page.locator(".lbw-state")).to_have_count(12)


def test_another_model_begins_anew_without_groups_that_it_lacks(tuner: sync_api.Page) -> None:
    tuner.locator("#lbw_tuner_usual_groups").click()
    expect(part(tuner, "lbw_tuner_view")).to_contain_text("4 groups")
    tuner.locator("#lbw_tuner_new").click()
    expect(part(tuner, "lbw_tuner_view")).to_contain_text("12 / 12 blocks open · 4 groups · 0 changes")
    choose(tuner, "lbw_tuner_type", "Flux.1: 57")
    expect(part(tuner, "lbw_tuner_view")).to_contain_text("57 / 57 blocks open · 0 changes")
    expect(field(tuner, "lbw_tuner_groups")).to_have_value("")
    expect(part(tuner, "lbw_tuner_message")).not_to_contain_text("Groups")


def test_what_was_found_is_written_for_the_trainer(tuner: sync_api.Page) -> None:
    tuner.get_by_text("For the trainer").click()
    shown = field(tuner, "lbw_tuner_settings")
    down, up = "0,0,0,0,0,0,0,0,0.5", "0.5,0,0,0,0,0,0,0,0"
    weights = f'"down_lr_weight={down}" "mid_lr_weight=0,0,0" "up_lr_weight={up}"'
    module = "--network_module networks.lora"
    expect(shown).to_have_value(f"{module} --unet_lr 0.0001 --network_train_unet_only --network_args {weights}")
    choose(tuner, "lbw_tuner_way", "LyCORIS preset")
    expect(shown).to_have_value(re.compile(r'"input_blocks\.8\.1\.\*",\n  "output_blocks\.0'))
    choose(tuner, "lbw_tuner_way", "sd-scripts: ranks")
    field(tuner, "lbw_tuner_rank").fill("32")
    expect(shown).to_have_value(re.compile('"block_dims=0,0,0,0,0,0,0,0,0,16,0,0,0,16,0,'))
    field(tuner, "lbw_tuner_rank").fill("none")
    message = part(tuner, "lbw_tuner_trainer_message")
    expect(message).to_contain_text('Rank "none" is not a whole number')
    expect(shown).to_have_value("")
    field(tuner, "lbw_tuner_rank").fill("4")
    expect(shown).to_have_value(re.compile("block_dims"))
    field(tuner, "lbw_tuner_blocks").fill("NOT BASE")
    tuner.locator("#lbw_tuner_not_needed").click()
    expect(message).to_contain_text("nothing to train")


def test_the_trainers_are_those_of_the_model(tuner: sync_api.Page) -> None:
    tuner.get_by_text("For the trainer").click()
    shown, way = field(tuner, "lbw_tuner_settings"), field(tuner, "lbw_tuner_way")
    choose(tuner, "lbw_tuner_way", "sd-scripts: ranks")
    expect(shown).to_have_value(re.compile("block_dims"))  # the answer arrives before the next question
    choose(tuner, "lbw_tuner_type", "Z-Image: 30")
    expect(way).to_have_value("musubi-tuner")
    expect(shown).to_have_value(re.compile("^--network_module networks.lora_zimage"))
    choose(tuner, "lbw_tuner_way", "ai-toolkit")
    expect(shown).to_have_value(re.compile('"transformer.layers.29."'))
    choose(tuner, "lbw_tuner_type", "Wan 14B: 40")
    expect(way).to_have_value("ai-toolkit")
    expect(shown).to_have_value(re.compile('"transformer.blocks.39."'))


def test_a_click_on_a_block_chooses_it_and_one_more_lets_it_go(tuner: sync_api.Page) -> None:
    field(tuner, "lbw_tuner_blocks").fill("")
    blocks = part(tuner, "lbw_tuner_view").locator(".lbw-state")
    blocks.filter(has_text="IN08").click()
    blocks.filter(has_text="OUT01").click()
    blocks.filter(has_text="IN08").click()
    expect(field(tuner, "lbw_tuner_blocks")).to_have_value("OUT01")
    tuner.locator("#lbw_tuner_needed").click()
    expect(blocks.filter(has_text="OUT01")).to_contain_text("✓ fixed")


def test_a_tuning_is_taken_up_another_day(tuner: sync_api.Page, address: str) -> None:
    kept = field(tuner, "lbw_tuner_state").input_value()
    tuner.goto(address)
    tab(tuner, "Tuner")
    expect(field(tuner, "lbw_tuner_open_blocks")).to_have_value("IN08,OUT00")
    tuner.locator("#lbw_tuner_new").click()
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
    message = part(tuner, "lbw_tuner_message")
    field(tuner, "lbw_tuner_blocks").fill("QQ")
    tuner.locator("#lbw_tuner_fix").click()
    expect(message).to_contain_text('unknown block "QQ"')
    field(tuner, "lbw_tuner_weights").fill("1,2")
    tuner.locator("#lbw_tuner_load").click()
    expect(message).to_contain_text("2 numbers given")
    field(tuner, "lbw_tuner_range").fill("wide")
    expect(message).to_contain_text('Range "wide" is not two numbers')
    tuner.locator("#lbw_tuner_next").click()
    expect(message).to_contain_text('Range "wide" is not two numbers')


def test_every_control_says_what_it_is_for(page: sync_api.Page) -> None:
    untold = page.evaluate(
        """() => [...document.querySelectorAll('button[id^=lbw_], .block[id^=lbw_]')]
            .filter(part => !part.title && !part.closest('[title]')
                && !/_(message|progress|view|difference|gallery|start|trainer|hints)$/.test(part.id)
                && !part.querySelector("[data-testid='block-info'] ~ *"))
            .map(part => part.id)"""
    )
    assert [elem_id for elem_id in untold if elem_id not in ("lbw_hints", "lbw_tuner_start", "lbw_tuner_trainer")] == []


def test_the_map_says_of_a_block_what_pointer_or_keys_are_at(
    open_page: Callable[[str], Any], address: str, folder: Path
) -> None:
    shutil.copy(ROOT / "demo" / "loras" / "planted.safetensors", folder / "planted.safetensors")
    (folder / "loaded.txt").write_text("flux")
    page = open_page(address)
    tab(page, "Block map")
    view = part(page, "lbw_map_view")
    told = view.locator(".lbw-map-told")
    expect(view.locator(".lbw-map-block")).to_have_count(61)
    view.get_by_role("button", name="D07").hover()
    expect(told).to_have_text("D07 · double stream block 7 · double_blocks.7")
    view.get_by_role("button", name="S36").focus()
    page.keyboard.press("Tab")
    expect(told).to_have_text("S37 · single stream block 37 · single_blocks.37")
    field(page, "lbw_map_lora").click()
    part(page, "lbw_map_lora").locator("li, [role=option]").filter(has_text="planted").first.click()
    expect(view.locator(".lbw-map-block")).to_have_count(20)
    view.get_by_role("button", name="OUT04").hover()
    expect(told).to_contain_text("36 tensors · 8,844 parameters · 33.33 %")
    field(page, "lbw_map_model").click()
    part(page, "lbw_map_model").locator("li, [role=option]").filter(has_text="Qwen-Image").first.click()
    expect(view.locator(".lbw-map-block")).to_have_count(63)


def test_weights_are_made_and_tuned_for_a_model_that_no_list_has(
    open_page: Callable[[str], Any], address: str, folder: Path
) -> None:
    shutil.copy(ROOT / "demo" / "loras" / "planted.safetensors", folder / "planted.safetensors")
    (folder / "loaded.txt").write_text("anima:B20")
    page = open_page(address)
    tab(page, "Make weights")
    expect(field(page, "lbw_weights_type")).to_have_value("20: Anima with 20 B blocks (anima:B20)")
    expect(page.locator(".lbw-weights-slider:visible")).to_have_count(20)
    number = page.locator("#lbw_weights_B19 input[type=number]")
    number.fill("0.5")
    number.press("Tab")
    expect(field(page, "lbw_weights_line")).to_have_value(",".join(["1"] * 19) + ",0.5")
    field(page, "lbw_weights_lora").click()
    part(page, "lbw_weights_lora").locator("li, [role=option]").filter(has_text="planted").first.click()
    expect(field(page, "lbw_weights_type")).to_have_value("12: SDXL")
    expect(page.locator(".lbw-weights-slider:visible")).to_have_count(12)
    tab(page, "Tuner")
    expect(field(page, "lbw_tuner_type")).to_have_value("Anima with 20 B blocks (anima:B20): 24 blocks")
    expect(page.locator(".lbw-state")).to_have_count(24)
    part(page, "lbw_tuner_new").click()
    expect(page.locator(".lbw-state")).to_have_count(24)
