"""Train the KL-VAE, the baseline: L1, perceptual, KL and a PatchGAN with an adaptive weight.

The recipe of latent diffusion (Rombach et al. 2022): hinge loss, the discriminator takes part
after a number of iterations, and its pull on the decoder's last layer is scaled to that of the
reconstruction. The network is diffusers' ``AutoencoderKL``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from ssdd_bench.nn.encoder import DiagonalGaussian
from ssdd_bench.train.losses.gan import PatchDiscriminator, adaptive_weight, frozen
from ssdd_bench.train.losses.perceptual import DISTANCES
from ssdd_bench.train.recipe import Recipe
from ssdd_bench.train.stages.base import Stage, normal


class KLVAEStage(Stage):
    """Encoder and decoder together, from scratch."""

    exports = "klvae"

    def __init__(self, recipe: Recipe) -> None:
        super().__init__("klvae", recipe)
        self.gan = recipe.klvae
        self.vae: Any = AutoencoderKL(**recipe.model.klvae)
        self.networks = nn.ModuleDict({"vae": cast("nn.Module", self.vae)})
        self.distance = DISTANCES[recipe.loss.perceptual]()

    def critic(self) -> nn.Module | None:
        """One logit for each patch."""
        return PatchDiscriminator(self.gan.discriminator_width) if self.gan.gan_weight else None

    def discriminator_starts(self) -> int | None:
        """As the recipe says."""
        return self.gan.gan_start if self.gan.gan_weight else None

    def forward(
        self, images: Tensor, generator: torch.Generator, critic: nn.Module | None
    ) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
        """Terms of a sampled latent's reconstruction."""
        loss = self.recipe.loss
        found = self.vae.encode(images).latent_dist
        posterior = DiagonalGaussian(found.mean.float(), found.logvar.float())
        z = posterior.sample(noise=normal(posterior.mean, generator))
        output = self.vae.decode(z).sample.float()
        terms = {
            "l1": (output - images).abs().mean(),
            "perceptual": loss.perceptual_weight * self.distance(output, images),
            "kl": loss.kl_weight * posterior.kl().mean(),
        }
        if critic is not None:
            assert isinstance(critic, PatchDiscriminator)
            with frozen(critic):
                fooling = critic.fool(output)
            last = self.vae.decoder.conv_out.weight
            pull = adaptive_weight(terms["l1"] + terms["perceptual"], fooling, last)
            terms["gan"] = self.gan.gan_weight * pull * fooling
        return terms, {"real": images, "fake": output.detach()}

    def exported(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Keys as diffusers names them."""
        return {name.removeprefix("vae."): value for name, value in weights.items()}

    def config(self) -> dict[str, Any]:
        """Arguments of ``AutoencoderKL``."""
        return dict(self.recipe.model.klvae)
