"""The LoRA files of a host, for panels that need to know which model one is for."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from lbw.core.errors import FileError, HostError, quote
from lbw.core.family import Architecture
from lbw.core.texts import t
from lbw.files.lora import open_lora


class LoraFiles(Protocol):
    """What a host knows about its LoRAs."""

    def find(self, name: str) -> str | None:
        """Return the file of the LoRA that a tag calls `name`, None if there is none."""

    def lora_files(self) -> dict[str, str]:
        """Return the files of all LoRAs, by name.

        Raises:
            HostError: the host is unknown.
        """


def lora_names(files: LoraFiles) -> list[str]:
    """Return the names of all LoRAs known to the host; empty if the host is unknown."""
    try:
        return sorted(files.lora_files(), key=str.casefold)
    except HostError:
        return []


def lora_path(files: LoraFiles, name: str) -> Path:
    """Return the file of the LoRA called `name`.

    Raises:
        FileError: there is none. HostError: the host is unknown.
    """
    path = files.find(name)
    if path is None:
        raise FileError(t("LoRA {name} was not found", name=quote(name)))
    return Path(path)


def lora_architecture(files: LoraFiles, name: str, loaded: Architecture | None) -> Architecture:
    """Return the model that the LoRA called `name` is for.

    loaded: the loaded model; it decides if the file alone does not.

    Raises:
        FileError: there is none, or its file does not reveal the model. HostError: the host is unknown.
    """
    return open_lora(lora_path(files, name), loaded).architecture
