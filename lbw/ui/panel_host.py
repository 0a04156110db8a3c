"""What the panels *Analyze* and *Tuner* need from a host; the WebUI's tab and the studio's page each have their own."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from lbw.analysis.request import PictureRequest
from lbw.analysis.session import Host
from lbw.core.family import Architecture


class PanelHost(Host, Protocol):
    """A host with a page."""

    def loaded(self) -> Architecture | None:
        """Return the architecture of the loaded model, None if it is unknown; never loads a model."""

    def loras(self) -> list[str]:
        """Return the LoRA names that tags can use."""

    def samplers(self) -> list[str]:
        """Return the available samplers; empty if there is no choice."""

    def defaults(self) -> PictureRequest:
        """Return the initial values of the fields."""

    def open_folder(self, folder: Path) -> None:
        """Show `folder` in the file manager of the machine that serves the page.

        Raises:
            HostError: this is not possible or not allowed.
        """
