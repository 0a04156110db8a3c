"""LoRA cards: a field *block weights* in the user metadata, which a click on the card adds to the tag.

The host's page of LoRAs creates an item for each card, whose `prompt` is a JavaScript expression, and an editor for the
user metadata. Both are wrapped on the page object itself, so that nothing is left behind when the host creates a new
one. On a host with a different structure the cards stay unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import gradio as gr

from lbw.core.texts import t
from lbw.hosts.patch import Patch

from . import messages

KEY = "lbw weights"
PAGE = "lora"
_END = ' + ">"'  # the end of the tag in the host's expression


def clean(text: Any) -> str:
    """Return block weights in the form allowed in a tag; empty if they are not allowed."""
    text = str(text or "").strip().removeprefix("lbw=").strip()
    return "" if any(sign in text for sign in "<>\r\n") else text


def with_weights(prompt: str, weights: str) -> str:
    """Return the host's expression for a card's prompt, with block weights in its tag."""
    if not weights or _END not in prompt:
        return prompt
    return prompt.replace(_END, f" + {json.dumps(f':lbw={weights}>', ensure_ascii=False)}", 1)


class Cards:
    """The wrapped pages of LoRAs."""

    def __init__(self) -> None:
        self._patches: list[Patch] = []

    def install(self, pages: Iterable[Any]) -> None:
        """Wrap those of the host's `pages` that show LoRAs, once each."""
        known = {id(patch.owner) for patch in self._patches}
        for page in pages:
            if getattr(page, "name", None) == PAGE and hasattr(page, "create_item") and id(page) not in known:
                self._patches.append(Patch(page, "create_item", create_item))
                if hasattr(page, "create_user_metadata_editor"):
                    self._patches.append(Patch(page, "create_user_metadata_editor", create_user_metadata_editor))

    def uninstall(self) -> None:
        """Restore the pages."""
        for patch in self._patches:
            patch.remove()
        self._patches.clear()


def create_item(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return the host's item for a card, with the card's block weights in its prompt."""
    item = original(*args, **kwargs)
    if isinstance(item, dict) and isinstance(item.get("prompt"), str):
        metadata = item.get("user_metadata")
        weights = clean(metadata.get(KEY)) if isinstance(metadata, dict) else ""
        item["prompt"] = with_weights(item["prompt"], weights)
    return item


def create_user_metadata_editor(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return the host's editor, with a field for block weights."""
    editor = original(*args, **kwargs)
    parts = ("create_default_buttons", "setup_save_handler", "get_user_metadata", "edit_name_input")
    if all(hasattr(editor, part) for part in parts):
        Field(editor)
    else:
        messages.log.info("%s: this WebUI's cards have no field for block weights", messages.TITLE)
    return editor


class Field:
    """The field in one editor, created just above its buttons."""

    def __init__(self, editor: Any) -> None:
        self.editor = editor
        self.box: Any = None
        Patch(editor, "create_default_buttons", self.create)
        Patch(editor, "setup_save_handler", self.setup_save)

    def create(self, create_default_buttons: Callable[..., Any]) -> None:
        """Create the field, then the host's buttons."""
        editor = self.editor
        self.box = gr.Textbox(
            label=t("Block weights"),
            info=t("Inserted with the tag as lbw=…: a preset name, numbers, or 0,OUT00=1"),
            elem_id=f"{getattr(editor, 'id_part', 'lora')}_lbw",
            max_lines=1,
        )
        editor.button_edit.click(fn=self.read, inputs=[editor.edit_name_input], outputs=[self.box])
        create_default_buttons()

    def setup_save(
        self, setup_save_handler: Callable[..., Any], button: Any, func: Callable[..., Any], components: list[Any]
    ) -> Any:
        """Make the host's save function write the field too: both update the same table, followed by one write."""
        if self.box is None:
            return setup_save_handler(button, func, components)

        def save(name: str, weights: str, *values: Any) -> Any:
            metadata = self.editor.get_user_metadata(name)
            metadata.pop(KEY, None)
            if clean(weights):
                metadata[KEY] = clean(weights)
            return func(name, *values)

        return setup_save_handler(button, save, [self.box, *components])

    def read(self, name: str) -> str:
        """Return the value of the field for the LoRA of that card."""
        return clean(self.editor.get_user_metadata(name).get(KEY))
