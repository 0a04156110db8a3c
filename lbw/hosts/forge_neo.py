"""Forge Neo since 2025-11: ComfyUI-style patchers, in `backend.patcher.base`.

Two generations are known. In one, the last item of an entry in `patches` says whether it is applied on the fly. In the
other, such entries are functions of their own, in `weight_wrapper_patches`. Earlier versions of Forge Neo are like
Forge.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from lbw.core.plan import ResolvedLora

from .base import bypass, bypassed
from .lists import ListsHost
from .partial import Names, PartialLoader

_WRAPPERS = "weight_wrapper_patches"


class ForgeNeoHost(ListsHost):
    """Hosts with `backend.patcher.base` that load models part by part."""

    title = "Forge Neo"

    def __init__(self, networks: Any, patchers: Any) -> None:
        """patchers: `backend.patcher.base`."""
        super().__init__(networks)
        if hasattr(patchers, "OnlineLoRAPatch"):
            self.tables = ("patches", _WRAPPERS)
        # Newer ones include ComfyUI's own package, with its names.
        comfy = hasattr(patchers, "comfy")
        names = Names("comfy_cast_weights", "comfy_patched_weights")
        forge = Names("parameters_manual_cast", "forge_patched_weights")
        utilities = sys.modules["comfy.utils" if comfy else "backend.utils"]
        self._loader = PartialLoader(patchers, utilities, names if comfy else forge)

    def apply(self, loras: Sequence[ResolvedLora]) -> list[str]:
        problems = super().apply(loras)
        kind = bypass()
        return bypassed(self.title, kind, loras) if kind else problems

    def merge(self, patcher: Any, wanted: Mapping[str, dict[str, list[Any]]]) -> None:
        """Update the tensors whose entries differ."""
        for name, table in wanted.items():
            setattr(patcher, name, table)
        self._loader.refresh(patcher)

    def close(self) -> None:
        super().close()
        self._loader.close()
