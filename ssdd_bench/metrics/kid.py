"""Kernel Inception Distance, by torch-fidelity."""

from __future__ import annotations

from collections.abc import Iterator

from ssdd_bench.metrics.base import DistributionMetric
from ssdd_bench.metrics.features.files import SEED, FeatureSets

SUBSET = 1000


class KID(DistributionMetric):
    """Binkowski et al. 2018: unbiased MMD^2 with a cubic kernel, mean over 100 subsets of 1,000.

    An image and its own reconstruction must not meet in a subset, which would pull the value
    below zero. So pairs are split in two by a hash of their ids: references of one half against
    reconstructions of the other.
    """

    least = 4

    def score(self, features: FeatureSets) -> float:
        """Return the distance; subsets are as large as a side if that has too few images."""
        from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

        references, candidates = features.reference.tensor(), features.candidate.tensor()
        if features.paired:
            order, half = features.order(), len(candidates) // 2
            references, candidates = references[order[:half]], candidates[order[half : 2 * half]]
        found: dict[str, float] = kid_features_to_metric(
            references,
            candidates,
            kid_subset_size=self._size(features),
            kid_subsets=100,
            rng_seed=SEED,
            verbose=False,
        )
        return found[KEY_METRIC_KID_MEAN]

    def warnings(self, features: FeatureSets) -> Iterator[str]:
        """Warn of small subsets."""
        if (size := self._size(features)) < SUBSET:
            yield f"subsets of {size} images, not 1,000: give at least 2,000"

    def _size(self, features: FeatureSets) -> int:
        sides = features.candidate.n, features.reference.n
        return min(SUBSET, min(sides) // 2 if features.paired else min(sides))
