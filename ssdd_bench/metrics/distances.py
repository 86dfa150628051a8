"""Fréchet distances between the features of the crops and those of their reconstructions.

The reference is always the very crops that were encoded, never statistics of a training set:
those belong to generated images, and make a reconstruction score two to three times as large.

torchmetrics' class resizes with antialiasing unless told otherwise and casts the distance to
float32; torch-fidelity's keeps all features in memory. So the networks are theirs and the
moments and the distance ours, see :mod:`ssdd_bench.metrics.frechet`.
"""

from __future__ import annotations

from collections.abc import Iterator

from ssdd_bench.metrics.base import SetMetric
from ssdd_bench.metrics.features.base import FeaturePairs
from ssdd_bench.metrics.frechet import frechet_distance
from ssdd_bench.metrics.intervals import (
    GROUPS,
    JACKKNIFE,
    frechet_at_infinity,
    jackknife_interval,
)
from ssdd_bench.results.schema import MetricValue


class FrechetMetric(SetMetric):
    """Squared Fréchet distance of two Gaussians; lower is better.

    Attributes:
        published_n: images behind published values of this metric; 0 where there are none.
    """

    higher_is_better = False
    published_n = 0

    def compute(self, features: FeaturePairs, intervals: bool = False) -> MetricValue:
        """The distance, with a warning where there are too few images to trust it.

        With ``intervals`` a jackknife interval, and the distance at endless images where it can
        be extrapolated, as ``fd_infinity``.
        """
        n = features.reference.n
        if n < 2:
            return MetricValue(
                None, n, False, features.backend, unavailable="needs at least two images: give more"
            )
        value = frechet_distance(features.reference.moments(), features.reconstruction.moments())
        jackknife = intervals and n >= GROUPS
        infinity = frechet_at_infinity(features) if intervals else None
        return MetricValue(
            value,
            n,
            False,
            features.backend,
            warning="; ".join(self._warnings(n, features.reference.dims)),
            interval=jackknife_interval(features, value) if jackknife else None,
            interval_method=JACKKNIFE if jackknife else "",
            extra={} if infinity is None else {"fd_infinity": infinity},
        )

    def _warnings(self, n: int, dims: int) -> Iterator[str]:
        if n <= dims:
            yield (
                f"{n} images for {dims} features: the covariance is singular and the value mostly "
                "the number of images'; compare only values of the same images"
            )
        elif n < 2 * dims:
            yield (
                f"biased upwards: {n} images for {dims} features; "
                "compare only values of the same images"
            )
        if n < self.published_n:
            yield f"not comparable with published values, which take {self.published_n:,} images"


class FDEffNet(FrechetMetric):
    """Distance of EfficientNet-Lite0 features, which needs no download.

    It is not FID, whose features come from an Inception network, and no value of it can be
    compared with one.
    """

    key = "fd_effnet"
    extractor = "effnet"
    tap = "pool"


class RFID(FrechetMetric):
    """Heusel et al. 2017 between crops and reconstructions: Inception's pooled features."""

    key = "rfid"
    extractor = "inception"
    tap = "pool"
    published_n = 50_000


class SFID(FrechetMetric):
    """Nash et al. 2021: the first seven channels of a 17 x 17 map in place of pooled features."""

    key = "sfid"
    extractor = "inception"
    tap = "spatial"
    published_n = 50_000


class FDDINOv2(FrechetMetric):
    """Stein et al. 2023: DINOv2 ViT-L/14 in place of Inception."""

    key = "fd_dinov2"
    extractor = "dinov2_vitl14"
    tap = "cls"
    published_n = 50_000
