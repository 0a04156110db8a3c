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
STRENGTHS = {"OUT04": 2.0, "IN05": 1.45, "OUT03": 0.43}
"""Norm of a planted layer's delta over the norm of the layer's weight, strongest block first."""
THRESHOLD = 20
PROMPTS = (
    "a large red star on a white background, flat style",
    "a large blue circle on a sky background, flat style",
)
SEEDS = (1, 2, 3, 4, 5)
PLANT_SEED = 12


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


def proven(effects: dict[str, list[float]], order: Sequence[str], factor: float = 1.5) -> bool:
    """Whether for every seed each block of ``order`` exceeds the next by ``factor``."""
    columns = zip(*(effects[block] for block in order), strict=True)
    return all(all(a >= factor * b for a, b in pairwise(shares)) and shares[-1] > 3 for shares in columns)


def run(places: Places) -> None:
    """Writes the planted LoRA and its answer, and prints what an analyzer must find."""
    pipeline = load_pipeline(places.model)
    path = places.loras / "planted.safetensors"
    write_tensors(
        path,
        planted_tensors(pipeline, STRENGTHS, PLANT_SEED),
        metadata("planted", RANK, float(RANK), ""),
    )
    write_json(places.root / "planted.json", {"blocks": list(STRENGTHS)})
    for prompt in PROMPTS:
        effects = block_effects(pipeline, path, prompt, SEEDS)
        verdict = "proven" if proven(effects, list(STRENGTHS)) else "NOT PROVEN"
        print(f"planted, {prompt!r}, seeds {SEEDS}: {verdict}\n{table(effects)}")
