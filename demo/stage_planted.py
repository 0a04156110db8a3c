"""Stage planted: a LoRA of known strength in three known blocks, and the proof that it is so."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline
from lora_layers import block_of, metadata, unet_targets
from render import Merger, load_pipeline, render
from store import Places, write_json, write_tensors

RANK = 4
TARGETS = {"OUT04": 30.0, "IN05": 6.0, "OUT03": 1.2}
"""Percentage of colour values that change when a planted block is off, strongest block first."""
FIRST_STRENGTH = 0.8
"""Norm of a planted layer's delta over the norm of the layer's weight, before it is tuned."""
ROUNDS = 6
THRESHOLD = 20
PROMPTS = (
    "a large red star on a white background, flat style",
    "a large blue circle on a sky background, flat style",
    "a large green heart on a black background, flat style",
)
SEEDS = (1, 2, 3, 4, 5)
PLANT_SEEDS = (12, 13, 14, 15)
MARGIN = 1.4
"""By what factor a planted block must exceed the next one, for every prompt and seed."""


def planted_tensors(
    pipeline: StableDiffusionXLPipeline, strengths: dict[str, float], seed: int
) -> dict[str, torch.Tensor]:
    """Random LoRA tensors in the transformer layers of these blocks, and nowhere else."""
    tensors = {}
    for number, (name, layer) in enumerate(unet_targets(pipeline.unet, convolutions=False)):
        strength = strengths.get(block_of(name))
        if strength is None:
            continue
        weight = layer.weight.detach()
        generator = torch.Generator().manual_seed(seed * 1000 + number)
        down = torch.randn(RANK, weight.shape[1], generator=generator)
        up = torch.randn(weight.shape[0], RANK, generator=generator)
        factor = (strength * weight.norm() / (up @ down).norm()).sqrt()
        tensors[f"{name}.lora_down.weight"] = down * factor
        tensors[f"{name}.lora_up.weight"] = up * factor
        tensors[f"{name}.alpha"] = torch.tensor(float(RANK))
    return tensors


def changed_share(picture: np.ndarray, source: np.ndarray) -> float:
    """Percentage of colour values that differ by more than THRESHOLD of 255."""
    difference = np.abs(picture.astype(int) - source.astype(int))
    return float((difference > THRESHOLD).mean() * 100)


def block_effects(
    pipeline: StableDiffusionXLPipeline, lora: Path, prompt: str, seeds: Sequence[int]
) -> dict[str, list[float]]:
    """For each block of a LoRA and each seed, the share that changes when the block is off."""
    merger = Merger(pipeline, lora)
    every = dict.fromkeys(merger.blocks, 1.0)
    prompts = [prompt] * len(seeds)
    merger.apply(every)
    sources = render(pipeline, prompts, seeds)
    effects = {}
    for block in merger.blocks:
        merger.apply({**every, block: 0.0})
        pictures = render(pipeline, prompts, seeds)
        effects[block] = [changed_share(p, s) for p, s in zip(pictures, sources, strict=True)]
    merger.apply({})
    return effects


def table(effects: dict[str, list[float]]) -> str:
    """Effects as lines of text, strongest block first."""
    ranked = sorted(effects.items(), key=lambda item: -float(np.mean(item[1])))
    return "\n".join(f"  {block:6}" + "".join(f"{share:7.1f}" for share in shares) for block, shares in ranked)


def margin(effects: dict[str, list[float]]) -> float:
    """By what factor each planted block exceeds the next one, at least, over all seeds."""
    columns = zip(*(effects[block] for block in TARGETS), strict=True)
    return min(a / max(b, 1e-6) for shares in columns for a, b in pairwise(shares))


def measure(pipeline: StableDiffusionXLPipeline, path: Path) -> dict[str, dict[str, list[float]]]:
    """The effects of each block by prompt."""
    return {prompt: block_effects(pipeline, path, prompt, SEEDS) for prompt in PROMPTS}


def plant(pipeline: StableDiffusionXLPipeline, path: Path, strengths: dict[str, float], seed: int) -> float:
    """Writes the LoRA, prints what an analyzer must find in it, and returns the least margin over the prompts."""
    about = metadata("planted", RANK, float(RANK), "")
    write_tensors(path, planted_tensors(pipeline, strengths, seed), about)
    found = measure(pipeline, path)
    least = min(margin(effects) for effects in found.values())
    print(f"planted with seed {seed}, strengths {strengths}: margin {least:.2f}", flush=True)
    for prompt, effects in found.items():
        print(f" {prompt!r}\n{table(effects)}", flush=True)
    for block, target in TARGETS.items():
        mean = float(np.mean([share for effects in found.values() for share in effects[block]]))
        factor = min(2.0, max(0.5, (target / max(mean, 0.1)) ** 0.5))
        strengths[block] = round(min(4.0, strengths[block] * factor), 3)
    return least


def run(places: Places) -> None:
    """Writes the planted LoRA and its answer: strengths are tuned until the order is plain for every seed.

    Raises RuntimeError when no seed of the planted tensors gives a plain order.
    """
    pipeline = load_pipeline(places.model)
    path = places.loras / "planted.safetensors"
    for seed in PLANT_SEEDS:
        strengths = dict.fromkeys(TARGETS, FIRST_STRENGTH)
        for _ in range(ROUNDS):
            if plant(pipeline, path, strengths, seed) >= MARGIN:
                write_json(places.root / "planted.json", {"blocks": list(TARGETS)})
                return
    raise RuntimeError("the planted blocks do not come out in a plain order; try another --seed")
