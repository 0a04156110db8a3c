"""Stage model: both text encoders and the U-Net, trained together from nothing."""

from __future__ import annotations

from pathlib import Path

import data
import torch
from drawing import latent_set
from models import (
    TextEncoders,
    load_tokenizers,
    new_scheduler,
    new_unet,
    token_ids,
    write_text_encoder,
)
from store import Places, load_checkpoint, save_checkpoint, write_tensors
from training import cosine_rate, descend, loss_weights, run_steps

PICTURES = 16384
BATCH = 16
PEAK_RATE = 1.2e-3
CAPTION_DROPOUT = 0.1
EMA_DECAY = 0.998


def random_time_ids(batch: int) -> torch.Tensor:
    """SDXL's six numbers of size and crop: half of them the pictures' own, half of them any.

    So the model learns that they mean nothing here, and takes any size it is asked for.
    """
    usual = torch.tensor([data.SIZE, data.SIZE, 0, 0, data.SIZE, data.SIZE]).float()
    sizes = torch.randint(4, 33, (batch, 6)) * 8.0
    sizes[:, 2:4] = 0
    return torch.where(torch.rand(batch, 1) < 0.5, usual, sizes)


class Base(torch.nn.Module):
    """The denoiser: text encoders and U-Net."""

    def __init__(self) -> None:
        super().__init__()
        self.text = TextEncoders()
        self.unet = new_unet()

    def forward(
        self, latents: torch.Tensor, timesteps: torch.Tensor, ids1: torch.Tensor, ids2: torch.Tensor
    ) -> torch.Tensor:
        """The predicted noise, shaped as ``latents``."""
        hidden, pooled = self.text(ids1, ids2)
        added = {"text_embeds": pooled, "time_ids": random_time_ids(len(latents))}
        noise: torch.Tensor = self.unet(latents, timesteps, hidden, added_cond_kwargs=added, return_dict=False)[0]
        return noise


def denoising_loss(base: Base, latents: torch.Tensor, ids1: torch.Tensor, ids2: torch.Tensor) -> torch.Tensor:
    """The weighted squared error of the predicted noise, for random noise and timesteps."""
    alphas = new_scheduler().alphas_cumprod
    timesteps = torch.randint(0, len(alphas), (len(latents),))
    noise = torch.randn_like(latents)
    alpha = alphas[timesteps][:, None, None, None]
    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
    error = (base(noisy, timesteps, ids1, ids2) - noise).square().mean((1, 2, 3))
    return (error * loss_weights(timesteps, alphas)).mean()


def write_base(model: Path, base: Base) -> None:
    """Writes text encoders and U-Net into the pipeline folder, in half precision."""
    write_text_encoder(model / "text_encoder" / "model.safetensors", base.text.te1.state_dict())
    write_text_encoder(model / "text_encoder_2" / "model.safetensors", base.text.te2.state_dict())
    unet = model / "unet" / "diffusion_pytorch_model.safetensors"
    write_tensors(unet, base.unet.state_dict())


def run(places: Places, seed: int, steps: int, pictures: int, threads: int) -> None:
    """Trains the base model, or goes on where it stopped, and writes its moving average."""
    latents, captions = latent_set(places, "base", pictures, seed)
    tokenizers = load_tokenizers(places.model)
    ids1, ids2 = (token_ids(t, [*captions, ""]) for t in tokenizers)
    torch.manual_seed(seed)
    base = Base()
    parameters: list[torch.Tensor] = list(base.parameters())
    average = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.AdamW(parameters, PEAK_RATE, (0.9, 0.99), weight_decay=0.01, fused=True)
    checkpoint = places.work / "base.pt"
    state = load_checkpoint(checkpoint)
    start = 0
    if state:
        base.load_state_dict(state["base"])
        optimizer.load_state_dict(state["optimizer"])
        average = state["average"]
        start = int(state["step"])

    def one_step(step: int) -> float:
        torch.manual_seed(seed * 1_000_003 + step)
        chosen = torch.randint(0, len(latents), (BATCH,))
        words = torch.where(torch.rand(BATCH) < CAPTION_DROPOUT, len(captions), chosen)
        loss = denoising_loss(base, latents[chosen], ids1[words], ids2[words])
        value = descend(optimizer, loss, parameters, PEAK_RATE * cosine_rate(step, steps))
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - decay)
        return value

    def save(step: int) -> None:
        state = {
            "base": base.state_dict(),
            "optimizer": optimizer.state_dict(),
            "average": average,
            "step": step,
        }
        save_checkpoint(checkpoint, state)
        smooth = Base()
        for target, value in zip(smooth.parameters(), average, strict=True):
            target.data.copy_(value)
        write_base(places.model, smooth)

    run_steps("model", start, steps, one_step, save, 500, threads)
