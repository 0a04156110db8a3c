"""Our predecessor: whether it is installed too, and where it keeps its presets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lbw.core.texts import t

from .options import OTHER, THIS, WITH_PREDECESSOR, setting

FILE = "lora_block_weight.py"
FOLDER = "sd-webui-lora-block-weight"


def is_installed(runner: Any) -> bool:
    """Return whether `runner`, the WebUI's scripts of one tab, contains the other extension's script."""
    return any(Path(str(getattr(script, "filename", ""))).name == FILE for script in getattr(runner, "scripts", ()))


def is_in_charge(runner: Any) -> bool:
    """Return whether the other extension should handle block weights."""
    return setting(WITH_PREDECESSOR) == OTHER and is_installed(runner)


def advice(runner: Any) -> str:
    """Return which of the two extensions is active, and how to switch; empty if there is only one."""
    if not is_installed(runner):
        return ""
    working, idle = (OTHER, THIS) if is_in_charge(runner) else (THIS, OTHER)
    return t(
        "{other} is also installed, and both handle the same tags. Currently {working} is active and {idle} does "
        "nothing. Switch in Settings → LoRA Block Weight, or disable one of the two under Extensions.",
        other=FOLDER, working=working, idle=idle,
    )  # fmt: skip


def preset_folders(extensions: Path) -> list[Path]:
    """Return the folders in which the other extension may keep its presets, below the WebUI's `extensions`."""
    return [extensions / FOLDER / "scripts", extensions.parent / "scripts"]
