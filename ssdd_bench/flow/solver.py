"""Solvers of the flow's ODE, from noise to image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor


def euler(
    velocity: Callable[[Tensor, Tensor], Tensor], x: Tensor, times: Sequence[float]
) -> Tensor:
    """Integrate with one network evaluation per interval and no clipping in between.

    Args:
        velocity: maps (x, t), shapes (B, ...) and (B,), to the velocity towards the image.
        x: noise at ``times[0]``.
        times: decreasing timesteps; the solver stops at the last one.
    """
    for now, then in pairwise(times):
        x = x + (now - then) * velocity(x, x.new_full((len(x),), now))
    return x


def heun(velocity: Callable[[Tensor, Tensor], Tensor], x: Tensor, times: Sequence[float]) -> Tensor:
    """Integrate as :func:`euler`, with the mean of the velocities at an interval's two ends."""
    for now, then in pairwise(times):
        here = velocity(x, x.new_full((len(x),), now))
        ahead = x + (now - then) * here
        there = velocity(ahead, x.new_full((len(x),), then))
        x = x + (now - then) * (here + there) / 2
    return x
