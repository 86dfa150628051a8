"""KL-VAE, the baseline: L1, perceptual distance, KL and a PatchGAN with an adaptive weight.

The adversarial loss is that of latent diffusion (Rombach et al. 2022): hinge loss, a discriminator
that takes part after a number of iterations, and an adversarial gradient at the decoder's last
layer that is scaled to that of the reconstruction. The network is diffusers' ``AutoencoderKL``.

L1 and perceptual distance are means over the values of an image, as SSDD's losses are, where latent
diffusion has sums: a KL weight of 1e-6 there is one of 1e-6 / (3 * H * W) here, 5.1e-12 at 256 px.

The discriminator's batch norms and the adaptive weight are those of one shard, not of the whole
batch: with the adversarial term, other numbers of processes and other values of ``accumulate``
train other weights. Without it they differ by rounding only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from diffusers import AutoencoderKL
from torch import Tensor, nn

from ssdd_bench.api import Tokenizer
from ssdd_bench.errors import OptionError, reason_of
from ssdd_bench.nn.encoder import DiagonalGaussian
from ssdd_bench.plugins.adapters.diffusers import from_diffusers
from ssdd_bench.train.batches import Shard
from ssdd_bench.train.losses.gan import PatchDiscriminator, adaptive_weight
from ssdd_bench.train.losses.perceptual import DISTANCES
from ssdd_bench.train.recipe import Recipe
from ssdd_bench.train.stages.base import Terms, TokenizerStage
from ssdd_bench.weights.models import build_model


def make_autoencoder(recipe: Recipe) -> Any:
    """Build diffusers' autoencoder; ``OptionError`` if its arguments are wrong."""
    try:
        return AutoencoderKL(**recipe.model.klvae)
    except Exception as error:  # any type, by the argument
        raise OptionError(
            f"[model.klvae] of the recipe builds no AutoencoderKL: {reason_of(error)}: correct it"
        ) from error


class KLVAEStage(TokenizerStage):
    """Encoder and decoder together, from scratch."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__("klvae", recipe)
        self.gan = recipe.klvae
        self.vae = make_autoencoder(recipe)
        self.config = dict(recipe.model.klvae)
        self.networks = nn.ModuleDict({"vae": cast("nn.Module", self.vae)})
        self.distance = DISTANCES[recipe.loss.perceptual]()

    def make_discriminator(self) -> tuple[nn.Module, int] | None:
        """Build a PatchGAN, unless its weight is 0."""
        if not self.gan.gan_weight:
            return None
        return PatchDiscriminator(self.gan.discriminator_width), self.gan.gan_start

    def called(self) -> list[nn.Module]:
        """List the encoder, the blocks of the decoder and the distance.

        The decoder is not compiled as a whole: the adaptive weight needs the gradient at its last
        layer, and a compiled decoder computes all of its gradients for one of them.
        """
        decoder = self.vae.decoder
        return [self.vae.encoder, decoder.mid_block, *decoder.up_blocks, self.distance]

    def forward(
        self, images: Tensor, shard: Shard, discriminator: nn.Module | None, /
    ) -> tuple[Terms, Mapping[str, Tensor]]:
        """Compute the loss of the reconstruction from a sampled latent."""
        loss = self.recipe.loss
        found = self.vae.encode(images).latent_dist
        posterior = DiagonalGaussian(found.mean.float(), found.logvar.float())
        z = posterior.sample(noise=self.random(shard, images.device).normal(posterior.mean))
        output = self.vae.decode(z).sample.float()
        terms = {
            "l1": (output - images).abs().mean(),
            "perceptual": loss.perceptual_weight * self.distance(output, images),
            "kl": self.gan.kl_weight * posterior.kl().mean(),
        }
        if discriminator is not None:
            assert isinstance(discriminator, PatchDiscriminator)
            adversarial = discriminator.generator_loss(output)
            last = self.vae.decoder.conv_out.weight
            weight = adaptive_weight(terms["l1"] + terms["perceptual"], adversarial, last)
            terms["gan"] = self.gan.gan_weight * weight * adversarial
        return terms, {"real": images, "fake": output.detach()}

    def exported(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Name the tensors as diffusers does."""
        return {name.removeprefix("vae."): value for name, value in weights.items()}

    def tokenizer(self, weights: Path) -> Tokenizer:
        """Load the file through the adapter of diffusers' autoencoders."""
        config = {**self.config, "_class_name": AutoencoderKL.__name__}
        return from_diffusers(build_model(config, [weights]), weights=[weights])
