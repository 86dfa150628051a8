"""Metrics by torch-fidelity: Inception Score, kernel distance, precision and recall."""

from __future__ import annotations

from collections.abc import Iterator

from ssdd_bench.errors import counted
from ssdd_bench.metrics.base import DistributionMetric
from ssdd_bench.metrics.features.files import FeatureSets

SEED = 2020  # of subsets and shuffles, as in torch-fidelity
PARTS = 10
SUBSETS, SUBSET = 100, 1000
NEIGHBOURS = 3
BLOCK = 1000  # rows of a distance matrix at a time; memory grows with n times BLOCK


class InceptionScore(DistributionMetric):
    """Salimans et al. 2016 of reconstructions or samples, in ten parts after a seeded shuffle.

    Without the shuffle, images sorted by class score 1. They are sorted by id first, as
    torch-fidelity sorts files by name, so that their order does not matter.
    """

    least = PARTS
    needs_rows = True

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
            yield f"ten parts of {counted(n // PARTS, 'image')}: published values take 5,000"


class KID(DistributionMetric):
    """Binkowski et al. 2018: unbiased MMD^2 with a cubic kernel, mean over 100 subsets of 1,000.

    Sets of at most 1,000 are compared as they are, once.

    An image and its own reconstruction must not meet in a subset, which would pull the value
    below zero. So pairs are split in two by a hash of their ids: references of one half against
    reconstructions of the other.
    """

    least = 4
    needs_rows = True

    def score(self, features: FeatureSets) -> float:
        """Return the distance; subsets are as large as the smaller side if that has too few."""
        from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

        references, candidates = features.reference.tensor(), features.candidate.tensor()
        if features.paired:
            order, half = features.order(), len(candidates) // 2
            references, candidates = references[order[:half]], candidates[order[half : 2 * half]]
        size = self._size(features)
        found: dict[str, float] = kid_features_to_metric(
            references,
            candidates,
            kid_subset_size=size,
            kid_subsets=1 if len(references) == len(candidates) == size else SUBSETS,
            rng_seed=SEED,
            verbose=False,
        )
        return found[KEY_METRIC_KID_MEAN]

    def warnings(self, features: FeatureSets) -> Iterator[str]:
        """Warn of small subsets."""
        if (size := self._size(features)) < SUBSET:
            yield f"subsets of {counted(size, 'image')}, not 1,000: give at least 2,000"

    def _size(self, features: FeatureSets) -> int:
        sides = features.candidate.n, features.reference.n
        return min(SUBSET, min(sides) // 2 if features.paired else min(sides))


class PrecisionRecall(DistributionMetric):
    """Kynkaanniemi et al. 2019, with the third neighbour.

    Precision is the fraction of candidates within a reference's third neighbour, recall the
    fraction of references within a candidate's.
    """

    least = NEIGHBOURS + 1
    needs_rows = True

    def score(self, features: FeatureSets) -> float:
        """Return a fraction in [0, 1]."""
        from torch_fidelity.metric_prc import prc_features_to_metric

        found: dict[str, float] = prc_features_to_metric(
            features.candidate.tensor(),
            features.reference.tensor(),
            prc_neighborhood=NEIGHBOURS,
            prc_batch_size=BLOCK,
            save_cpu_ram=True,
            verbose=False,
        )
        return found[self.info.key]
