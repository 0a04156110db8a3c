"""Block weights on a LoRA's card, on a page of cards as the hosts make it."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ALIAS = 'na"me \\\\ (v1)'


class Component:
    """A component of Gradio that remembers what is done at a click."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields
        self.clicks: list[dict[str, Any]] = []

    def click(self, **fields: Any) -> Component:
        self.clicks.append(fields)
        return self


def quote_js(text: str) -> str:
    """Act as the hosts do."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Editor:
    """The hosts' editor of user metadata, its parts that matter."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.id_part = "txt2img_lora_edit_user_metadata"
        self.made: list[str] = []
        self.edit_name_input = Component()
        self.button_edit = Component()

    def get_user_metadata(self, name: str) -> dict[str, Any]:
        return self.page.metadata.setdefault(name, {})

    def create_default_buttons(self) -> None:
        self.made.append("buttons")
        self.button_save = Component()

    def setup_save_handler(self, button: Any, func: Callable[..., Any], components: list[Any]) -> None:
        button.click(fn=func, inputs=[self.edit_name_input, *components], outputs=[])

    def create_editor(self) -> None:
        self.description = Component()
        self.create_default_buttons()
        self.setup_save_handler(self.button_save, self.save, [self.description])

    def save(self, name: str, description: str) -> None:
        metadata = self.get_user_metadata(name)
        metadata["description"] = description
        self.page.written[name] = json.dumps(metadata)


class Page:
    """The hosts' page of LoRAs."""

    name = "lora"

    def __init__(self) -> None:
        self.metadata: dict[str, dict[str, Any]] = {}
        self.written: dict[str, str] = {}

    def create_item(self, name: str, index: int | None = None, enable_filter: bool = True) -> dict[str, Any] | None:
        if name == "hidden":
            return None
        weight = " + opts.extra_networks_default_multiplier + "
        prompt = quote_js(f"<lora:{ALIAS}:") + weight + quote_js(">") + " + " + quote_js(' said ">" twice')
        return {"name": name, "prompt": prompt, "user_metadata": self.metadata.get(name, {})}

    def create_user_metadata_editor(self, ui: Any, tabname: str) -> Editor:
        return Editor(self)


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Our module, between stand-ins for Gradio."""
    gradio = ModuleType("gradio")
    gradio.Textbox = Component  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    sys.modules.pop("lbw.webui.cards", None)
    yield importlib.import_module("lbw.webui.cards")
    sys.modules.pop("lbw.webui.cards", None)


def inserted(expression: str) -> str:
    """Return what the browser makes of a card's expression: texts in quotes, joined, one number between them."""
    parts = expression.replace("opts.extra_networks_default_multiplier", '"1"').split('" + "')
    return "".join(json.loads(f'"{part}"') for part in (expression and '" + "'.join(parts))[1:-1].split('" + "'))


def test_a_card_inserts_its_tag_with_block_weights(cards: Any) -> None:
    page = Page()
    before = page.create_item("a")["prompt"]
    wrapped = cards.Cards()
    wrapped.install([SimpleNamespace(name="checkpoints"), page])
    assert page.create_item("a")["prompt"] == before
    page.metadata["a"] = {"lbw weights": "0,OUT00=1:stop=10"}
    item = page.create_item("a", 3, enable_filter=False)
    expected = inserted(before).replace(":1>", ":1:lbw=0,OUT00=1:stop=10>", 1)
    assert inserted(item["prompt"]) == expected
    assert page.create_item("hidden") is None
    wrapped.uninstall()
    assert page.create_item("a")["prompt"] == before
    assert "create_item" not in vars(page)


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ("MIDD", ":lbw=MIDD>"),
        (" lbw=MIDD ", ":lbw=MIDD>"),
        ('a"b', ':lbw=a"b>'),
        ("a>b", ":1>"),
        ("a\nb", ":1>"),
        ("", ":1>"),
        (None, ":1>"),
        (0.5, ":lbw=0.5>"),
    ],
)
def test_what_cannot_stand_in_a_tag_does_not_get_there(cards: Any, kept: Any, expected: str) -> None:
    page = Page()
    page.metadata["a"] = {"lbw weights": kept}
    cards.Cards().install([page])
    assert inserted(page.create_item("a")["prompt"]).split(" said")[0].endswith(expected)


def test_the_field_stands_above_the_buttons_and_is_saved_with_the_rest(cards: Any) -> None:
    page = Page()
    cards.Cards().install([page])
    editor = page.create_user_metadata_editor(None, "txt2img")
    editor.create_editor()
    (shown,) = editor.button_edit.clicks
    (saved,) = editor.button_save.clicks
    (box,) = shown["outputs"]
    assert box.fields["label"] == "Block weights"
    assert saved["inputs"] == [editor.edit_name_input, box, editor.description]
    assert shown["fn"]("a") == ""
    saved["fn"]("a", "lbw=MIDD", "a cat")
    assert json.loads(page.written["a"]) == {"description": "a cat", "lbw weights": "MIDD"}
    assert shown["fn"]("a") == "MIDD"
    saved["fn"]("a", "", "a dog")
    assert json.loads(page.written["a"]) == {"description": "a dog"}


def test_a_host_that_looks_different_keeps_its_cards(cards: Any) -> None:
    class Other(Page):
        def create_item(self, name: str, *_: Any) -> Any:
            return {"prompt": ["<lora:a:1>"], "user_metadata": None}

        def create_user_metadata_editor(self, *_: Any) -> Any:
            return "an editor"

    page = Other()
    cards.Cards().install([page, object(), SimpleNamespace(name="lora")])
    assert page.create_item("a") == {"prompt": ["<lora:a:1>"], "user_metadata": None}
    assert page.create_user_metadata_editor() == "an editor"
    assert cards.with_weights("`<lora:a:1>`", "MIDD") == "`<lora:a:1>`"
