"""A LoRA's file that is replaced by another: tags with block weights use the new one, on every host."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .doubles_model import same
from .worlds import WORLDS, make_world

TAGS = [
    "<lora:a:1:lbw=0.5>",
    "<lora:a:1:lbw=1,IN04=0,OUT11=0.25>",
    "<lora:a:1:start=1:lbw=0,BASE=1>",
    "<lora:b:1><lora:a:0.5:lbw=1,IN04=0>",
]


def replace(folder: Path, name: str, other: str, seconds: float = 0) -> None:
    """Replace the LoRA `name` by a copy of `other`, with a time stamp that much later."""
    target, new = folder / f"{name}.safetensors", folder / "new"
    state = target.stat()
    shutil.copy(folder / f"{other}.safetensors", new)
    os.utime(new, (state.st_atime, state.st_mtime + seconds))
    new.replace(target)


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        yield make_world(request.param, tmp_path, patch)


@pytest.fixture
def expected(world: Any) -> dict[str, Any]:
    """The weights of each tag's picture, once `dora` has the name `a`."""
    return {tag: world.paint(tag.replace("lora:a:", "lora:dora:")).weights for tag in TAGS}


@pytest.mark.parametrize("seconds", [-100, 0, 100])
@pytest.mark.parametrize("before", ["same tag", "another", "plain", "nothing"])
def test_the_same_tag_means_the_new_file(
    world: Any, expected: dict[str, Any], seconds: float, before: str, tmp_path: Path
) -> None:
    base = world.paint("").weights
    for tag in TAGS:
        first = {"same tag": tag, "another": "<lora:a:1:lbw=0.3>", "plain": "<lora:a:1>", "nothing": ""}[before]
        world.paint("<lora:a:1>", "<lora:a:1:lbw=0.3>", tag, first)
        shutil.copy(tmp_path / "a.safetensors", tmp_path / "kept")
        replace(tmp_path, "a", "dora", seconds)
        picture = world.paint(tag)
        assert picture.p.comments == []
        assert same(picture.weights, expected[tag]), tag
        assert same(world.paint(tag).weights, expected[tag]), tag
        assert same(world.paint("").weights, base)
        shutil.move(tmp_path / "kept", tmp_path / "a.safetensors")


def test_the_first_file_may_come_back(world: Any, tmp_path: Path) -> None:
    tag = TAGS[1]
    base, first = world.paint("").weights, world.paint(tag).weights
    shutil.copy2(tmp_path / "a.safetensors", tmp_path / "kept")
    replace(tmp_path, "a", "dora")
    second = world.paint(tag).weights
    assert not same(first, second)
    (tmp_path / "kept").replace(tmp_path / "a.safetensors")
    assert same(world.paint(tag).weights, first)
    replace(tmp_path, "a", "dora", 5)
    assert same(world.paint(tag).weights, second)
    assert same(world.paint("").weights, base)


def test_a_file_that_stays_is_read_once(world: Any) -> None:
    world.paint(TAGS[1], TAGS[0], "", TAGS[1], "<lora:a:1>")
    assert world.reads["a"] == 1
