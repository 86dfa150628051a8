"""Train the encoder and the multi-step diffusion decoder together, by flow matching."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssdd_bench.flow.path import estimate_image, interpolate, velocity
from ssdd_bench.flow.schedule import logit_normal_times
from ssdd_bench.nn.decoder import SSDDDecoder
from ssdd_bench.nn.encoder import SSDDEncoder
from ssdd_bench.train.perceptual import EffNetDistance
from ssdd_bench.train.recipe import DiffusionRecipe
from ssdd_bench.train.stage import Stage


class DiffusionStage(Stage):
    """Encoder and decoder from scratch; the latent is sampled, as in the paper's training."""

    name = "diffusion"

    def __init__(self, recipe: DiffusionRecipe) -> None:
        self.recipe = recipe
        self.iterations = recipe.iterations
        self.lr = recipe.lr
        self.encoder = SSDDEncoder.from_config(recipe.f, recipe.z_dim, recipe.encoder_base)
        self.decoder = SSDDDecoder.from_size(recipe.size, recipe.z_dim)
        self.networks = nn.ModuleDict({"encoder": self.encoder, "decoder": self.decoder})
        self.distance = EffNetDistance()

    def losses(self, images: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Velocity error, perceptual distance of the one-step estimate, and divergence."""
        posterior = self.encoder(images)
        z = posterior.sample(noise=torch.randn(posterior.mean.shape, generator=generator))
        noise = torch.randn(images.shape, generator=generator)
        t = logit_normal_times(len(images), generator, self.recipe.time_mean, self.recipe.time_std)
        x_t = interpolate(images, noise, t)
        predicted = self.decoder(x_t, t, z).float()
        estimate = estimate_image(x_t, predicted, t)
        return {
            "flow": (predicted - velocity(images, noise)).square().mean(),
            "perceptual": self.recipe.perceptual_weight * self.distance(estimate, images),
            "kl": self.recipe.kl_weight * posterior.kl().mean(),
        }
