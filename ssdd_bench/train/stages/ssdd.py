"""Stages of SSDD: a multi-step diffusion decoder by flow matching, distilled into one step.

Stage 0 trains the encoder with a decoder, stage 1 a decoder for the frozen encoder, stage 2 that
decoder at the resolution of use, stage 3 a decoder of one step. The loss is the same, plus the KL
term where the encoder learns.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ssdd_bench.flow.path import interpolate, predict_x0, velocity
from ssdd_bench.flow.schedule import power_schedule
from ssdd_bench.flow.solver import euler
from ssdd_bench.nn.decoder import SSDDDecoder
from ssdd_bench.nn.encoder import SSDDEncoder
from ssdd_bench.ssdd.checkpoints import load_ssdd
from ssdd_bench.ssdd.tokenizer import SSDDTokenizer
from ssdd_bench.train.batches import Shard
from ssdd_bench.train.losses.perceptual import DISTANCES
from ssdd_bench.train.losses.repa import REPA, TARGETS
from ssdd_bench.train.recipe import FlowRecipe, Recipe
from ssdd_bench.train.stages.base import Terms, TokenizerStage


class DecoderLoss(nn.Module):
    """Loss of every SSDD stage: velocity error, perceptual distance, alignment.

    The tokens that are aligned are those of one block of ``decoder``, the network that learns;
    ``auxiliary`` holds REPA's head, which learns with it.

    Args:
        recipe: of the training.
        decoder: the network that learns.
        resolution: of the images, in pixels.
    """

    def __init__(self, recipe: Recipe, decoder: SSDDDecoder, resolution: int) -> None:
        super().__init__()
        self.weights = recipe.loss
        if self.weights.perceptual_weight:
            self.distance = DISTANCES[self.weights.perceptual]()
        self.auxiliary = nn.ModuleDict()
        self._tokens: list[Tensor] = []
        if self.weights.repa_weight:
            self.target = TARGETS[self.weights.repa](resolution)
            blocks = decoder.mid_block.transformer_blocks
            aligned = blocks[min(4, len(blocks) // 2)]  # the fifth, or the one half way
            aligned.register_forward_hook(self._keep_tokens)
            self.auxiliary["repa"] = REPA(decoder.size.widths[-1], self.target.channels)

    def called(self) -> list[nn.Module]:
        """List the networks of the loss."""
        frozen = [getattr(self, name) for name in ("distance", "target") if hasattr(self, name)]
        return [*frozen, *self.auxiliary.values()]

    def _keep_tokens(self, block: nn.Module, inputs: object, tokens: Tensor) -> None:
        self._tokens = [tokens]

    def forward(
        self,
        predicted: Tensor,
        x_t: Tensor,
        t: Tensor,
        noise: Tensor,
        target: Tensor,
        images: Tensor,
    ) -> Terms:
        """Compute the terms of one evaluation of the decoder.

        ``predicted`` is its velocity, float32 (B, 3, H, W), for the input ``x_t`` at times ``t``
        (B,). The path leads from ``target``, the real images or the teacher's, to ``noise``.
        """
        x0 = predict_x0(x_t, predicted, t)
        terms = {"flow": (predicted - velocity(target, noise)).square().mean()}
        if self.weights.perceptual_weight:
            terms["perceptual"] = self.weights.perceptual_weight * self.distance(x0, target)
        if self.weights.repa_weight:
            aligned = self.auxiliary["repa"](self._tokens.pop(), self.target(images))
            terms["repa"] = self.weights.repa_weight * aligned
        return terms


class SSDDStage(TokenizerStage):
    """Base of stages 0 to 3, which train without a discriminator."""

    encoder: SSDDEncoder

    def exported(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Add the encoder, which is not among ``weights`` where it is frozen."""
        encoder = {f"encoder.{name}": value for name, value in self.encoder.state_dict().items()}
        return encoder | dict(weights)

    def tokenizer(self, weights: Path) -> SSDDTokenizer:
        """Load the file with the stage's number of steps."""
        return SSDDTokenizer(weights, self.steps or 1)


class FlowMatchingStage(SSDDStage):
    """Stage 0 (``encoder``), 1 (``pretrain``) or 2 (``finetune``).

    The latent is sampled while training, also from a frozen encoder.
    """

    def __init__(self, name: str, recipe: Recipe, start: Path | None = None) -> None:
        super().__init__(name, recipe)
        model = recipe.model
        schedule = recipe.stage(name)
        assert isinstance(schedule, FlowRecipe)
        self.flow = schedule
        self.steps = recipe.evaluation.steps
        self.is_final = name == "finetune"
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
        self.loss = DecoderLoss(recipe, self.decoder, schedule.resolution)
        self.auxiliary = self.loss.auxiliary

    def called(self) -> list[nn.Module]:
        """List encoder and decoder, also where the encoder is frozen, and networks of the loss."""
        return [self.encoder, self.decoder, *self.loss.called()]

    def forward(
        self, images: Tensor, shard: Shard, discriminator: nn.Module | None, /
    ) -> tuple[Terms, Mapping[str, Tensor]]:
        """Compute the loss at one random time per image, with the KL where the encoder learns."""
        random = self.random(shard, images.device)
        with torch.set_grad_enabled(self.learns_encoder and torch.is_grad_enabled()):
            posterior = self.encoder(images)
            z = posterior.sample(noise=random.normal(posterior.mean))
        noise = random.normal(images)
        t = random.times(self.flow.time_mean, self.flow.time_std)
        x_t = interpolate(images, noise, t)
        predicted = self.decoder(x_t, t, z).float()
        terms = self.loss(predicted, x_t, t, noise, images, images)
        if self.learns_encoder:
            terms["kl"] = self.recipe.encoder.kl_weight * posterior.kl().mean()
        return terms, {}


class DistillationStage(SSDDStage):
    """Student that jumps from noise to the image that its teacher reaches in many steps.

    Both start from the weights of stage 2. The latent is the posterior's mean, since the teacher
    is in evaluation mode; the alignment is with the real image.
    """

    steps = 1

    def __init__(self, recipe: Recipe, start: Path) -> None:
        super().__init__("distil", recipe)
        self.encoder, self.teacher = load_ssdd(start)
        self.student = copy.deepcopy(self.teacher)
        self.encoder.requires_grad_(False)
        self.teacher.requires_grad_(False)
        self.networks = nn.ModuleDict({"decoder": self.student})
        self.loss = DecoderLoss(recipe, self.student, recipe.distil.resolution)
        self.auxiliary = self.loss.auxiliary
        self.times = power_schedule(recipe.distil.teacher_steps, recipe.distil.teacher_power)

    def called(self) -> list[nn.Module]:
        """List encoder, teacher and student, and networks of the loss."""
        return [self.encoder, self.teacher, self.student, *self.loss.called()]

    def forward(
        self, images: Tensor, shard: Shard, discriminator: nn.Module | None, /
    ) -> tuple[Terms, Mapping[str, Tensor]]:
        """Compute the loss of one step against the teacher's image from the same noise."""
        noise = self.random(shard, images.device).normal(images)
        with torch.no_grad():
            z = self.encoder(images).mode()
            target = euler(lambda x, t: self.teacher(x, t, z).float(), noise, self.times)
        t = torch.ones(len(images), device=images.device)
        predicted = self.student(noise, t, z).float()
        return self.loss(predicted, noise, t, noise, target, images), {}
