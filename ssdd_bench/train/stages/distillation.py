"""Stage 3 of SSDD: distil the many steps of the diffusion decoder into one."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ssdd_bench.flow.schedule import power_schedule
from ssdd_bench.flow.solver import euler
from ssdd_bench.ssdd.checkpoints import load_ssdd
from ssdd_bench.train.batches import Shard
from ssdd_bench.train.recipe import Recipe
from ssdd_bench.train.stages.base import Terms, normal
from ssdd_bench.train.stages.flow_matching import DecoderLoss, SSDDStage


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
        self.loss = DecoderLoss(recipe, self.student)
        self.auxiliary = self.loss.head(self.student)
        self.times = power_schedule(recipe.distil.teacher_steps, recipe.distil.teacher_power)

    def train(self, mode: bool = True) -> DistillationStage:
        """Leave the teacher and the encoder in evaluation mode."""
        super().train(mode)
        self.encoder.eval()
        self.teacher.eval()
        return self

    def forward(
        self, images: Tensor, shard: Shard, discriminator: nn.Module | None, /
    ) -> tuple[Terms, Mapping[str, Tensor]]:
        """Compute the loss of one step against the teacher's image from the same noise."""
        noise = normal(images, self.generator(shard))
        with torch.no_grad():
            z = self.encoder(images).mode()
            target = euler(lambda x, t: self.teacher(x, t, z).float(), noise, self.times)
        t = torch.ones(len(images), device=images.device)
        predicted = self.student(noise, t, z).float()
        return self.loss(predicted, noise, t, noise, target, images, self.auxiliary, discriminator)
