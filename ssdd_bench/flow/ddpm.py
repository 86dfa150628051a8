"""Denoising diffusion with a fixed chain of noise levels (arXiv 2006.11239), as DiT uses it.

1,000 levels with linear betas; a sampler may visit fewer of them, evenly spaced (arXiv
2102.09672). Level 0 is the cleanest.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEVELS = 1000
BETAS = np.linspace(1e-4, 0.02, LEVELS)
SIGNAL = np.cumprod(1 - BETAS)  # share of the data's variance that is left at each level


def add_noise(data: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
    """Noisy data (B, ...) at whole-numbered levels (B,)."""
    signal = torch.from_numpy(SIGNAL).to(data.device)[levels].to(data.dtype)
    signal = signal.view(-1, *[1] * (data.ndim - 1))
    return signal.sqrt() * data + (1 - signal).sqrt() * noise


def spaced_levels(steps: int) -> list[int]:
    """Levels to visit, from the noisiest: evenly spaced, both ends included.

    Raises:
        ValueError: fewer than one step or more than there are levels.
    """
    if not 1 <= steps <= LEVELS:
        raise ValueError(f"a chain of {LEVELS} levels takes 1 to {LEVELS} steps, not {steps}")
    if steps == 1:
        return [LEVELS - 1]
    return [round(level) for level in np.linspace(LEVELS - 1, 0, steps)]


def ancestral(
    predict: Callable[[Tensor, int], Tensor],
    x: Tensor,
    draw: Callable[[], Tensor],
    steps: int,
) -> Tensor:
    """Walk from noise to data, drawing fresh noise after every step but the last.

    Args:
        predict: maps (x, level) to the noise in ``x``, (B, C, ...); or to twice as many channels,
            of which the second half places each variance between its two bounds, -1 for the
            smaller and 1 for the larger, on a logarithmic scale.
        x: standard normal (B, C, ...).
        draw: gives standard normal numbers of the shape of ``x``.
        steps: levels visited.
    """
    levels = spaced_levels(steps)
    signals: NDArray[np.float64] = np.append(SIGNAL[levels], 1.0)
    for i, level in enumerate(levels):
        signal, cleaner = signals[i], signals[i + 1]
        beta = 1 - signal / cleaner  # of the jump between the levels visited
        predicted = predict(x, level)
        noise, place = predicted[:, : x.shape[1]], predicted[:, x.shape[1] :]
        data = (x - float(np.sqrt(1 - signal)) * noise) / float(np.sqrt(signal))
        of_data = float(np.sqrt(cleaner) * beta / (1 - signal))
        of_x = float(np.sqrt(1 - beta) * (1 - cleaner) / (1 - signal))
        x = of_data * data + of_x * x
        if i + 1 == len(levels):
            break
        smallest = float(np.log(beta * (1 - cleaner) / (1 - signal)))
        variance: Tensor | float = float(np.exp(smallest / 2))
        if place.shape[1]:
            share = (place + 1) / 2
            variance = ((share * float(np.log(beta)) + (1 - share) * smallest) / 2).exp()
        x = x + variance * draw()
    return x
