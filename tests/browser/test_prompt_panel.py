"""The panel at a tag in the prompt, driven in a browser by keyboard and by mouse."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .pages import ATTACK, BOXES, site

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
PROMPT = "a cat <lora:subject:1:lbw=XL-STYLE> sitting"


class Person:
    """A user at the page."""

    def __init__(self, page: Any, server: Any) -> None:
        self.page, self.server = page, server
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.panel = page.locator(".lbw-panel")

    def box(self, name: str = "txt2img_prompt") -> Any:
        return self.page.locator(f"#{name} textarea")

    def text(self, name: str = "txt2img_prompt") -> str:
        return str(self.box(name).input_value())

    def caret(self, needle: str, name: str = "txt2img_prompt") -> None:
        """Click into the box, then move the caret by keyboard to just after the first letter of `needle`."""
        place = self.text(name).index(needle)
        self.box(name).click(position={"x": 3, "y": 4})
        self.box(name).evaluate("(box, place) => box.setSelectionRange(place, place)", place)
        self.page.keyboard.press("ArrowRight")

    def type(self, text: str, needle: str = "<lora:", name: str = "txt2img_prompt") -> None:
        """Fill in a prompt and put the caret into its tag."""
        self.box(name).fill("")
        self.box(name).click()
        self.page.keyboard.insert_text(text)
        if needle:
            self.caret(needle, name)

    def opened(self, text: str = PROMPT) -> Person:
        """Open the panel at the tag of `text`, and wait for the server's answer."""
        self.type(text)
        expect(self.panel).to_be_visible()
        expect(self.panel.locator(".lbw-block input").first).to_be_enabled()
        return self

    def block(self, block: str) -> Any:
        return self.panel.locator(f'.lbw-block[data-block="{block}"]')

    def field(self, label: str) -> Any:
        return self.panel.get_by_label(label, exact=True)


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Person]]:
    """Open the page of this Gradio in a window of this width."""
    with site() as server:
        pages = []

        def come(gradio: str = "3.41", width: int = 900, height: int = 800, **context: Any) -> Person:
            server.gradio = gradio
            page = browser.new_page(viewport={"width": width, "height": height}, **context)
            person = Person(page, server)
            page.goto(server.address)
            pages.append(person)
            return person

        yield come
        for person in pages:
            assert person.errors == []
            assert person.page.evaluate("window.attacked") is None
            person.page.close()


@pytest.fixture(params=["3.41", "4.40"])
def person(request: pytest.FixtureRequest, visit: Callable[..., Person]) -> Person:
    """A user at the page of each Gradio in turn."""
    return visit(request.param)


def overlap(a: dict[str, float], b: dict[str, float]) -> bool:
    return not (
        a["bottom"] <= b["top"] or b["bottom"] <= a["top"] or a["right"] <= b["left"] or b["right"] <= a["left"]
    )


@pytest.mark.parametrize("name", BOXES)
def test_it_opens_at_a_tag_in_every_prompt_box(visit: Callable[..., Person], name: str) -> None:
    person = visit()
    person.type(PROMPT, "a cat", name)
    expect(person.panel).to_have_count(0)
    person.caret("subject", name)
    expect(person.panel).to_be_visible()
    expect(person.panel.locator(".lbw-name")).to_have_text("subject")
    expect(person.panel.locator(".lbw-model")).to_have_text("SDXL")
    person.caret("sitting", name)
    expect(person.panel).to_have_count(0)


def test_a_click_on_the_tag_opens_it_and_a_click_elsewhere_closes_it(person: Person) -> None:
    person.type(PROMPT, "")
    expect(person.panel).to_have_count(0)
    person.box().click(position={"x": 120, "y": 20})
    expect(person.panel).to_be_visible()
    person.page.mouse.click(860, 780)
    expect(person.panel).to_have_count(0)


def test_a_click_of_the_hosts_script_leaves_it_open_and_a_persons_closes_it(person: Person) -> None:
    person.opened()
    before = person.page.evaluate("window.counted")
    person.block("OUT00").locator("input").focus()
    person.page.keyboard.press("1")
    person.page.wait_for_function("before => window.counted > before", arg=before)
    person.page.wait_for_timeout(100)
    expect(person.panel).to_be_visible()
    counted = person.page.evaluate("window.counted")
    person.page.locator("#token_button").click()
    assert person.page.evaluate("window.counted") == counted + 1
    expect(person.panel).to_have_count(0)


