"""Optimisers: schedule-free RAdam for tokenizers, AdamW with warm-up for DiTs."""

from __future__ import annotations

import schedulefree
import torch
from torch import Tensor, nn

from ssdd_bench.train.recipe import AdamWRecipe, OptimiserRecipe, ScheduleFreeRecipe

NORMS = (nn.GroupNorm, nn.LayerNorm, nn.BatchNorm2d)


class ScheduleFree(schedulefree.RAdamScheduleFree):  # type: ignore[misc]
    """RAdamScheduleFree that computes its averages while the parameters stay as they are."""

    @torch.no_grad()
    def averages(self) -> dict[int, Tensor]:
        """Compute the averaged weights in training mode, by the ``id`` of their parameters.

        Parameters that no step has moved are left out. To put the averages into the parameters and
        to take them out again, as ``eval`` and ``train`` do, would round the parameters.
        """
        found: dict[int, Tensor] = {}
        for group in self.param_groups:
            moved = [p for p in group["params"] if "z" in self.state[p]]
            if moved:
                ends = [self.state[p]["z"] for p in moved]
                averages = torch._foreach_lerp(moved, ends, 1 - 1 / group["betas"][0])
                found |= dict(zip(map(id, moved), averages, strict=True))
        return found


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
    return ScheduleFree(groups, lr=lr, betas=(0.9, recipe.beta2), eps=1e-8)
