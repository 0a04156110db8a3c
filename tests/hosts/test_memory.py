"""What stays in memory after many pictures: no more tensors than after the first few."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch

from .doubles_webui import World
from .worlds import WORLDS, make_world


def tensors_alive() -> tuple[int, int]:
    """How many tensors there are, and how many bytes they hold."""
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return len(tensors), sum(storages.values())


def change(world: World, first: int, last: int) -> None:
    """Paint pictures whose tags differ from each other, all of them from those of other rounds."""
    for number in range(first, last):
        weight = f"{number / 1000:g}"
        world.paint(
            f"<lora:a:{weight}:lbw={weight}>",
            f"<lora:unet:1:lbw=0,IN04={weight}><lora:text:1:lbw={weight}>",
            f"<lora:b:1:lbw=1,OUT={weight}:start=2><lora:dora:{weight}:stop=3>",
            f"<lora:a:1:lbw={weight}><lora:a:{weight}:lbw=R>",
        )
    world.paint("<lora:a:1:lbw=0.5>")


@pytest.mark.parametrize("host", WORLDS)
def test_pictures_of_changing_tags_leave_no_tensors_behind(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(host, tmp_path, monkeypatch)
    world.networks.memory_limit = 9  # AUTOMATIC1111 keeps some files: all of them, so that which ones does not matter
    change(world, 1, 4)
    before = tensors_alive()
    change(world, 4, 12)
    assert tensors_alive() == before