def test_the_sliders_show_what_the_preset_means(person: Person) -> None:
    person.opened()
    states = {block: person.block(block).get_attribute("data-state") for block in ("OUT01", "IN08", "OUT00", "BASE")}
    assert states == {"OUT01": "one", "IN08": "one", "OUT00": "zero", "BASE": "zero"}
    expect(person.block("OUT01").locator("output")).to_have_text("● 1")
    assert person.field("Preset").evaluate("list => list.selectedOptions[0].textContent") == "XL-STYLE"


def test_the_keyboard_alone_suffices(person: Person) -> None:
    person.opened()
    keys = person.page.keyboard
    keys.press("Alt+l")
    expect(person.field("Strength").first).to_be_focused()
    keys.press("ArrowLeft")
    keys.press("Shift+ArrowLeft")
    assert person.text() == "a cat <lora:subject:0.94:lbw=XL-STYLE> sitting"
    for _ in range(40):
        if person.page.evaluate("document.activeElement.closest('.lbw-block')?.dataset.block") == "IN04":
            break
        keys.press("Tab")
    keys.press("ArrowUp")
    keys.press("ArrowUp")
    assert person.text() == "a cat <lora:subject:0.94:lbw=XL-STYLE,IN04=0.1> sitting"
    keys.press("1")
    assert person.text() == "a cat <lora:subject:0.94:lbw=XL-STYLE,IN04=1> sitting"
    assert person.page.evaluate("window.kept.txt2img_prompt") == person.text()
    keys.press("Escape")
    expect(person.panel).to_have_count(0)
    expect(person.box()).to_be_focused()
    keys.type("!")
    assert "!" in person.text()


def test_undo_takes_back_one_change_after_the_other_and_then_what_was_typed(person: Person) -> None:
    person.opened()
    keys = person.page.keyboard
    person.block("OUT00").locator("input").focus()
    keys.press("1")
    person.block("BASE").locator("input").focus()
    keys.press("1")
    assert person.text() == PROMPT.replace("STYLE", "STYLE,OUT00=1,BASE=1")
    keys.press("Control+z")
    assert person.text() == PROMPT.replace("STYLE", "STYLE,OUT00=1")
    assert person.page.evaluate("window.kept.txt2img_prompt") == person.text()
    expect(person.block("BASE")).to_have_attribute("data-state", "zero")
    keys.press("Control+Shift+z")
    assert person.text() == PROMPT.replace("STYLE", "STYLE,OUT00=1,BASE=1")
    keys.press("Escape")
    keys.press("Control+z")
    keys.press("Control+z")
    assert person.text() == PROMPT
    keys.press("Control+z")
    assert person.text() == ""


def test_a_slider_drawn_with_the_mouse_writes_all_the_way_and_is_one_step_of_undo(person: Person) -> None:
    person.opened()
    slider = person.block("OUT05").locator("input").bounding_box()
    y = slider["y"] + slider["height"] / 2
    mouse = person.page.mouse
    mouse.move(slider["x"] + slider["width"] * 0.25, y)
    mouse.down()
    seen = set()
    for step in range(1, 21):
        mouse.move(slider["x"] + slider["width"] * (0.25 + 0.02 * step), y)
        seen.add(person.text())
    mouse.up()
    assert len(seen) > 10
    written = float(person.text().split("OUT05=")[1].split(">")[0])
    assert 0.7 < written < 0.95
    person.page.keyboard.press("Control+z")
    assert person.text() == PROMPT
    person.page.keyboard.press("Control+z")
    assert person.text() == ""


def test_what_is_not_known_in_the_tag_stays_as_it_is(person: Person) -> None:
    tag = "<lyco: my (odd) näme :1@0:foo=b a r:0,1,1,1,1,1,1,1,1,1,1,1:zz:start=3:dyn=8>"
    person.type(f"x {tag} y", "<lyco")
    expect(person.panel).to_be_visible()
    person.field("Until step").fill("50%")
    person.page.keyboard.press("Enter")
    assert person.text() == f"x {tag[:-1]}:stop=50%> y"
    person.field("From step").fill("")
    person.page.keyboard.press("Tab")
    assert person.text() == f"x {tag[:-1]}:stop=50%> y".replace(":start=3", "")


