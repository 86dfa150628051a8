"""Pipelines of diffusers around an autoencoder, with tiny random diffusion models."""

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)


def make_kl(*widths, **more):
    """Build a random KL-VAE, by default for latents of 4 channels."""
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=widths,
        down_block_types=["DownEncoderBlock2D"] * len(widths),
        up_block_types=["UpDecoderBlock2D"] * len(widths),
        norm_num_groups=4,
        **more,
    )


def make_unet(side=8, **more):
    """Build a text-to-image UNet for latents of 4 channels."""
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=side,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=8,
        norm_num_groups=4,
        **more,
    )


def make_stable_diffusion(vae, kind=StableDiffusionPipeline, side=8):
    """Build a pipeline of Stable Diffusion without its text encoder."""
    pipe = kind(
        vae=vae,
        text_encoder=None,
        tokenizer=None,
        unet=make_unet(side),
        scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def make_stable_diffusion_xl(vae):
    """Build a pipeline of Stable Diffusion XL without its text encoders."""
    unet = make_unet(
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 8,
    )
    pipe = StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=None,
        text_encoder_2=None,
        tokenizer=None,
        tokenizer_2=None,
        unet=unet,
        scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
        add_watermarker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def call(pipe, seed=0, prompts=1, **inputs):
    """Run three steps and return images (B, H, W, 3)."""
    embeddings = torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(1))
    return pipe(
        prompt_embeds=embeddings.expand(prompts, -1, -1).to(pipe.unet.dtype),
        guidance_scale=1.0,
        num_inference_steps=3,
        generator=torch.Generator().manual_seed(seed),
        output_type="np",
        **inputs,
    ).images


def make_dit(vae):
    """Build a pipeline of DiT."""
    torch.manual_seed(0)
    transformer = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        out_channels=4,
        num_layers=1,
        sample_size=8,
        patch_size=2,
    )
    # Training drops labels at random.
    pipe = DiTPipeline(transformer.eval(), vae, DDIMScheduler(clip_sample=False))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sample_classes(pipe):
    """Sample two classes and return images (2, 3, H, W)."""
    generator = torch.Generator().manual_seed(0)
    labels = {"class_labels": [1, 2], "num_inference_steps": 2, "guidance_scale": 1.0}
    return pipe(**labels, generator=generator, output_type="pt").images.float()
