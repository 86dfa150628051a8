"""Inception Score, by torch-fidelity."""

from __future__ import annotations

from collections.abc import Iterator

from ssdd_bench.metrics.base import DistributionMetric
from ssdd_bench.metrics.features.files import SEED, FeatureSets

PARTS = 10


class InceptionScore(DistributionMetric):
    """Salimans et al. 2016 of reconstructions or samples, in ten parts after a seeded shuffle.

    Without the shuffle, images sorted by class score 1. They are sorted by id first, as
    torch-fidelity sorts files by name, so that their order does not matter.
    """

    least = PARTS

    def score(self, features: FeatureSets) -> float:
        """Return the mean over the parts."""
        from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

        by_id = sorted(range(len(features.ids)), key=features.ids.__getitem__)
        found: dict[str, float] = isc_features_to_metric(
            features.candidate.tensor()[by_id], splits=PARTS, shuffle=True, rng_seed=SEED
        )
        return found[KEY_METRIC_ISC_MEAN]

    def warnings(self, features: FeatureSets) -> Iterator[str]:
        """Warn of small parts."""
        n = features.candidate.n
        if n < 50_000:
            yield f"ten parts of {n // PARTS} images: published values take 5,000"
