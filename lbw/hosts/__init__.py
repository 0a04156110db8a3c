"""How multipliers reach the weights: one file for each host family.

Hosts are recognized by what they have loaded, never by their version.
"""

from __future__ import annotations

import sys
from typing import Any

from .base import Host


def detect() -> Host | None:
    """Return the host that this process runs in, None if it is unknown."""
    networks = sys.modules.get("networks")
    if networks is None or not hasattr(networks, "load_networks"):
        return None
    lora = sys.modules.get("backend.patcher.lora")
    if hasattr(getattr(lora, "LoraLoader", None), "refresh"):
        from .forge import ForgeHost

        return ForgeHost(networks, lora)
    if not hasattr(networks, "load_lora_for_models"):
        return _a1111(networks)
    patchers = sys.modules.get("backend.patcher.base")
    if _loads_part_by_part(patchers):
        from .forge_neo import ForgeNeoHost

        return ForgeNeoHost(networks, patchers)
    patchers = sys.modules.get("ldm_patched.modules.model_patcher")
    if _loads_part_by_part(patchers):
        from .reforge import ReForgeHost

        return ReForgeHost(networks, patchers)
    if patchers is not None:
        from .forge_classic import ForgeClassicHost

        return ForgeClassicHost(networks)
    return _a1111(networks)


def _a1111(networks: Any) -> Host | None:
    if not hasattr(networks, "network_apply_weights"):
        return None
    from .a1111 import A1111Host

    return A1111Host(networks)


def _loads_part_by_part(patchers: Any) -> bool:
    """Return whether a host's module of patchers is ComfyUI-style."""
    return hasattr(patchers, "LowVramPatch") and hasattr(getattr(patchers, "ModelPatcher", None), "partially_load")