@pytest.mark.parametrize(
    ("call", "result"),
    [
        ("lbwTag.withStrength('<lora:a:1>', '0.8', null)", "<lora:a:0.8>"),
        ("lbwTag.withStrength('<lora:a>', '0.8', '0.5')", "<lora:a:0.8:0.5>"),
        ("lbwTag.withStrength('<lora:a:1:0.5>', '0.8', null)", "<lora:a:0.8>"),
        ("lbwTag.withStrength('<lora:a:1:0.5:8>', '0.8', null)", "<lora:a:0.8:0.8:8>"),
        ("lbwTag.withStrength('<lora:a:te=1:u=3>', '0.8', '0.2')", "<lora:a:te=0.8:u=3:unet=0.2>"),
        ("lbwTag.withStrength('<lora:a:1:IN02:3>', '0.7', '0.2')", "<lora:a:0.7:IN02:3:unet=0.2>"),
        ("lbwTag.withWeights('<lora:a:1:IN02:3>', 'ALL')", "<lora:a:1:lbw=ALL:x=3>"),
        ("lbwTag.withWeights('<lora:a:1:IN02:EL>', 'ALL')", "<lora:a:1:lbw=ALL:lbwe=EL>"),
        ("lbwTag.withWeights('<lora:a:1:zz=1:w=2>', 'ALL')", "<lora:a:1:zz=1:w=ALL>"),
        ("lbwTag.withWeights('<lora:a:1:lbw=2:start=3>', null)", "<lora:a:1:start=3>"),
        ("lbwTag.withX('<lora:a:1:IN02:3:zz=1>', '4')", "<lora:a:1:IN02:4:zz=1>"),
        ("lbwTag.withX('<lora:a:1:IN02:3>', null)", "<lora:a:1:IN02>"),
        ("lbwTag.withX('<lora:a:1:lbw=0,OUT00=X>', '4')", "<lora:a:1:lbw=0,OUT00=X:x=4>"),
        ("lbwTag.withX('<lora:a:1:x=3:lbw=ALL>', null)", "<lora:a:1:lbw=ALL>"),
        ("lbwTag.withStep('<lora:a:1:step=2-5>', 'start', '3')", "<lora:a:1:step=3-5>"),
        ("lbwTag.withStep('<lora:a:1:step=2-5>', 'start', null)", "<lora:a:1:stop=5>"),
        ("lbwWeights.withBlock(null, 'IN04', '0.5', {presets: []}, null)", "1,IN04=0.5"),
        ("lbwWeights.withBlock('ALL,in4=1,OUT=0', 'IN04', '0.5', {presets: []}, null)", "ALL,OUT=0,IN04=0.5"),
        ("lbwWeights.withBlock('1,R', 'B', '0', {presets: [], layouts: {2: ['A', 'B']}}, null)", "1,0"),
        ("lbwWeights.withBlock('1,2,3', 'B', '0', {presets: [], layouts: {}}, null)", None),
    ],
)
def test_the_tag_is_rewritten_as_the_syntax_wants_it(visit: Callable[..., Person], call: str, result: str) -> None:
    assert visit().page.evaluate(call) == result


def test_strengths_are_one_until_they_are_parted(person: Person) -> None:
    person.opened("<lora:subject:1> x")
    person.field("Same strength for text encoder and U-Net").uncheck()
    person.field("U-Net strength").fill("0.5")
    person.page.keyboard.press("Enter")
    assert person.text() == "<lora:subject:1:0.5> x"
    person.field("Same strength for text encoder and U-Net").check()
    assert person.text() == "<lora:subject:1> x"


