"""What an analysis needs to know about the files of a prompt's LoRAs, as found by the WebUI."""

from __future__ import annotations

from collections.abc import Sequence

from lbw.core.blocks import locate
from lbw.core.errors import FileError, HostError, quote
from lbw.core.family import Architecture
from lbw.core.tag import LoraRequest, requests_in
from lbw.core.texts import t
from lbw.files.lora import open_lora

from .hook import Hook


def lora_tensors(hook: Hook, architecture: Architecture, requests: Sequence[LoraRequest]) -> dict[str, int]:
    """Return how many modules the LoRAs have in each block; a file that only the host can read counts for every block.

    Raises:
        FileError: a LoRA does not exist. HostError: it does not fit the loaded model.
    """
    counts: dict[str, int] = {}
    for request in requests:
        path = hook.find(request.name)
        if path is None:
            raise FileError(t("LoRA {name} was not found", name=quote(request.name)))
        if not path.endswith(".safetensors"):
            counts.update((block, counts.get(block, 0) + 1) for block in architecture.blocks)
            continue
        file = open_lora(path, architecture)
        if file.architecture.kind != architecture.kind:
            raise HostError(
                t(
                    "LoRA {name} is for {model}, but the loaded model is {loaded}",
                    name=quote(request.name),
                    model=file.architecture.title,
                    loaded=architecture.title,
                )
            )
        for module in file.keys:
            block = locate(module, file.architecture).block
            counts[block] = counts.get(block, 0) + 1
    return counts


def lora_paths(hook: Hook, prompt: str) -> list[str]:
    """Return the files of the LoRAs that `prompt` names."""
    names = [request.name for request in requests_in(prompt, {})]
    return [path for path in map(hook.find, names) if path]
