"""How far a statistic would move on other images of the same kind. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def bootstrap(
    values: Array, statistic: Callable[[Array], float] = np.mean, draws: int = 2000
) -> tuple[float, float]:
    """95% percentile interval of a statistic of (n,) values, by seeded draws with replacement.

    The same values in the same order have the same interval.
    """
    rng = np.random.default_rng(0)
    n = len(values)
    drawn = [statistic(values[rng.integers(0, n, n)]) for _ in range(draws)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)
