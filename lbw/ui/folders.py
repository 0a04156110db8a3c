"""Opening a folder in the file manager of the machine that serves the page."""

from __future__ import annotations

from pathlib import Path

import click

from lbw.core.errors import HostError
from lbw.core.texts import t


def open_folder(folder: Path) -> None:
    """Open `folder` in the file manager of the machine that serves the page.

    Raises:
        HostError: this machine has no file manager.
    """
    if click.launch(str(folder)) != 0:
        raise HostError(t("no file manager was found; open {folder} yourself", folder=folder))
