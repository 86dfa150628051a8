"""Timesteps to train and to evaluate at: t = 1 is noise, t = 0 the image."""

from __future__ import annotations

import torch
from torch import Tensor


def power_schedule(steps: int, power: float = 2.0) -> list[float]:
    """Compute the timesteps 1 = t_0 > ... > t_steps = 0, ``t_k = (1 - k / steps) ** power``.

    Args:
        steps: intervals of the solver, at least 1.
        power: values over 1 spend more steps near the image.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}, expected 1 or more")
    return [(1 - k / steps) ** power for k in range(steps + 1)]


def logit_normal_times(
    n: int, generator: torch.Generator, mean: float = 0.0, std: float = 1.0
) -> Tensor:
    """Sample training times (n,): the sigmoid of normals, standard ones in arXiv 2403.03206.

    A mean over 0 trains more near the noise, where a solver of few steps makes its largest errors.
    The times are on the generator's device.
    """
    normals = torch.randn(n, generator=generator, device=generator.device)
    return torch.sigmoid(mean + std * normals)
