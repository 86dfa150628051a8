"""Denoising diffusion (DDPM, arXiv 2006.11239) over timesteps 0, the cleanest, to 999."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

TIMESTEPS = 1000
SIGNAL = np.cumprod(
    1 - np.linspace(1e-4, 0.02, TIMESTEPS)
)  # share of the data's variance that is left at each timestep


def add_noise(data: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """Mix data (B, ...) with noise of the same shape at integer timesteps (B,)."""
    signal = torch.from_numpy(SIGNAL).to(data.device)[timesteps].to(data.dtype)
    signal = signal.view(-1, *[1] * (data.ndim - 1))
    return signal.sqrt() * data + (1 - signal).sqrt() * noise


def spaced_timesteps(steps: int) -> list[int]:
    """List the timesteps to visit, noisiest first: evenly spaced, both ends included."""
    if not 1 <= steps <= TIMESTEPS:
        raise ValueError(f"steps is {steps}, expected 1 to {TIMESTEPS}")
    return [round(timestep) for timestep in np.linspace(TIMESTEPS - 1, 0, steps)]


def ancestral(
    predict: Callable[[Tensor, int], Tensor],
    x: Tensor,
    sample_noise: Callable[[], Tensor],
    steps: int,
) -> Tensor:
    """Denoise step by step, adding fresh noise after every step but the last.

    Args:
        predict: maps (x, timestep) to the noise in ``x``, (B, C, ...); or to twice as many
            channels, of which the second half places each variance between its two bounds, -1 for
            the smaller and 1 for the larger, on a logarithmic scale (arXiv 2102.09672).
        x: standard normal (B, C, ...).
        sample_noise: returns standard normal numbers of the shape of ``x``.
        steps: timesteps visited.
    """
    timesteps = spaced_timesteps(steps)
    signals = [*SIGNAL[timesteps].tolist(), 1.0]
    for i, timestep in enumerate(timesteps):
        signal, cleaner = signals[i], signals[i + 1]
        beta = 1 - signal / cleaner  # of the jump between two visited timesteps
        predicted = predict(x, timestep)
        noise, place = predicted[:, : x.shape[1]], predicted[:, x.shape[1] :]
        data = (x - math.sqrt(1 - signal) * noise) / math.sqrt(signal)
        of_data = math.sqrt(cleaner) * beta / (1 - signal)
        x = of_data * data + math.sqrt(1 - beta) * (1 - cleaner) / (1 - signal) * x
        if i + 1 == len(timesteps):
            break
        smallest = float(np.log(beta * (1 - cleaner) / (1 - signal)))
        std: Tensor | float = float(np.exp(smallest / 2))
        if place.shape[1]:
            share = (place + 1) / 2
            std = ((share * float(np.log(beta)) + (1 - share) * smallest) / 2).exp()
        x = x + std * sample_noise()
    return x
