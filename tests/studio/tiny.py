"""Tiny pipelines of every family, of diffusers' and transformers' own classes with small numbers.

A model is two blocks of each sort, 32 wide. All weights are random, so that no output is zero at first.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import diffusers
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WIDTH, HEADS, HEAD = 32, 2, 16
AXES = (4, 6, 6)
PAD, EOS, BOS = 0, 1, 2
LATENT = 4
_LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
_WORDS = 3 + len(_LETTERS)
_CHAT = (
    "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{{ m.content[0].text }}{% endif %}"
    "{% endfor %}"
)


def tokenizer(length: int = 77) -> Any:
    """Return a tokenizer for which every byte is a token."""
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<eos>", "<bos>", *_LETTERS])}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", EOS)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", model_max_length=length,
        chat_template=_CHAT,
    )  # fmt: skip


# Text encoders -----------------------------------------------------------------------------------


def clip(projects: bool = False, length: int = 77) -> Any:
    config = transformers.CLIPTextConfig(
        vocab_size=_WORDS, hidden_size=WIDTH, intermediate_size=2 * WIDTH, projection_dim=WIDTH, num_hidden_layers=2,
        num_attention_heads=HEADS, eos_token_id=EOS, bos_token_id=BOS, pad_token_id=PAD,
        max_position_embeddings=length,
    )  # fmt: skip
    return (transformers.CLIPTextModelWithProjection if projects else transformers.CLIPTextModel)(config)


def t5(width: int = WIDTH, kind: str = "T5") -> Any:
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=_WORDS, d_model=width, d_kv=HEAD, d_ff=2 * width, num_layers=2, num_heads=HEADS,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    return getattr(transformers, f"{kind}EncoderModel")(config)


def _language(**more: Any) -> dict[str, Any]:
    return {
        "vocab_size": _WORDS, "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 2,
        "num_attention_heads": HEADS, "num_key_value_heads": 1, "head_dim": HEAD, "pad_token_id": PAD,
        "eos_token_id": EOS, "bos_token_id": BOS, **more,
    }  # fmt: skip


def _sees(**more: Any) -> dict[str, Any]:
    return {
        "depth": 1, "hidden_size": WIDTH, "intermediate_size": WIDTH, "num_heads": HEADS, "out_hidden_size": WIDTH,
        **more,
    }  # fmt: skip


def qwen25_vl() -> Any:
    rope = {"type": "mrope", "mrope_section": [2, 3, 3]}
    config = transformers.Qwen2_5_VLConfig(
        text_config=_language(rope_scaling=rope), vision_config=_sees(fullatt_block_indexes=[0])
    )
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def qwen3_vl() -> Any:
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3]}
    config = transformers.Qwen3VLConfig(
        text_config=_language(rope_scaling=rope), vision_config=_sees(deepstack_visual_indexes=[0])
    )
    return transformers.Qwen3VLModel(config)


# Autoencoders ------------------------------------------------------------------------------------


def vae() -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=LATENT, norm_num_groups=4, sample_size=32, shift_factor=0.1, mid_block_add_attention=False,
    )  # fmt: skip


def vae_flux2() -> Any:
    return diffusers.AutoencoderKLFlux2(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1, latent_channels=LATENT, norm_num_groups=4, mid_block_add_attention=False,
    )  # fmt: skip


def vae_video(of: str) -> Any:
    return getattr(diffusers, of)(
        base_dim=4, z_dim=LATENT, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True],
        latents_mean=[0.0] * LATENT, latents_std=[1.0] * LATENT,
    )  # fmt: skip


def vae_hunyuan() -> Any:
    return diffusers.AutoencoderKLHunyuanImage(
        3, 3, LATENT, block_out_channels=(32, 32), layers_per_block=1, spatial_compression_ratio=2, sample_size=32,
        scaling_factor=0.5,
    )  # fmt: skip


# Pipelines ---------------------------------------------------------------------------------------


def _flow(**more: Any) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(**more)


def sd1() -> Any:
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(8, 8, 8, 8), layers_per_block=2, norm_num_groups=4, attention_head_dim=4, sample_size=8,
        cross_attention_dim=WIDTH,
    )  # fmt: skip
    scheduler = diffusers.PNDMScheduler(skip_prk_steps=True, steps_offset=1)
    return diffusers.StableDiffusionPipeline(
        vae(), clip(), tokenizer(), unet, scheduler, None, None, requires_safety_checker=False
    )


def flux() -> Any:
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=4 * LATENT, num_layers=2, num_single_layers=2, attention_head_dim=HEAD, num_attention_heads=HEADS,
        joint_attention_dim=WIDTH, pooled_projection_dim=WIDTH, guidance_embeds=True, axes_dims_rope=AXES,
    )  # fmt: skip
    return diffusers.FluxPipeline(_flow(), vae(), clip(), tokenizer(), t5(), tokenizer(), transformer)


def chroma() -> Any:
    transformer = diffusers.ChromaTransformer2DModel(
        in_channels=4 * LATENT, num_layers=2, num_single_layers=2, attention_head_dim=HEAD, num_attention_heads=HEADS,
        joint_attention_dim=WIDTH, axes_dims_rope=AXES, approximator_num_channels=8, approximator_hidden_dim=WIDTH,
        approximator_layers=1,
    )  # fmt: skip
    return diffusers.ChromaPipeline(_flow(), vae(), t5(), tokenizer(), transformer)


def flux2_klein() -> Any:
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=4 * LATENT, num_layers=2, num_single_layers=2, attention_head_dim=HEAD, num_attention_heads=HEADS,
        joint_attention_dim=3 * WIDTH, timestep_guidance_channels=HEAD, axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )  # fmt: skip
    encoder = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**_language()))
    return diffusers.Flux2KleinPipeline(_flow(), vae_flux2(), encoder, tokenizer(), transformer)


def lumina2() -> Any:
    transformer = diffusers.Lumina2Transformer2DModel(
        sample_size=8, in_channels=LATENT, hidden_size=WIDTH, num_layers=2, num_attention_heads=HEADS, num_kv_heads=1,
        multiple_of=16, axes_dim_rope=AXES, cap_feat_dim=WIDTH,
    )  # fmt: skip
    encoder = transformers.Gemma2Model(transformers.Gemma2Config(**_language(query_pre_attn_scalar=HEAD)))
    return diffusers.Lumina2Pipeline(transformer, _flow(), vae(), encoder, tokenizer())


def z_image() -> Any:
    transformer = diffusers.ZImageTransformer2DModel(
        in_channels=LATENT, dim=WIDTH, n_layers=2, n_heads=HEADS, n_kv_heads=HEADS, cap_feat_dim=WIDTH,
        axes_dims=list(AXES),
    )  # fmt: skip
    encoder = transformers.Qwen3Model(transformers.Qwen3Config(**_language()))
    return diffusers.ZImagePipeline(_flow(), vae(), encoder, tokenizer(), transformer)


def _wan(**more: Any) -> Any:
    return diffusers.WanTransformer3DModel(
        num_attention_heads=HEADS, attention_head_dim=HEAD, in_channels=LATENT, out_channels=LATENT, text_dim=WIDTH,
        freq_dim=HEAD, ffn_dim=2 * WIDTH, num_layers=2, rope_max_seq_len=32, **more,
    )  # fmt: skip


def wan() -> Any:
    return diffusers.WanPipeline(
        tokenizer(), t5(kind="UMT5"), vae_video("AutoencoderKLWan"), _flow(), _wan(), _wan(), boundary_ratio=0.9
    )


def qwen_image() -> Any:
    transformer = diffusers.QwenImageTransformer2DModel(
        in_channels=4 * LATENT, out_channels=LATENT, num_layers=2, attention_head_dim=HEAD, num_attention_heads=HEADS,
        joint_attention_dim=WIDTH, axes_dims_rope=AXES,
    )  # fmt: skip
    return diffusers.QwenImagePipeline(
        _flow(), vae_video("AutoencoderKLQwenImage"), qwen25_vl(), tokenizer(), transformer
    )


def krea2() -> Any:
    transformer = diffusers.Krea2Transformer2DModel(
        in_channels=4 * LATENT, num_layers=2, attention_head_dim=HEAD, num_attention_heads=HEADS, num_key_value_heads=1,
        intermediate_size=2 * WIDTH, timestep_embed_dim=HEAD, text_hidden_dim=WIDTH, num_text_layers=2,
        text_num_attention_heads=HEADS, text_num_key_value_heads=HEADS, text_intermediate_size=2 * WIDTH,
        axes_dims_rope=AXES,
    )  # fmt: skip
    return diffusers.Krea2Pipeline(
        _flow(), vae_video("AutoencoderKLQwenImage"), qwen3_vl(), tokenizer(), transformer, (1, 2)
    )


def sd3() -> Any:
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=8, in_channels=LATENT, out_channels=LATENT, num_layers=2, attention_head_dim=HEAD,
        num_attention_heads=HEADS, joint_attention_dim=2 * WIDTH, caption_projection_dim=WIDTH,
        pooled_projection_dim=2 * WIDTH, pos_embed_max_size=16, dual_attention_layers=(0,), qk_norm="rms_norm",
    )  # fmt: skip
    return diffusers.StableDiffusion3Pipeline(
        transformer, _flow(), vae(), clip(True), tokenizer(), clip(True), tokenizer(), t5(2 * WIDTH), tokenizer()
    )


def hidream() -> Any:
    transformer = diffusers.HiDreamImageTransformer2DModel(
        patch_size=2, in_channels=LATENT, out_channels=LATENT, num_layers=2, num_single_layers=2,
        attention_head_dim=HEAD, num_attention_heads=HEADS, caption_channels=[WIDTH, WIDTH], text_emb_dim=2 * WIDTH,
        axes_dims_rope=(8, 4, 4), max_resolution=(32, 32), llama_layers=[0, 1, 0, 1],
    )  # fmt: skip
    llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(**_language()))
    encoders = [part for encoder in (clip(True, 248), clip(True, 248), t5(), llama) for part in (encoder, tokenizer())]
    pipeline = diffusers.HiDreamImagePipeline(_flow(), vae(), *encoders, transformer)
    pipeline.default_sample_size = 16  # to whose area it scales what it is asked for
    return pipeline


def hunyuan_image() -> Any:
    transformer = diffusers.HunyuanImageTransformer2DModel(
        in_channels=LATENT, out_channels=LATENT, num_attention_heads=HEADS, attention_head_dim=HEAD, num_layers=2,
        num_single_layers=2, num_refiner_layers=1, text_embed_dim=WIDTH, text_embed_2_dim=WIDTH, rope_axes_dim=(8, 8),
    )  # fmt: skip
    return diffusers.HunyuanImagePipeline(
        _flow(), vae_hunyuan(), qwen25_vl(), tokenizer(), t5(), tokenizer(), transformer,
        diffusers.AdaptiveProjectedMixGuidance(),
    )  # fmt: skip


def anima() -> Any:
    transformer = diffusers.CosmosTransformer3DModel(
        in_channels=LATENT, out_channels=LATENT, num_attention_heads=HEADS, attention_head_dim=HEAD, num_layers=2,
        text_embed_dim=WIDTH // 2, adaln_lora_dim=8, max_size=(4, 16, 16), extra_pos_embed_type=None,
        concat_padding_mask=False,
    )  # fmt: skip
    conditioner = diffusers.AnimaTextConditioner(
        source_dim=WIDTH // 2, target_dim=WIDTH // 2, model_dim=WIDTH // 2, num_layers=2, num_attention_heads=HEADS,
        target_vocab_size=_WORDS, min_sequence_length=8,
    )  # fmt: skip
    encoder = transformers.Qwen3Model(transformers.Qwen3Config(**_language(hidden_size=WIDTH // 2)))
    pipeline = diffusers.AnimaModularPipeline()
    pipeline.update_components(
        text_encoder=encoder, tokenizer=tokenizer(), t5_tokenizer=tokenizer(), text_conditioner=conditioner,
        transformer=transformer, scheduler=_flow(), vae=vae_video("AutoencoderKLQwenImage"),
    )  # fmt: skip
    return pipeline


class _Short:
    """A pipeline for which prompts are short: the usual 512 tokens would take most of the time."""

    taken: dict[str, Any]

    def encode_prompt(self, *args: Any, **kwargs: Any) -> Any:
        return super().encode_prompt(*args, **kwargs | self.taken)  # type: ignore[misc]


def _shortened(pipeline: Any) -> None:
    if hasattr(pipeline, "encode_prompt"):
        here = {"max_sequence_length": 48, "text_encoder_out_layers": (0, 1, 2)}
        names = inspect.signature(pipeline.encode_prompt).parameters
        taken = {name: value for name, value in here.items() if name in names}
        own = type(pipeline)
        pipeline.__class__ = type(own.__name__, (_Short, own), {"taken": taken, "__module__": own.__module__})
    if hasattr(pipeline, "prompt_template_encode_start_idx"):
        pipeline.tokenizer_max_length = 48


def built(maker: Callable[[], Any]) -> Any:
    """Return the pipeline that `maker` makes, with random weights, always the same."""
    torch.manual_seed(0)
    pipeline = maker()
    _shortened(pipeline)
    for component in pipeline.components.values():
        if isinstance(component, torch.nn.Module):
            component.eval().requires_grad_(False)
            for parameter in component.parameters():
                parameter.normal_(0, 0.5 if parameter.dim() < 2 else parameter[0].numel() ** -0.5)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
