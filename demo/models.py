"""The parts of the demo model: SDXL's topology with tiny channels."""

from __future__ import annotations

from pathlib import Path

import data
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from store import write_json, write_tensors
from tokenizer import BOS, EOS, MAX_LENGTH, vocabulary, write_tokenizer
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

LATENT_SCALE = 4
"""Pixels of a picture for one of its latent, in each direction."""
LATENT_STD_FACTOR = 0.13025
"""SDXL's scaling factor; the autoencoder's latents have a deviation of one over it."""
TEXT_WIDTHS = (32, 48)


def new_vae() -> AutoencoderKL:
    """An untrained autoencoder, four times smaller each way, with four channels."""
    return AutoencoderKL(
        block_out_channels=(16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=data.SIZE,
        mid_block_add_attention=False,
        scaling_factor=LATENT_STD_FACTOR,
        force_upcast=False,
    )


def new_unet() -> UNet2DConditionModel:
    """An untrained U-Net with every block of SDXL's layouts."""
    return UNet2DConditionModel(
        sample_size=data.SIZE // LATENT_SCALE,
        layers_per_block=2,
        block_out_channels=(32, 64, 80),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 1),
        attention_head_dim=(2, 4, 5),
        use_linear_projection=True,
        norm_num_groups=8,
        cross_attention_dim=sum(TEXT_WIDTHS),
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=TEXT_WIDTHS[1] + 6 * 8,
    )


def text_config(which: int) -> CLIPTextConfig:
    """The shape of text encoder 1 or 2."""
    ids, _ = vocabulary()
    width = TEXT_WIDTHS[which - 1]
    return CLIPTextConfig(
        vocab_size=len(ids),
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=MAX_LENGTH,
        hidden_act="quick_gelu" if which == 1 else "gelu",
        bos_token_id=ids[BOS],
        eos_token_id=ids[EOS],
        pad_token_id=ids[EOS] if which == 1 else ids["!"],
    )


class TextEncoders(torch.nn.Module):
    """Both text encoders, giving what SDXL's U-Net is conditioned on."""

    def __init__(self) -> None:
        super().__init__()
        self.te1 = CLIPTextModel(text_config(1))
        self.te2 = CLIPTextModelWithProjection(text_config(2))

    def forward(self, ids1: torch.Tensor, ids2: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states (batch, MAX_LENGTH, 80) of the last layer but one; pooled (batch, 48)."""
        first = self.te1(ids1, output_hidden_states=True)
        second = self.te2(ids2, output_hidden_states=True)
        hidden = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1)
        return hidden, second.text_embeds


def new_scheduler() -> EulerDiscreteScheduler:
    """SDXL's scheduler."""
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="epsilon",
        timestep_spacing="leading",
        steps_offset=1,
        interpolation_type="linear",
        use_karras_sigmas=False,
    )


def load_tokenizers(model: Path) -> tuple[CLIPTokenizer, CLIPTokenizer]:
    """The two tokenizers of a pipeline folder."""
    return (
        CLIPTokenizer.from_pretrained(model / "tokenizer"),
        CLIPTokenizer.from_pretrained(model / "tokenizer_2"),
    )


def token_ids(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """Token ids (batch, MAX_LENGTH), padded and cut as the pipeline does."""
    ids: torch.Tensor = tokenizer(
        captions,
        padding="max_length",
        max_length=MAX_LENGTH,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return ids


def write_configs(model: Path) -> None:
    """Writes all of the pipeline folder that is not weights."""
    write_tokenizer(model / "tokenizer", pad=EOS)
    write_tokenizer(model / "tokenizer_2", pad="!")
    new_vae().save_config(model / "vae")
    new_unet().save_config(model / "unet")
    new_scheduler().save_config(model / "scheduler")
    for which, folder, kind in (
        (1, "text_encoder", "CLIPTextModel"),
        (2, "text_encoder_2", "CLIPTextModelWithProjection"),
    ):
        config = text_config(which).to_diff_dict()
        config.pop("transformers_version", None)
        write_json(model / folder / "config.json", {"architectures": [kind], **config})
    index = {
        "_class_name": "StableDiffusionXLPipeline",
        "_diffusers_version": "0.30.0",
        "force_zeros_for_empty_prompt": False,
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    write_json(model / "model_index.json", index)


def write_text_encoder(path: Path, state: dict[str, torch.Tensor]) -> None:
    """Writes a text encoder with the names of published SDXL files (``text_model.`` in front)."""
    published = {
        name if name.startswith(("text_model.", "text_projection")) else f"text_model.{name}": t
        for name, t in state.items()
        if not name.endswith("position_ids")
    }
    write_tensors(path, published)
