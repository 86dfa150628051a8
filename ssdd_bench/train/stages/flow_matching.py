"""Stages 0 to 2 of SSDD: a multi-step diffusion decoder, trained by flow matching.

Stage 0 trains the encoder with a decoder, stage 1 a decoder for the frozen encoder, stage 2 that
decoder at the resolution of use. The loss is the same but for the encoder's divergence.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ssdd_bench.flow.path import interpolate, predict_x0, velocity
from ssdd_bench.flow.schedule import logit_normal_times
from ssdd_bench.nn.decoder import SSDDDecoder
from ssdd_bench.nn.encoder import SSDDEncoder
from ssdd_bench.ssdd.checkpoints import load_ssdd
from ssdd_bench.train.losses.gan import TimedDiscriminator, frozen
from ssdd_bench.train.losses.perceptual import DISTANCES
from ssdd_bench.train.losses.repa import REPA, TARGETS, aligned_block
from ssdd_bench.train.recipe import FlowRecipe, Recipe
from ssdd_bench.train.stages.base import Stage, normal


class DecoderLoss(nn.Module):
    """What every SSDD stage minimises: velocity error, perceptual distance, alignment, GAN.

    Args:
        recipe: weights of the terms, and which networks judge.
        decoder: the one that learns; the tokens of one of its blocks are watched.
    """

    def __init__(self, recipe: Recipe, decoder: SSDDDecoder) -> None:
        super().__init__()
        self.weights = recipe.loss
        if self.weights.perceptual_weight:
            self.distance = DISTANCES[self.weights.perceptual]()
        self._tokens: list[Tensor] = []
        if self.weights.repa_weight:
            self.target = TARGETS[self.weights.repa]()
            blocks = decoder.mid_block.transformer_blocks
            blocks[aligned_block(len(blocks))].register_forward_hook(self._keep_tokens)

    def _keep_tokens(self, block: nn.Module, inputs: object, tokens: Tensor) -> None:
        self._tokens = [tokens]

    def head(self, decoder: SSDDDecoder) -> nn.ModuleDict:
        """The REPA head that belongs to this loss, empty without that term."""
        if not self.weights.repa_weight:
            return nn.ModuleDict()
        return nn.ModuleDict({"repa": REPA(decoder.size.widths[-1], self.target)})

    def forward(
        self,
        predicted: Tensor,
        x_t: Tensor,
        t: Tensor,
        noise: Tensor,
        target: Tensor,
        images: Tensor,
        helper: nn.ModuleDict,
        critic: nn.Module | None,
    ) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
        """Terms of one evaluation of the decoder.

        Args:
            predicted: its velocity at ``x_t``, float32 (B, 3, H, W).
            x_t: its input.
            t: times (B,).
            noise: at the end of the path.
            target: image at the start of the path: a teacher's, or the real one.
            images: the real ones.
            helper: from :meth:`head`.
            critic: the discriminator once it takes part.
        """
        estimate = predict_x0(x_t, predicted, t)
        terms = {"flow": (predicted - velocity(target, noise)).square().mean()}
        if self.weights.perceptual_weight:
            terms["perceptual"] = self.weights.perceptual_weight * self.distance(estimate, target)
        if self.weights.repa_weight:
            aligned = helper["repa"](self._tokens.pop(), self.target(images))
            terms["repa"] = self.weights.repa_weight * aligned
        if critic is not None:
            assert isinstance(critic, TimedDiscriminator)
            with frozen(critic):
                terms["gan"] = self.weights.gan_weight * critic.fool(estimate, x_t, t)
        return terms, {"real": target, "fake": estimate.detach(), "x_t": x_t, "t": t}


class SSDDStage(Stage):
    """What stages 0 to 3 share: an optional discriminator and the file they export."""

    exports = "ssdd"

    def critic(self) -> nn.Module | None:
        """Off in the paper's main result."""
        return TimedDiscriminator() if self.recipe.loss.gan_weight else None

    def discriminator_starts(self) -> int | None:
        """As the recipe says."""
        return self.recipe.loss.gan_start if self.recipe.loss.gan_weight else None


class FlowMatchingStage(SSDDStage):
    """Stage 0 (``encoder``), 1 (``pretrain``) or 2 (``finetune``).

    While training the latent is a sample, with a frozen encoder too.

    Args:
        name: of the stage.
        recipe: every number.
        start: weights of the stage before; None for stage 0.
    """

    def __init__(self, name: str, recipe: Recipe, start: Path | None = None) -> None:
        super().__init__(name, recipe)
        model = recipe.model
        schedule = recipe.stage(name)
        assert isinstance(schedule, FlowRecipe)
        self.flow = schedule
        self.learns_encoder = start is None
        if start is None:
            self.encoder = SSDDEncoder(model.f, model.z_dim, model.encoder_base)
            self.decoder = SSDDDecoder(model.encoder_stage_size, model.z_dim)
            self.networks = nn.ModuleDict({"encoder": self.encoder, "decoder": self.decoder})
        else:
            self.encoder, decoder = load_ssdd(start)
            self.encoder.requires_grad_(False)
            new = name == "pretrain" and recipe.pretrain.new_decoder
            self.decoder = SSDDDecoder(model.size, model.z_dim) if new else decoder
            self.networks = nn.ModuleDict({"decoder": self.decoder})
        self.loss = DecoderLoss(recipe, self.decoder)
        self.helper = self.loss.head(self.decoder)

    def forward(
        self, images: Tensor, generator: torch.Generator, critic: nn.Module | None
    ) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
        """Terms at one random time per image, and the divergence where the encoder learns."""
        loss = self.recipe.loss
        with torch.set_grad_enabled(self.learns_encoder and torch.is_grad_enabled()):
            posterior = self.encoder(images)
            z = posterior.sample(noise=normal(posterior.mean, generator))
        noise = normal(images, generator)
        t = logit_normal_times(len(images), generator, self.flow.time_mean, self.flow.time_std)
        t = t.to(images.device)
        x_t = interpolate(images, noise, t)
        predicted = self.decoder(x_t, t, z).float()
        terms, shown = self.loss(predicted, x_t, t, noise, images, images, self.helper, critic)
        if self.learns_encoder:
            terms["kl"] = loss.kl_weight * posterior.kl().mean()
        return terms, shown

    def exported(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Encoder and decoder; a frozen encoder is not among ``weights``."""
        return with_encoder(self.encoder, weights)

    def steps(self) -> int:
        """As the recipe says."""
        return self.recipe.evaluation.steps


def with_encoder(encoder: SSDDEncoder, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A whole checkpoint from a frozen encoder and the tensors that were trained beside it."""
    frozen = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    return frozen | dict(weights)
