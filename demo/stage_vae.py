"""Stage vae: the autoencoder, trained on crops of the drawn pictures."""

from __future__ import annotations

import data
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from drawing import draw_pictures, to_tensor
from models import LATENT_STD_FACTOR, new_vae, write_configs
from store import Places, load_checkpoint, save_checkpoint, write_tensors
from training import cosine_rate, descend, run_steps

CROP_STEPS = 1600
"""Steps on many small crops, which teach the most in the least time; then whole pictures."""
PEAK_RATE = 2e-3


def random_crops(pictures: np.ndarray, step: int, seed: int) -> torch.Tensor:
    """32 random crops of 32 pixels, later 8 whole pictures; the same step gives the same."""
    rng = np.random.default_rng([seed, step])
    size, count = (32, 32) if step < CROP_STEPS else (data.SIZE, 8)
    crops = np.empty((count, size, size, 3), np.uint8)
    for k, i in enumerate(rng.integers(len(pictures), size=count)):
        y, x = rng.integers(data.SIZE - size + 1, size=2)
        crops[k] = pictures[i, y : y + size, x : x + size]
    return to_tensor(crops)


def loss_of(vae: AutoencoderKL, crops: torch.Tensor) -> torch.Tensor:
    """Absolute and squared error, error of the edges, and a little KL."""
    posterior = vae.encode(crops).latent_dist
    decoded = vae.decode(posterior.sample()).sample
    edges = F.l1_loss(decoded.diff(dim=2), crops.diff(dim=2)) + F.l1_loss(decoded.diff(dim=3), crops.diff(dim=3))
    error = F.l1_loss(decoded, crops) + F.mse_loss(decoded, crops)
    return error + 0.5 * edges + 1e-3 * posterior.kl().mean() / posterior.mean[0, 0].numel()


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, pictures: torch.Tensor) -> None:
    """Folds a shift and scale of each channel into the two 1x1 convolutions at the latent.

    Afterwards each channel of the latents has mean 0 and deviation 1 / LATENT_STD_FACTOR,
    and the decoded pictures are what they were.
    """
    latents = vae.encode(pictures).latent_dist.mean
    mean = latents.mean((0, 2, 3))
    scale = 1 / (latents.std((0, 2, 3)) * LATENT_STD_FACTOR)
    inside, outside = vae.quant_conv, vae.post_quant_conv
    inside.weight[:4] *= scale[:, None, None, None]
    inside.bias[:4] = (inside.bias[:4] - mean) * scale
    inside.bias[4:] += 2 * scale.log()
    inside_weight = outside.weight.clone()
    outside.weight /= scale[None, :, None, None]
    outside.bias += (inside_weight[:, :, 0, 0] * mean[None]).sum(1)


def run(places: Places, seed: int, steps: int, pictures: int, threads: int) -> None:
    """Trains the autoencoder, or goes on where it stopped, and writes it."""
    write_configs(places.model)
    weights = places.model / "vae" / "diffusion_pytorch_model.safetensors"
    checkpoint = places.work / "vae.pt"
    state = load_checkpoint(checkpoint)
    if state and state["step"] >= steps and weights.exists():
        return
    amounts = {"base": pictures, "subject": pictures // 6, "style": pictures // 6}
    drawn = np.concatenate([draw_pictures(k, n, seed + 1)[0] for k, n in amounts.items()])
    torch.manual_seed(seed)
    vae = new_vae()
    parameters: list[torch.Tensor] = list(vae.parameters())
    optimizer = torch.optim.AdamW(parameters, PEAK_RATE, (0.9, 0.99), weight_decay=0.0)
    if state:
        vae.load_state_dict(state["vae"])
        optimizer.load_state_dict(state["optimizer"])

    def one_step(step: int) -> float:
        torch.manual_seed(seed * 1_000_003 + step)
        loss = loss_of(vae, random_crops(drawn, step, seed))
        return descend(optimizer, loss, parameters, PEAK_RATE * cosine_rate(step, steps))

    def save(step: int) -> None:
        state = {"vae": vae.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
        save_checkpoint(checkpoint, state)

    run_steps("vae", int(state["step"]) if state else 0, steps, one_step, save, 500, threads)
    normalise_latents(vae, to_tensor(drawn[:512]))
    write_tensors(weights, vae.state_dict())
    for stale in places.work.glob("latents-*.pt"):
        stale.unlink()
