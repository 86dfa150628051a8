"""Bootstrap and jackknife intervals. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLINGS = 1000
BOOTSTRAP = f"95%, percentile bootstrap over images, {RESAMPLINGS} draws"
GROUPS = 20
JACKKNIFE = f"95%, delete-a-group jackknife, {GROUPS} groups"
NORMAL_95 = 1.959963984540054


def bootstrap(
    values: Array, statistic: Callable[[Array], float] = np.mean, resamplings: int = 2000
) -> tuple[float, float]:
    """Return the 95% percentile interval of a statistic of values (n,), by seeded resampling.

    The same values in the same order have the same interval.
    """
    rng = np.random.default_rng(0)
    n = len(values)
    found = [statistic(values[rng.integers(0, n, n)]) for _ in range(resamplings)]
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


def jackknife_interval(
    without: Callable[[NDArray[np.int64]], float], order: NDArray[np.int64], value: float
) -> tuple[float, float]:
    """Return the 95% interval of a distance from twenty, each without a twentieth of the images.

    The bootstrap is biased here: an image that is resampled twice makes the covariance smaller.
    All groups have one size, because the bias, which falls with the number of images, would
    otherwise look like spread; images that do not fill a group are never left out.

    Args:
        without: distance without the images of these row numbers.
        order: row numbers (n,) of at least twenty images, in random order.
        value: distance of all images.
    """
    n = len(order)
    size = n // GROUPS
    found = [without(rows) for rows in order[: GROUPS * size].reshape(GROUPS, size)]
    variance = (n - size) / size * np.var(found)  # Shao and Wu 1989
    half = NORMAL_95 * float(np.sqrt(variance))
    return max(0.0, value - half), value + half
