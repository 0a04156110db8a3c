"""Pictures from the finished pipeline, with LoRA files merged block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import data
import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline
from lora_layers import Layer, block_of, delta, text_targets, unet_targets
from safetensors.torch import load_file

STEPS = 20
GUIDANCE = 4.0


def load_pipeline(model: Path) -> StableDiffusionXLPipeline:
    """The pipeline of a folder, in single precision, silent."""
    pipeline = StableDiffusionXLPipeline.from_pretrained(
        model, torch_dtype=torch.float32, add_watermarker=False, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def layers_of(pipeline: StableDiffusionXLPipeline) -> dict[str, Layer]:
    """Every layer that a LoRA may change, by kohya's name."""
    return {
        **dict(unet_targets(pipeline.unet, convolutions=True)),
        **dict(text_targets(pipeline.text_encoder, 1)),
        **dict(text_targets(pipeline.text_encoder_2, 2)),
    }


def lora_blocks(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """The blocks that a LoRA file has tensors in, sorted."""
    return sorted({block_of(name) for name in tensors})


class Merger:
    """Merges a LoRA into a pipeline with a weight for each block, from kept base weights."""

    def __init__(self, pipeline: StableDiffusionXLPipeline, lora: Path) -> None:
        tensors = load_file(lora)
        names = {name.partition(".")[0] for name in tensors}
        self.blocks = lora_blocks(tensors)
        self.layers = {n: layer for n, layer in layers_of(pipeline).items() if n in names}
        if missing := names - set(self.layers):
            raise ValueError(f"{lora.name} names layers that the model lacks: {sorted(missing)}")
        self.base = {n: layer.weight.detach().clone() for n, layer in self.layers.items()}
        self.deltas = {n: delta(tensors, n, w.shape) for n, w in self.base.items()}

    @torch.no_grad()
    def apply(self, weights: Mapping[str, float]) -> None:
        """Sets every layer to base + weight of its block (0 where left out) x delta."""
        for name, layer in self.layers.items():
            weight = weights.get(block_of(name), 0.0)
            layer.weight.copy_(self.base[name])
            if weight:
                layer.weight.add_(self.deltas[name], alpha=weight)


def render(
    pipeline: StableDiffusionXLPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    steps: int = STEPS,
    guidance: float = GUIDANCE,
) -> np.ndarray:
    """Pictures (uint8, NxHxWx3), one for each prompt and its seed."""
    found = []
    for i in range(0, len(prompts), 12):
        generators = [torch.Generator().manual_seed(s) for s in seeds[i : i + 12]]
        pictures = pipeline(
            list(prompts[i : i + 12]),
            num_inference_steps=steps,
            guidance_scale=guidance,
            width=data.SIZE,
            height=data.SIZE,
            generator=generators,
            output_type="np",
        ).images
        found.append((pictures * 255).round().astype(np.uint8))
    return np.concatenate(found)
