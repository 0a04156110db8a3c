"""An unknown WebUI: its name, and the LoRAs in its folders."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_LORAS = (".safetensors", ".pt", ".ckpt")


def has_loras() -> bool:
    """Return whether the WebUI's own extension for LoRAs is loaded."""
    return "networks" in sys.modules


def webui_name() -> str:
    """Return the name and the version of the WebUI, if it has them."""
    forge = sys.modules.get("modules_forge.forge_version")
    version = str(getattr(forge, "version", "") or "")
    if version == "neo":
        return f"Forge Neo {getattr(forge, 'release', '')}".strip()
    if version:
        return f"Forge {version}"
    folder = getattr(sys.modules.get("modules.paths_internal"), "script_path", None)
    name = Path(folder).name if folder else "this WebUI"
    return f"{name} {_tag()}".strip()


def _tag() -> str:
    """Return the version that the WebUI shows in the footer of its page; empty if it has none."""
    try:
        tag = str(sys.modules["modules.launch_utils"].git_tag())
    except Exception:  # an unknown host may do anything here
        return ""
    return "" if tag == "<none>" else tag


def lora_files() -> dict[str, str]:
    """Return the LoRA files in the WebUI's folders, by name; if two have the same name, the first by path."""
    paths = [path for folder in _folders() for path in folder.rglob("*") if path.suffix.lower() in _LORAS]
    return {path.stem: str(path) for path in sorted(paths, reverse=True)}


def _folders() -> Iterator[Path]:
    options: Any = getattr(sys.modules.get("modules.shared"), "cmd_opts", None)
    models = getattr(sys.modules.get("modules.paths_internal"), "models_path", None)
    folders = [getattr(options, "lora_dir", None), *(getattr(options, "lora_dirs", None) or ())]
    for folder in dict.fromkeys([*folders, Path(models) / "Lora" if models and not any(folders) else None]):
        if folder and Path(folder).is_dir():
            yield Path(folder)
