"""Improved precision and recall, by torch-fidelity."""

from __future__ import annotations

from ssdd_bench.metrics.base import DistributionMetric
from ssdd_bench.metrics.features.files import FeatureSets

NEIGHBOURS = 3
BLOCK = 1000  # rows of a distance matrix at a time; memory grows with n times BLOCK


def precision_recall(features: FeatureSets) -> dict[str, float]:
    """Return ``precision`` and ``recall``, in [0, 1], with the third neighbour.

    Kynkaanniemi et al. 2019.
    """
    from torch_fidelity.metric_prc import prc_features_to_metric

    found: dict[str, float] = prc_features_to_metric(
        features.candidate.tensor(),
        features.reference.tensor(),
        prc_neighborhood=NEIGHBOURS,
        prc_batch_size=BLOCK,
        save_cpu_ram=True,
        verbose=False,
    )
    return found


class Precision(DistributionMetric):
    """Fraction of candidates that lie within a reference's third neighbour."""

    least = NEIGHBOURS + 1

    def score(self, features: FeatureSets) -> float:
        """Return a fraction in [0, 1]."""
        return precision_recall(features)["precision"]


class Recall(DistributionMetric):
    """Fraction of references that lie within a candidate's third neighbour."""

    least = NEIGHBOURS + 1

    def score(self, features: FeatureSets) -> float:
        """Return a fraction in [0, 1]."""
        return precision_recall(features)["recall"]
