"""The exact flow towards data that is N(MEAN, STD^2), for solvers."""

from torch import Tensor

MEAN, STD = 1.5, 0.4


def gaussian_velocity(x: Tensor, t: Tensor) -> Tensor:
    """Compute the exact velocity at ``x`` (B, ...) and times (B,)."""
    t = t.view(-1, *[1] * (x.ndim - 1))
    variance = (1 - t) ** 2 * STD**2 + t**2
    offset = (x - (1 - t) * MEAN) / variance
    return MEAN + (1 - t) * STD**2 * offset - t * offset
