"""Stage loras: the subject and the style LoRA, trained on the finished base model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import data
import torch
from diffusers import UNet2DConditionModel
from drawing import latent_set
from lora_layers import attach, metadata, text_targets, unet_targets, write_lora
from models import load_tokenizers, token_ids
from stage_base import Base, denoising_loss
from store import Places, load_checkpoint, save_checkpoint
from training import cosine_rate, descend, run_steps
from transformers import CLIPTextModel, CLIPTextModelWithProjection

BATCH = 16
PEAK_RATE = 3e-3


@dataclass(frozen=True)
class Recipe:
    """How a LoRA is trained."""

    name: str
    rank: int
    alpha: float
    convolutions: bool
    trigger: str
    steps_factor: float
    """Its steps as a multiple of the stage's."""


RECIPES = (
    Recipe("subject", 8, 8.0, False, data.SUBJECT, 1.0),
    Recipe("style", 6, 6.0, True, f"{data.STYLE} style", 4.0),
)


def load_base(model: Path) -> Base:
    """The base model of a pipeline folder, in single precision, frozen."""
    base = Base()
    single = {"torch_dtype": torch.float32}
    base.text.te1 = CLIPTextModel.from_pretrained(model / "text_encoder", **single)
    base.text.te2 = CLIPTextModelWithProjection.from_pretrained(model / "text_encoder_2", **single)
    base.unet = UNet2DConditionModel.from_pretrained(model / "unet", **single)
    return base.requires_grad_(False)


def train_lora(places: Places, recipe: Recipe, seed: int, steps: int, pictures: int, threads: int) -> None:
    """Trains one LoRA, or goes on where it stopped, and writes it."""
    latents, captions = latent_set(places, recipe.name, pictures, seed)
    ids1, ids2 = (token_ids(t, captions) for t in load_tokenizers(places.model))
    base = load_base(places.model)
    targets = dict(unet_targets(base.unet, recipe.convolutions))
    targets |= dict(text_targets(base.text.te1, 1)) | dict(text_targets(base.text.te2, 2))
    torch.manual_seed(seed)
    layers = attach(targets, recipe.rank, recipe.alpha)
    network = torch.nn.ModuleDict(layers)
    parameters: list[torch.Tensor] = list(network.parameters())
    optimizer = torch.optim.AdamW(parameters, PEAK_RATE, (0.9, 0.99), weight_decay=0.01, fused=True)
    checkpoint = places.work / f"{recipe.name}.pt"
    state = load_checkpoint(checkpoint)
    if state:
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])

    def one_step(step: int) -> float:
        torch.manual_seed(seed * 1_000_003 + step)
        chosen = torch.randint(0, len(latents), (BATCH,))
        loss = denoising_loss(base, latents[chosen], ids1[chosen], ids2[chosen])
        return descend(optimizer, loss, parameters, PEAK_RATE * cosine_rate(step, steps, 20))

    def save(step: int) -> None:
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
        save_checkpoint(checkpoint, {**state, "step": step})
        r = recipe
        about = metadata(r.name, r.rank, r.alpha, r.trigger, r.convolutions)
        write_lora(places.loras / f"{r.name}.safetensors", layers, about)

    start = int(state["step"]) if state else 0
    run_steps(recipe.name, start, steps, one_step, save, 200, threads)


def run(places: Places, seed: int, steps: int, pictures: int, threads: int) -> None:
    """Trains both LoRAs."""
    for recipe in RECIPES:
        own_steps = round(steps * recipe.steps_factor)
        train_lora(places, recipe, seed, own_steps, pictures, threads)
