"""Metrics that are Fréchet distances, and the references that they take in place of images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ssdd_bench.errors import UnavailableError, counted
from ssdd_bench.metrics.base import DistributionMetric, MetricInfo
from ssdd_bench.metrics.intervals import GROUPS, JACKKNIFE, jackknife_interval
from ssdd_bench.metrics.moments import (
    Array,
    Moments,
    PublishedMoments,
    frechet_distance,
    moments_of,
)
from ssdd_bench.results.schema import MetricValue

if TYPE_CHECKING:
    from ssdd_bench.metrics.features.files import FeatureSets, FeatureStore

SIZES = 10  # of subsets, for the line to infinitely many images


@dataclass(frozen=True)
class ReferenceMoments:
    """Moments of a training set in place of its images, as ADM's npz files hold them.

    Attributes:
        name: of the file, for messages.
        arrays: means and covariances by the names that the catalogue's ``moments`` uses.
        has_images: the file also holds images, though not all that the moments come from.
    """

    name: str
    arrays: Mapping[str, Array]
    has_images: bool

    def check(self, info: MetricInfo) -> None:
        """Raise ``UnavailableError`` for a metric that cannot be computed from this reference."""
        if not info.needs_reference:
            return
        if info.network != "inception":
            raise UnavailableError(
                f"{self.name} holds moments of inception features only: give a folder of images "
                "as the reference"
            )
        if missing := [name for name in info.moments if name not in self.arrays]:
            raise UnavailableError(f"{self.name} holds no {missing[0]}")
        if not info.moments and not self.has_images:
            raise UnavailableError(f"{self.name} holds no images (arr_0)")

    def of(self, info: MetricInfo, dims: int) -> Moments | None:
        """Return the moments that a metric compares with; None if it compares with images."""
        if not info.moments:
            return None
        mean, covariance = (self.arrays[name] for name in info.moments)
        if len(mean) != dims:
            raise UnavailableError(
                f"{self.name} has moments of {len(mean)} features, expected {dims}"
            )
        return PublishedMoments(mean, covariance)


class FrechetDistance(DistributionMetric):
    """Squared Fréchet distance of the Gaussians of two sets.

    The reference of reconstructions is always the very crops that were encoded. Moments of a
    training set are for samples: they make a reconstruction score two to three times as large.

    Heusel et al. 2017 on Inception's pooled features; Nash et al. 2021 on the first seven channels
    of its 17 x 17 map (sFID); Stein et al. 2023 on DINOv2 ViT-L/14. The distance of
    EfficientNet-Lite0 features needs no download. It is not FID and not comparable with it.
    """

    interval_needs_rows = True

    def score(self, features: FeatureSets) -> float:
        """Return the distance."""
        return frechet_distance(features.reference_moments(), features.candidate.moments())

    def compute(self, features: FeatureSets, intervals: bool = False) -> MetricValue:
        """Return the distance.

        With ``intervals`` also a jackknife interval, and as ``fd_infinity`` the distance at
        infinitely many images if there are enough to extrapolate it.
        """
        found = super().compute(features)
        if not intervals or (value := found.value) is None:
            return found
        if (limit := frechet_at_infinity(features)) is not None:
            found = replace(found, extra={"fd_infinity": limit})
        if found.n < GROUPS:
            return found

        def without(rows: NDArray[np.int64]) -> float:
            rest = moments_without(features.candidate, rows)
            if features.paired:
                return frechet_distance(moments_without(features.reference, rows), rest)
            return frechet_distance(features.reference_moments(), rest)

        interval = jackknife_interval(without, features.order(), value)
        return replace(found, interval=interval, interval_method=JACKKNIFE)

    def warnings(self, features: FeatureSets) -> Iterator[str]:
        """Warn of too few images."""
        n, dims = min(features.candidate.n, features.reference_n), features.candidate.dims
        same = "the same images" if features.paired else "as many samples and the same reference"
        if n <= dims:
            yield (
                f"{n} images for {dims} features: the covariance is singular and the value mostly "
                f"the number of images'; compare only values of {same}"
            )
        elif n < 2 * dims:
            yield f"biased upwards: {n} images for {dims} features; compare only values of {same}"
        if features.candidate.n < self.info.published_n:
            yield (
                f"not comparable with published values, which take {self.info.published_n:,} images"
            )


class IntraClassDistance(DistributionMetric):
    """Mean over classes of the Fréchet distance between samples and references of one class.

    Unlike distances of whole sets, it sees if a sample belongs to the class that it was asked for.
    """

    needs_rows = True

    def score(self, features: FeatureSets) -> float:
        """Return the mean; every class needs two images on each side."""
        labels, reference_labels = features.labels, features.reference_labels
        if labels is None or reference_labels is None:
            raise UnavailableError(
                "needs labels: arr_1 in the samples' npz, and the same classes as folders in the "
                "reference"
            )
        classes = int(reference_labels.max()) + 1
        if int(labels.max()) >= classes:
            raise UnavailableError(
                f"samples have labels up to {int(labels.max())} and the reference {classes} "
                "classes: give the reference of the same classes"
            )
        samples, references = features.candidate.rows(), features.reference.rows()
        distances = []
        for label in range(classes):
            sides = samples[labels == label], references[reference_labels == label]
            if min(map(len, sides)) < 2:
                raise UnavailableError(f"class {label} has fewer than two images on a side")
            distances.append(frechet_distance(*map(moments_of, sides)))
        return math.fsum(distances) / len(distances)

    def warnings(self, features: FeatureSets) -> Iterator[str]:
        """Name the size of the smallest class."""
        assert features.labels is not None
        least = int(np.bincount(features.labels).min())
        yield f"mean over classes; the smallest has {counted(least, 'sample')}"


def moments_without(store: FeatureStore, rows: NDArray[np.int64]) -> Moments:
    """Return the moments of all rows except some."""
    if store.n <= 2 * store.dims:  # From the vectors themselves it is exact, and cheap.
        return moments_of(np.delete(store.rows(), rows, axis=0))
    return store.moments().without(moments_of(store.rows()[np.sort(rows)]))


def frechet_at_infinity(features: FeatureSets) -> float | None:
    """Extrapolate a distance to infinitely many images, by a line in 1 / n of ten subsets.

    Chong and Forsyth 2020. An image and its reconstruction are always in a subset together;
    samples are compared with the whole reference. None if the smallest subset, a tenth of the
    images, does not have more images than features.
    """
    n, dims = features.candidate.n, features.candidate.dims
    smallest = max(n // 10, dims + 1)
    if smallest > n // 2:
        return None
    order = features.order()
    sizes = np.linspace(smallest, n, SIZES).astype(int).tolist()
    candidate, reference = Moments(dims), Moments(dims)
    distances = []
    for start, stop in pairwise((0, *sizes)):
        rows = np.sort(order[start:stop])
        candidate.update(features.candidate.rows()[rows])
        if features.paired:
            reference.update(features.reference.rows()[rows])
        whole = reference if features.paired else features.reference_moments()
        distances.append(frechet_distance(whole, candidate))
    _, intercept = np.polyfit(1 / np.array(sizes), distances, 1)
    return float(intercept)
