"""Optimisers: schedule-free RAdam for tokenizers, AdamW with warm-up for DiTs."""

from __future__ import annotations

import schedulefree
import torch
from torch import Tensor, nn

from ssdd_bench.train.recipe import AdamWRecipe, OptimiserRecipe, ScheduleFreeRecipe

NORMS = (nn.GroupNorm, nn.LayerNorm, nn.BatchNorm2d)


class ScheduleFree(schedulefree.RAdamScheduleFree):  # type: ignore[misc]
    """RAdamScheduleFree that changes between its two sets of weights in a few kernels."""

    def eval(self) -> None:
        """Put the averaged weights into the parameters."""
        self._swap(False)

    def train(self) -> None:
        """Put the weights of the next gradient into the parameters."""
        self._swap(True)

    @torch.no_grad()
    def _swap(self, train_mode: bool) -> None:
        for group in self.param_groups:
            if group["train_mode"] is train_mode:
                continue
            beta = group["betas"][0]
            moved = [p for p in group["params"] if "z" in self.state[p]]
            if moved:
                ends = [self.state[p]["z"] for p in moved]
                torch._foreach_lerp_(moved, ends, 1 - beta if train_mode else 1 - 1 / beta)
            group["train_mode"] = train_mode


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
