"""Which modules trainers train, and how, by their own reading of settings; and what a shell makes of a command.

Each function says which file of which trainer it reads like. Names are those of linear layers.
"""

from __future__ import annotations

import ast
import fnmatch
import re
import shlex
from collections.abc import Iterable
from typing import Any

import yaml

BLOCK = re.compile(r"(?:double|single|joint)_blocks_(\d+)_")
SD3_EMBEDDERS = (
    "context_embedder", "_t_embedder", "x_embedder", "y_embedder", "final_layer_adaLN_modulation", "final_layer_linear",
)  # fmt: skip
FLUX_EMBEDDERS = ("_img_in", "_time_in", "_vector_in", "_guidance_in", "_txt_in")


def arguments(command: str) -> dict[str, str]:
    """Return what a shell would pass to sd-scripts: the options, and those after `--network_args`."""
    options, _, network = command.partition("--network_args")
    found = dict(word.split("=", 1) for word in shlex.split(network))
    words = shlex.split(options)
    for place, word in enumerate(words):
        if word.startswith("--"):
            values = words[place + 1 :]
            end = next((n for n, value in enumerate(values) if value.startswith("--")), len(values))
            found[word[2:]] = " ".join(values[:end])
    return found


def lora_name(name: str) -> str:
    return "lora_unet_" + name.replace(".", "_")


def pairs(text: str) -> dict[str, float]:
    """Read like `parse_kv_pairs` of sd-scripts: split at commas, then at the first `=`."""
    return {key.strip(): float(value) for key, value in (pair.split("=", 1) for pair in text.split(",") if pair)}


def selected(text: str, total: int = 999) -> set[int]:
    """Read like `parse_block_selection` of sd-scripts."""
    if text in ("all", "none", ""):
        return set(range(total)) if text == "all" else set()
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        assert 0 <= int(first) <= int(last or first) < total
        found |= set(range(int(first), int(last or first) + 1))
    return found


def by_search(given: dict[str, str], names: Iterable[str], embedders: tuple[str, ...] = ()) -> dict[str, float]:
    """Return the ranks that sd-scripts' `lora_flux.py`, `lora_hunyuan_image.py` and `lora_sd3.py` give to modules.

    Where a pattern of `network_reg_dims` is found, its rank counts, and 0 leaves the module out. Else the module is
    left out where its number is not among those of `train_…_indices`. Outside of the blocks modules are trained whose
    name holds a word of `embedders`, with the ranks of `in_dims` or `emb_dims`.
    """
    patterns = pairs(given.get("network_reg_dims", ""))
    dims = [int(n) for n in (given.get("in_dims") or given.get("emb_dims") or "").split(",") if n]
    ranks: dict[str, float] = {}
    for name in names:
        flat = lora_name(name)
        block = BLOCK.search(flat)
        rank = next((rank for pattern, rank in patterns.items() if re.search(pattern, flat)), None)
        if rank is None and block:
            rank = float(given.get("network_dim", 16))
            for kind in ("double", "single", "joint"):
                indices = given.get(f"train_{kind}_block_indices" if kind != "joint" else "train_block_indices")
                if indices is not None and f"{kind}_blocks" in flat and int(block[1]) not in selected(indices):
                    rank = 0.0
        elif rank is None:
            assert not dims or len(dims) == len(embedders)
            rank = next((float(n) for word, n in zip(embedders, dims) if word in flat), 0.0)
        if rank:
            ranks[name] = rank
    return ranks


def by_fullmatch(given: dict[str, str], names: Iterable[str], targets: str, default: str) -> dict[str, float]:
    """Return the ranks that musubi-tuner's `networks/lora.py` and sd-scripts' `lora_anima.py` give to modules.

    A module below `targets` is left out where a pattern of `exclude_patterns`, or `default`, matches its whole name and
    none of `include_patterns` does; `network_reg_dims` match whole names too.
    """
    excluded = [*ast.literal_eval(given.get("exclude_patterns", "[]")), default]
    included = ast.literal_eval(given.get("include_patterns", "[]"))
    patterns = pairs(given.get("network_reg_dims", ""))
    ranks = {}
    for name in names:
        if not re.match(targets, name):
            continue
        if any(re.fullmatch(p, name) for p in excluded) and not any(re.fullmatch(p, name) for p in included):
            continue
        whole = float(given.get("network_dim", 16))
        ranks[name] = next((rank for pattern, rank in patterns.items() if re.fullmatch(pattern, name)), whole)
    return ranks


def learning_rates(given: dict[str, str], names: Iterable[str], is_whole: bool) -> dict[str, float]:
    """Return the learning rate of each module by `network_reg_lrs`: of whole names, or of parts of flat ones."""
    patterns = pairs(given.get("network_reg_lrs", ""))
    rates = {}
    for name in names:
        found = (re.fullmatch(p, name) if is_whole else re.search(p, lora_name(name)) for p in patterns)
        rates[name] = next((rate for match, rate in zip(found, patterns.values()) if match), float(given["unet_lr"]))
    return rates


def by_words(text: str, names: Iterable[str], stacks: tuple[str, ...]) -> set[str]:
    """Return the modules that ai-toolkit's `toolkit/lora_special.py` trains: `word in clean_name`.

    With `transformer_only`, its default, a name has to hold one of `stacks` too, its `get_transformer_block_names`.
    names: with the name of the model before them.
    """
    network: dict[str, Any] = yaml.safe_load(text)["network"]
    words = network["network_kwargs"]["only_if_contains"]
    is_only = network.get("transformer_only", True) and stacks
    return {
        name
        for name in names
        if any(word in name for word in words) and (not is_only or any(stack in name for stack in stacks))
    }


def by_file_patterns(preset: dict[str, Any], names: Iterable[str]) -> dict[str, int | None]:
    """Return the modules that LyCORIS' `lycoris/kohya.py` trains, each with its own rank where it has one."""
    assert preset["use_fnmatch"]
    ranks = {}
    for name in names:
        if any(fnmatch.fnmatch(name, pattern) for pattern in preset["unet_target_name"]):
            shares = preset.get("name_algo_map", {})
            ranks[name] = next((share["dim"] for p, share in shares.items() if fnmatch.fnmatch(name, p)), None)
    return ranks