def test_presets_are_chosen_from_those_that_fit_and_odd_names_are_text(person: Person) -> None:
    person.opened()
    names = person.field("Preset").evaluate("list => Array.from(list.options, o => [o.textContent, o.disabled])")
    assert ["HALF", False] in names
    assert [f"{ATTACK} (not allowed in a tag)", True] in names
    assert not any(name == "FLUXD" for name, _ in names)
    person.field("Preset").select_option(label="HALF")
    assert person.text() == PROMPT.replace("XL-STYLE", "HALF")
    expect(person.block("M00").locator("output")).to_have_text("◐ 0.5")
    person.field("Preset").select_option(label="a, b")
    expect(person.block("M00").locator("output")).to_have_text("◐ 0.25")
    person.block("M00").locator("input").focus()
    person.page.keyboard.press("0")
    assert person.text().count("0.25") == 19
    person.field("Preset").select_option(label="none")
    assert person.text() == "a cat <lora:subject:1> sitting"


def test_a_loras_name_is_shown_as_text(person: Person) -> None:
    person.type("<lora:<img src=x onerror=window.attacked=1:1> x")
    expect(person.panel.locator(".lbw-name")).to_have_text("<img src=x onerror=window.attacked=1")
    person.type('<lora:"><b>nobody:1> x')
    expect(person.panel.locator(".lbw-status")).to_contain_text("was not found")
    assert person.panel.locator("img, b").count() == 0


def test_problems_stand_in_the_panel(person: Person) -> None:
    person.opened()
    person.field("Weights").fill("MIDDD")
    person.page.keyboard.press("Enter")
    expect(person.panel.locator(".lbw-status")).to_contain_text('unknown preset "MIDDD"')


def test_a_lora_that_is_missing_does_not_hide_what_is_wrong_with_its_weights(person: Person) -> None:
    person.type("<lora:nobody:1:lbw=MIDDD> x")
    status = person.panel.locator(".lbw-status")
    expect(status).to_have_text(re.compile('LoRA "nobody" was not found\n.*unknown preset "MIDDD"'))
    person.field("Weights").fill("MIDD")
    person.page.keyboard.press("Enter")
    expect(status).to_have_text('LoRA "nobody" was not found')


LISTED = "<lora:subject:1:lbw=1,R,U,X,X-0.3,1,1,1,1,1,1,1:x=0.7> y"
NAMED = "<lora:subject:1:lbw=1,IN04=R,IN05=U,IN07-IN08=X,IN08=X-0.3:x=0.7> y"


@pytest.mark.parametrize("tag", [LISTED, NAMED])
def test_a_block_drawn_with_each_seed_gets_a_number_only_from_who_gives_it_one(person: Person, tag: str) -> None:
    person.opened(tag)
    block = person.block("IN04")
    expect(block.locator("output")).to_have_text("~ R")
    expect(block).to_have_attribute("title", "IN04 · R, drawn from the seed")
    block.locator("input").focus()
    for key in ("ArrowLeft", "ArrowUp", "Shift+ArrowRight", "PageDown"):
        person.page.keyboard.press(key)
    assert person.text() == tag
    person.page.keyboard.press("1")
    expect(block.locator("output")).to_have_text("● 1")
    person.page.keyboard.press("ArrowLeft")
    expect(block.locator("output")).to_have_text("◐ 0.95")
    assert "U" in person.text()
    assert "R" not in person.text()


@pytest.mark.parametrize("tag", [LISTED, NAMED])
def test_x_is_shown_as_the_number_that_the_tag_gives_it(person: Person, tag: str) -> None:
    person.opened(tag)
    expect(person.block("IN07").locator("output")).to_have_text("X 0.7")
    expect(person.block("IN08").locator("output")).to_have_text("X 0.4")
    expect(person.block("IN08")).to_have_attribute("title", "IN08 · X-0.3 = 0.4, between zero and one")
    expect(person.block("IN08").locator("input")).to_have_value("0.4")
    expect(person.field("X")).to_have_value("0.7")
    person.field("X").fill("0.3")
    person.page.keyboard.press("Enter")
    assert person.text() == tag.replace("x=0.7", "x=0.3")
    expect(person.block("IN08").locator("output")).to_have_text("X 0")
    expect(person.block("IN08")).to_have_attribute("data-state", "zero")
    person.block("IN07").locator("input").focus()
    person.page.keyboard.press("ArrowUp")
    expect(person.block("IN07").locator("output")).to_have_text("◐ 0.35")
    expect(person.block("IN08").locator("output")).to_have_text("X 0")


