"""Forge Classic and older Forge: `ldm_patched`, whose patchers merge and restore everything in `patch_model`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from .entries import same
from .lists import ListsHost


class ForgeClassicHost(ListsHost):
    """Hosts with `ldm_patched`."""

    title = "Forge"

    def merge(self, patcher: Any, wanted: Mapping[str, dict[str, list[Any]]]) -> None:
        """Let the host restore and merge only the tensors whose entries differ."""
        table = wanted["patches"]
        keys = [key for key in patcher.patches.keys() | table.keys() if not _same(patcher.patches, table, key)]
        utils = sys.modules["ldm_patched.modules.utils"]
        for key in keys:
            if key not in patcher.backup:
                continue
            weight = patcher.backup[key]
            if patcher.weight_inplace_update:
                utils.copy_to_param(patcher.model, key, weight)
            else:
                utils.set_attr(patcher.model, key, weight.to(utils.get_attr(patcher.model, key).device))
        patcher.patches = {key: table[key] for key in keys if key in table}
        try:
            patcher.patch_model(device_to=None)
        finally:
            patcher.patches = table


def _same(a: Mapping[str, list[Any]], b: Mapping[str, list[Any]], key: str) -> bool:
    return same(a.get(key, ()), b.get(key, ()))
