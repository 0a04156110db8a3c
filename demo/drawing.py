"""Data sets: many pictures with their captions, and their latents."""

from __future__ import annotations

import data
import numpy as np
import torch
from diffusers import AutoencoderKL
from models import LATENT_STD_FACTOR
from store import Places, load_checkpoint, save_checkpoint
from tqdm import tqdm


def draw_pictures(kind: str, count: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """``count`` pictures (uint8, NxHxWx3) of a data set, and their captions."""
    pictures = np.empty((count, data.SIZE, data.SIZE, 3), np.uint8)
    captions = []
    for i in tqdm(range(count), desc=f"drawing ({kind})"):
        pictures[i], words = data.example(kind, seed, i)
        captions.append(words)
    return pictures, captions


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """Pictures as the autoencoder takes them: Nx3xHxW, float32, -1 to 1."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: np.ndarray) -> torch.Tensor:
    """Latents (N, 4, H/4, W/4) of pictures, scaled to deviation one."""
    parts = []
    for i in tqdm(range(0, len(pictures), 64), desc="encoding"):
        latents = vae.encode(to_tensor(pictures[i : i + 64])).latent_dist.mean
        parts.append(latents * LATENT_STD_FACTOR)
    return torch.cat(parts)


def latent_set(places: Places, kind: str, count: int, seed: int) -> tuple[torch.Tensor, list[str]]:
    """Latents and captions of a data set; made once and kept in the working folder."""
    path = places.work / f"latents-{kind}-{count}-{seed}.pt"
    kept = load_checkpoint(path)
    if kept is None:
        vae = AutoencoderKL.from_pretrained(places.model / "vae", torch_dtype=torch.float32).eval()
        pictures, captions = draw_pictures(kind, count, seed)
        kept = {"latents": encode(vae, pictures), "captions": captions}
        save_checkpoint(path, kept)
    return kept["latents"], kept["captions"]