def test_the_field_for_x_is_there_where_the_weights_have_one(person: Person) -> None:
    person.opened()
    expect(person.field("X")).to_be_hidden()
    person.field("Weights").fill("0,OUT00=X")
    person.page.keyboard.press("Enter")
    expect(person.block("OUT00").locator("output")).to_have_text("X 1")
    person.field("X").fill("0.5")
    person.page.keyboard.press("Enter")
    assert person.text() == PROMPT.replace("XL-STYLE", "0,OUT00=X:x=0.5")
    person.field("X").fill("")
    person.page.keyboard.press("Enter")
    assert person.text() == PROMPT.replace("XL-STYLE", "0,OUT00=X")


def test_without_the_server_the_tag_can_still_be_edited(person: Person) -> None:
    person.server.broken = True
    person.type(PROMPT)
    expect(person.panel.locator(".lbw-status")).to_contain_text("is not responding")
    person.field("Weights").fill("0,OUT01=1")
    person.page.keyboard.press("Enter")
    person.page.keyboard.press("Alt+l")
    person.field("Strength").last.fill("0.6")
    person.page.keyboard.press("Enter")
    assert person.text() == "a cat <lora:subject:0.6:lbw=0,OUT01=1> sitting"


def test_the_server_may_go_while_the_panel_is_open(person: Person) -> None:
    person.opened()
    person.server.broken = True
    person.block("BASE").locator("input").focus()
    person.page.keyboard.press("1")
    expect(person.panel.locator(".lbw-status")).to_contain_text("is not responding")
    assert person.text() == PROMPT.replace("STYLE", "STYLE,BASE=1")
    expect(person.block("BASE").locator("output")).to_have_text("● 1")


def test_after_escape_it_stays_closed_until_the_caret_has_left_the_tag(person: Person) -> None:
    person.opened()
    person.page.keyboard.press("Escape")
    expect(person.panel).to_have_count(0)
    person.page.keyboard.press("ArrowRight")
    expect(person.panel).to_have_count(0)
    person.page.keyboard.press("Home")
    person.caret("subject")
    expect(person.panel).to_be_visible()


def test_escape_reaches_the_host_only_where_nothing_was_closed(person: Person) -> None:
    person.page.evaluate(
        "window.escapes = 0; document.addEventListener('keydown', (e) => e.key == 'Escape' && escapes++)"
    )
    person.opened()
    person.page.keyboard.press("Escape")
    assert person.page.evaluate("escapes") == 0
    person.page.keyboard.press("Escape")
    assert person.page.evaluate("escapes") == 1


def test_it_leaves_the_field_to_completions(person: Person) -> None:
    shown = "(shown) => document.querySelector('.autocompleteResults').style.display = shown ? 'block' : 'none'"
    person.page.evaluate(shown, True)
    person.type(PROMPT)
    person.page.wait_for_timeout(200)
    expect(person.panel).to_have_count(0)
    person.page.evaluate(shown, False)
    person.caret("subject")
    expect(person.panel).to_be_visible()
    person.page.evaluate(shown, True)
    person.page.keyboard.type("x")
    expect(person.panel).to_have_count(0)


def test_where_the_setting_is_off_only_the_key_opens_it(person: Person) -> None:
    person.page.evaluate("window.opts = {lbw_panel: false}")
    person.type(PROMPT)
    person.page.wait_for_timeout(200)
    expect(person.panel).to_have_count(0)
    person.page.keyboard.press("Alt+l")
    expect(person.field("Strength").first).to_be_focused()


def test_what_it_writes_is_not_taken_for_typing(person: Person) -> None:
    person.opened()
    person.page.evaluate("window.typed = []")
    person.block("BASE").locator("input").focus()
    person.page.keyboard.press("1")
    assert person.page.evaluate("[window.typed, window.kept.txt2img_prompt.includes('BASE=1')]") == [[], True]


