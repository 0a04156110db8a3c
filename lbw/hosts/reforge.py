"""reForge: `ldm_patched` with ComfyUI-style patchers."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from .lists import ListsHost
from .partial import Names, PartialLoader


class ReForgeHost(ListsHost):
    """Hosts with `ldm_patched` that load models part by part."""

    title = "reForge"

    def __init__(self, networks: Any, patchers: Any) -> None:
        """patchers: `ldm_patched.modules.model_patcher`."""
        super().__init__(networks)
        names = Names(cast="ldm_patched_cast_weights", loaded="ldm_patched_patched_weights")
        self._loader = PartialLoader(patchers, sys.modules["ldm_patched.modules.utils"], names)

    def merge(self, patcher: Any, wanted: Mapping[str, dict[str, list[Any]]]) -> None:
        """Update the tensors whose entries differ."""
        patcher.patches = wanted["patches"]
        self._loader.refresh(patcher)

    def close(self) -> None:
        super().close()
        self._loader.close()
