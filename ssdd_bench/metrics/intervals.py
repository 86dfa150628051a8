"""How far a score would move on other images, and what a distance would be on endless ones."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ssdd_bench.metrics.bootstrap import bootstrap
from ssdd_bench.metrics.features.base import FeatureFile, FeaturePairs
from ssdd_bench.metrics.frechet import Moments, frechet_distance

Array = NDArray[np.float64]

DRAWS = 1000
BOOTSTRAP = f"95%, percentile bootstrap over images, {DRAWS} draws"
GROUPS = 20
JACKKNIFE = f"95%, delete-a-group jackknife, {GROUPS} groups"
NORMAL_95 = 1.959963984540054
SIZES = 10  # of subsets, for the line to infinitely many images


def bootstrap_interval(
    values: Array, of_mean: Callable[[float], float] = float
) -> tuple[float, float]:
    """95% interval of the mean of per-image scores, by :func:`bootstrap`.

    Args:
        values: (n,), at least two.
        of_mean: monotone function of the mean that the score is, such as decibels.
    """
    low, high = sorted(map(of_mean, bootstrap(values, draws=DRAWS)))
    return low, high


def jackknife_interval(features: FeaturePairs, value: float) -> tuple[float, float]:
    """95% interval of a Fréchet distance: twenty distances, each without a twentieth of the images.

    The bootstrap does not serve here: an image drawn twice makes the covariance smaller, and the
    distance is biased before it is resampled. Groups follow from hashes of the ids and have one
    size, or the bias, which falls with the number of images, would pass for spread; images that
    are left over are never left out.

    Args:
        features: of at least twenty images.
        value: the distance of all of them.
    """
    order, n = features.order(), features.reference.n
    size = n // GROUPS
    left_out = order[: GROUPS * size].reshape(GROUPS, size)
    sides = (features.reference, features.reconstruction)
    found = [
        frechet_distance(*(_moments_without(side, rows) for side in sides)) for rows in left_out
    ]
    variance = (n - size) / size * np.var(found)  # Shao and Wu 1989
    half = NORMAL_95 * float(np.sqrt(variance))
    return max(0.0, value - half), value + half


def _moments_without(file: FeatureFile, rows: NDArray[np.int64]) -> Moments:
    """Moments of all rows but some: those of all less theirs, unless there are few rows."""
    if file.n <= 2 * file.dims:  # exact with the vectors themselves, and cheap
        moments = Moments(file.dims)
        moments.update(np.delete(file.rows(), rows, axis=0))
        return moments
    every, some = file.moments(), Moments(file.dims)
    some.update(file.rows()[np.sort(rows)])
    return every.without(some)


def frechet_at_infinity(features: FeaturePairs) -> float | None:
    """Fréchet distance extrapolated to endless images: a line in 1 / n through subsets.

    Chong and Forsyth 2020. An image and its reconstruction are always in a subset together. None
    where the smallest subset, a tenth of the images, does not have more than the features.
    """
    n, dims = features.reference.n, features.reference.dims
    smallest = max(n // 10, dims + 1)
    if smallest > n // 2:
        return None
    order = features.order()
    sizes = np.linspace(smallest, n, SIZES).astype(int)
    sides = (features.reference.rows(), features.reconstruction.rows())
    distances = []
    moments = Moments(dims), Moments(dims)
    for start, stop in pairwise((0, *sizes)):
        for one, rows in zip(moments, sides, strict=True):
            one.update(rows[np.sort(order[start:stop])])
        distances.append(frechet_distance(*moments))
    _, intercept = np.polyfit(1 / sizes, distances, 1)
    return float(intercept)
