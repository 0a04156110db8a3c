"""A LoRA's file that is replaced while the WebUI runs: a tag with block weights uses the new one."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .checkpoint import Checkpoint
from .conftest import PROMPT
from .loras import LoraFolder, modules_for
from .webui import Answer, WebUI, same

pytestmark = pytest.mark.live
# A new file for each test: hosts cache what they have read.
ITEMS = {"half": "lbw=0.5", "blocks": "lbw=1,IN04=0,OUT=0.25", "steps": "lbw=0.5,BASE=1:stop=2"}
KINDS = ("lora", "dora")


@pytest.fixture(scope="module")
def folder(webui: WebUI, checkpoint: Checkpoint) -> Iterator[LoraFolder]:
    folder = LoraFolder(Path(os.environ["LBW_LORA_DIR"]), checkpoint, f"lbwtest_{secrets.token_hex(2)}_")
    for salt, kind in zip(("old", "new"), KINDS, strict=True):
        folder.write(salt, kind, modules_for(kind, checkpoint), salt=salt)
    for test in (*ITEMS, "plain"):
        put(folder, "old", test)
    webui.call("/sdapi/v1/refresh-loras")
    yield folder
    folder.remove_all()
    webui.call("/sdapi/v1/refresh-loras")


def put(folder: LoraFolder, source: str, target: str) -> None:
    """Replaces one LoRA by a copy of another, in one step and with its own time stamp."""
    made = folder.folder / f"{folder.prefix}being-written"
    shutil.copy(folder.folder / f"{folder.prefix}{source}.safetensors", made)
    made.replace(folder.folder / f"{folder.prefix}{target}.safetensors")


@pytest.mark.parametrize("test", ITEMS)
def test_the_same_tag_means_the_new_file_and_the_old_one_when_it_is_back(
    test: str, webui: WebUI, folder: LoraFolder, none: Answer
) -> None:
    def picture(name: str) -> Answer:
        return webui.render(f"{PROMPT} <lora:{folder.prefix}{name}:1:{ITEMS[test]}>", fresh=True, steps=2)

    old, new = picture("old"), picture("new")
    assert not same(old, new)
    assert same(picture(test), old)
    put(folder, "new", test)
    followed = picture(test)
    assert same(followed, new)
    assert not followed.warnings
    put(folder, "old", test)
    assert same(picture(test), old)
    assert same(webui.render(PROMPT, fresh=True), none)


def test_a_block_weighted_tag_follows_the_file_after_plain_ones(webui: WebUI, folder: LoraFolder, none: Answer) -> None:
    """Plain tags are the host's own matter: what it did with one is printed at the end of the run."""

    def picture(name: str, items: str = "") -> Answer:
        return webui.render(f"{PROMPT} <lora:{folder.prefix}{name}:1{items}>", fresh=True)

    new = picture("new", ":lbw=0.5")
    old_plain, new_plain = picture("old"), picture("new")
    assert same(picture("plain"), old_plain)
    put(folder, "new", "plain")
    got = picture("plain")
    habit = "the new file" if same(got, new_plain) else "the old file" if same(got, old_plain) else "neither file"
    webui.notes.append(f"a plain tag, given again after its file was replaced: this host applies {habit}")
    assert same(picture("plain", ":lbw=0.5"), new)
    assert same(webui.render(PROMPT, fresh=True), none)