@pytest.mark.parametrize(("width", "height"), [(900, 800), (360, 640), (1400, 400)])
@pytest.mark.parametrize("tag", ["<lora:subject:1>", "<lora:flux:1:lbw=" + ",".join(["0.25"] * 61) + ">"])
@pytest.mark.parametrize("name", ["txt2img_prompt", "hires_prompt"])
def test_it_stands_in_the_window_and_never_covers_the_tag(
    visit: Callable[..., Person], width: int, height: int, tag: str, name: str
) -> None:
    person = visit(width=width, height=height)
    person.type(f"{tag} and after", name=name)
    expect(person.panel).to_be_visible()
    person.box(name).evaluate("box => box.scrollTop = 0")
    person.page.wait_for_timeout(400)
    panel = person.panel.evaluate("panel => panel.getBoundingClientRect().toJSON()")
    box = person.box(name).evaluate("box => box.getBoundingClientRect().toJSON()")
    assert panel["left"] >= 0
    assert panel["right"] <= width
    assert panel["top"] >= 0
    assert panel["bottom"] <= height
    assert panel["height"] > 90
    line = {"left": 0, "right": width, "top": box["top"] + 8, "bottom": box["top"] + 25}
    assert not overlap(panel, line)


def test_a_finger_sees_no_keyboard_come_and_go(visit: Callable[..., Person]) -> None:
    person = visit(width=360, height=640, has_touch=True, is_mobile=True)
    person.opened("<lora:subject:1> x")
    person.page.evaluate("document.activeElement.blur(); window.f = 0; addEventListener('focus', () => f++, true)")
    person.panel.get_by_role("button", name="All 0").tap()
    assert person.text() == "<lora:subject:1:lbw=0> x"
    assert person.page.evaluate("document.activeElement.tagName") != "TEXTAREA"


def test_a_slider_writes_at_once_with_a_thousand_presets(visit: Callable[..., Person]) -> None:
    """bench/page.py measures how long it takes."""
    person = visit()
    person.server.more = {f"preset {n}": "0.5" for n in range(1000)}
    person.opened("<lora:flux:1:lbw=" + ",".join(["0.25"] * 61) + "> x")
    written = person.page.evaluate(
        """() => {
            const slider = document.querySelector('.lbw-block[data-block="D05"] input');
            slider.value = 0.95;
            slider.dispatchEvent(new Event("input", {bubbles: true}));
            return document.querySelector("#txt2img_prompt textarea").value;
        }"""
    )
    assert written.count("0.95") == 1


def test_a_second_click_on_a_card_takes_its_tag_out_again(visit: Callable[..., Person]) -> None:
    person = visit()
    remove = "text => window.tryToRemoveExtraNetworkFromPrompt(document.querySelector('textarea'), text, false)"
    host = "{ tryToRemoveExtraNetworkFromPrompt: () => 'the host', onUiLoaded: (callback) => callback() }"
    person.page.evaluate(f"() => void Object.assign(window, {host})")
    person.page.add_script_tag(url="javascript/lbw_cards.js")
    person.type("a <lora:b(c:0.7:lbw=0,IN04=1> word, d", "")
    assert person.page.evaluate(remove, "<lora:b:1>") == "the host"
    assert person.page.evaluate(remove, "<lora:b(c:1:lbw=MIDD> word") is True
    assert person.text() == "a, d"
    assert person.page.evaluate(remove, "<lora:b(c:1:lbw=MIDD> word") is False


if os.environ.get("LBW_SHOTS"):  # a folder, to look at the panel yourself

    @pytest.mark.parametrize("dark", [False, True])
    @pytest.mark.parametrize("width", [900, 360])
    @pytest.mark.parametrize("name", ["subject", "old", "flux", "qwen", "z"])
    def test_pictures(visit: Callable[..., Person], dark: bool, width: int, name: str) -> None:
        person = visit("4.40", width=width, height=760)
        person.page.evaluate("dark => document.body.classList.toggle('dark', dark)", dark)
        weights = {"old": "1,OUT=-0.5", "flux": "1,BASE=0,OUT=-0.5,T5=1.2", "qwen": "EARLY=1,B30=-0.5", "z": "1,NR=0"}
        tag = f"<lora:{name}:0.8:0.5:lbw={weights[name]}>" if name in weights else "<lora:subject:1:lbw=XL-STYLE>"
        person.opened(f"a cat {tag} sitting")
        person.page.wait_for_timeout(400)
        person.page.screenshot(path=f"{os.environ['LBW_SHOTS']}/{name}-{width}-{'dark' if dark else 'light'}.png")
