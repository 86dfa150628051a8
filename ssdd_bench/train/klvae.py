"""Train a KL-VAE: L1 and perceptual reconstruction with a Gaussian posterior.

The network is diffusers' ``AutoencoderKL``. This first recipe has no adversarial loss.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from ssdd_bench.train.perceptual import EffNetDistance
from ssdd_bench.train.recipe import KLVAERecipe
from ssdd_bench.train.stage import Stage


class KLVAEStage(Stage):
    """Encoder and decoder together, from scratch."""

    name = "klvae"

    def __init__(self, recipe: KLVAERecipe) -> None:
        self.recipe = recipe
        self.iterations = recipe.iterations
        self.lr = recipe.lr
        self.vae: Any = AutoencoderKL(**recipe.network)
        self.networks = nn.ModuleDict({"vae": cast("nn.Module", self.vae)})
        self.distance = EffNetDistance()

    def losses(self, images: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """L1, perceptual distance and divergence of a sampled latent's reconstruction."""
        posterior = self.vae.encode(images).latent_dist
        mean, std = posterior.mean.float(), posterior.std.float()
        noise = torch.randn(mean.shape, generator=generator)
        output = self.vae.decode(mean + std * noise).sample.float()
        kl = 0.5 * (mean.square() + std.square() - 1 - 2 * std.log()).sum(dim=(1, 2, 3)).mean()
        return {
            "l1": (output - images).abs().mean(),
            "perceptual": self.recipe.perceptual_weight * self.distance(output, images),
            "kl": self.recipe.kl_weight * kl,
        }

    def exported(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Keys as diffusers names them."""
        return {name.removeprefix("vae."): value for name, value in weights.items()}

    def config(self) -> dict[str, Any]:
        """Arguments of ``AutoencoderKL``."""
        return dict(self.recipe.network)
