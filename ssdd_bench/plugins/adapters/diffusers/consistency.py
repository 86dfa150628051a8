"""Adapter: the consistency decoder, a pixel-space model that decodes SD-VAE latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ssdd_bench.api import Latent, LatentSpec, Noise
from ssdd_bench.plugins.adapters.diffusers.continuous import Autoencoder, together

TIMESTEPS = (1008, 512)
"""Timesteps of the published two-step sampler, of 1024."""


class ConsistencyDecoder(Autoencoder):
    """SD-VAE's encoder and a U-Net that maps noise and latents to the image in one step.

    The second step adds noise to the first one's image and maps it again. Sampling is written
    here because the noise of diffusers' own sampler depends on the batch.

    Args:
        model: a ``ConsistencyDecoderVAE`` in evaluation mode.
        latent: shape of its latents.
        weights: files that it was loaded from.
        steps: 1 or 2.
    """

    def __init__(
        self, model: Any, latent: LatentSpec, weights: tuple[Path, ...], steps: int
    ) -> None:
        super().__init__(model, latent, weights)
        self.steps = steps

    def networks(self) -> dict[str, nn.Module]:
        """Return the encoder with its convolution, and the U-Net."""
        model = self._model
        return {
            "encoder": together(model.encoder, model.quant_conv),
            "decoder": together(model.decoder_unet),
        }

    def _decode(self, z: Tensor, latent: Latent, noise: Noise) -> Tensor:
        model, schedule = self._model, self._model.decoder_scheduler
        assert self.steps is not None
        means, stds = model.means.to(z), model.stds.to(z)
        condition = interpolate(
            (z * model.config.scaling_factor - means) / stds, scale_factor=float(self.latent.f)
        )
        image = torch.zeros((len(latent), 3, *latent.size), device=z.device)
        for timestep in TIMESTEPS[: self.steps]:
            signal = (
                schedule.sqrt_alphas_cumprod[timestep].item() if timestep != TIMESTEPS[0] else 0
            )
            level = schedule.sqrt_one_minus_alphas_cumprod[timestep].item()
            sample = noise.normal(image.shape[1:], device=z.device)
            noisy = (signal * image + level * sample).to(z.dtype)
            scaled = noisy * schedule.c_in[timestep].item()
            times = torch.full((len(noisy),), timestep, device=z.device)
            out = model.decoder_unet(torch.cat([scaled, condition], dim=1), times).sample[:, :3]
            skip, gain = schedule.c_skip[timestep].item(), schedule.c_out[timestep].item()
            image = (gain * out + skip * noisy).float()
        return (image + 1) / 2
