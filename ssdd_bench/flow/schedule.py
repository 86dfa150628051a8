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


def logit_normal_times(
    n: int, generator: torch.Generator | None = None, mean: float = 0.0, std: float = 1.0
) -> Tensor:
    """Training times (n,): the sigmoid of normals, in the paper of standard ones.

    A mean over 0 trains more near the noise, where a solver of few steps makes its largest.
    """
    return torch.sigmoid(mean + std * torch.randn(n, generator=generator))
