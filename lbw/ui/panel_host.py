"""What the panels *Analyze* and *Tuner* ask of a host: the WebUI's tab and the studio's page each have their own."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from lbw.analysis.request import PictureRequest
from lbw.analysis.session import Host
from lbw.core.family import Architecture


class PanelHost(Host, Protocol):
    """A host with a page."""

    def loaded(self) -> Architecture | None:
        """Return the architecture of the model that is loaded, None if it is not known; nothing is loaded for it."""

    def loras(self) -> list[str]:
        """Return the names that tags may use."""

    def samplers(self) -> list[str]:
        """Return the samplers to choose from; empty where there is no choice."""

    def defaults(self) -> PictureRequest:
        """Return what the fields hold at first."""

    def open_folder(self, folder: Path) -> None:
        """Show `folder` in the file manager of the machine that serves the page.

        Raises:
            HostError: it cannot, or may not.
        """
