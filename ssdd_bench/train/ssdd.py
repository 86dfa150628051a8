"""Distil the diffusion decoder into one step: the paper's last stage."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from ssdd_bench.flow.path import velocity
from ssdd_bench.flow.schedule import power_grid
from ssdd_bench.flow.solver import euler
from ssdd_bench.nn.checkpoint import load_ssdd
from ssdd_bench.train.perceptual import EffNetDistance
from ssdd_bench.train.recipe import DistillationRecipe
from ssdd_bench.train.stage import Stage


class DistillationStage(Stage):
    """A student that jumps from noise to where its teacher arrives in many steps.

    Both start from the weights in ``teacher``; the encoder stays as it is.
    """

    name = "ssdd"

    def __init__(self, recipe: DistillationRecipe, teacher: Path) -> None:
        self.recipe = recipe
        self.iterations = recipe.iterations
        self.lr = recipe.lr
        self.encoder, self.teacher = load_ssdd(teacher)
        self.student = copy.deepcopy(self.teacher)
        self.encoder.requires_grad_(False).eval()
        self.teacher.requires_grad_(False).eval()
        self.networks = nn.ModuleDict({"decoder": self.student})
        self.distance = EffNetDistance()

    def losses(self, images: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Velocity and perceptual error of one step against the teacher's image."""
        noise = torch.randn(images.shape, generator=generator)
        with torch.no_grad():
            z = self.encoder(images).mode()
            target = euler(
                lambda x, t: self.teacher(x, t, z).float(),
                noise,
                power_grid(self.recipe.teacher_steps),
            )
        predicted = self.student(noise, torch.ones(len(images)), z).float()
        return {
            "flow": (predicted - velocity(target, noise)).square().mean(),
            "perceptual": self.recipe.perceptual_weight * self.distance(noise + predicted, target),
        }

    def exported(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The student beside the encoder that it was trained for."""
        encoder = {f"encoder.{name}": value for name, value in self.encoder.state_dict().items()}
        return encoder | weights
