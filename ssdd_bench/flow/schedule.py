"""Where in time to train and where to evaluate: t = 1 is noise, t = 0 the image."""

from __future__ import annotations

import torch
from torch import Tensor


def power_grid(steps: int, power: float = 2.0) -> list[float]:
    """Times 1 = t_0 > ... > t_steps = 0 with ``t_k = (1 - k / steps) ** power``.

    Powers over 1 spend more steps near the image. Raises ``ValueError`` for no steps.
    """
    if steps < 1:
        raise ValueError(f"a solver needs at least one step, not {steps}")
    return [(1 - k / steps) ** power for k in range(steps + 1)]


def logit_normal_times(n: int, generator: torch.Generator | None = None) -> Tensor:
    """Training times (n,): the sigmoid of standard normals, so mostly from the middle."""
    return torch.sigmoid(torch.randn(n, generator=generator))
