"""Optimisers: schedule-free RAdam for tokenizers, AdamW with warm-up for DiTs."""

from __future__ import annotations

import schedulefree
import torch
from torch import Tensor, nn

from ssdd_bench.train.recipe import AdamWRecipe, OptimiserRecipe, ScheduleFreeRecipe

NORMS = (nn.GroupNorm, nn.LayerNorm, nn.BatchNorm2d)


def make_optimiser(
    networks: nn.Module, recipe: OptimiserRecipe, lr: float
) -> torch.optim.Optimizer:
    """Build the optimiser that a recipe's class stands for; ``lr`` counts after the warm-up."""
    if isinstance(recipe, AdamWRecipe):
        return torch.optim.AdamW(
            networks.parameters(), lr=lr, weight_decay=recipe.weight_decay, fused=True
        )
    assert isinstance(recipe, ScheduleFreeRecipe)
    norms = {id(p) for m in networks.modules() if isinstance(m, NORMS) for p in m.parameters()}
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for name, parameter in networks.named_parameters():
        is_free = name.endswith(("bias", "relative_bias_table"))
        is_free |= id(parameter) in norms and not recipe.decay_norms
        (free if is_free else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    optimiser: torch.optim.Optimizer = schedulefree.RAdamScheduleFree(
        groups, lr=lr, betas=(0.9, recipe.beta2), eps=1e-8
    )
    return optimiser
