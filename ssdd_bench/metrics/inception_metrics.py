"""Scores of sets other than Fréchet distances, all by torch-fidelity on Inception features."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssdd_bench.metrics.base import SetMetric
from ssdd_bench.metrics.features.base import FeatureFile, FeaturePairs
from ssdd_bench.results.schema import MetricValue

SEED = 2020  # of torch-fidelity's subsets and shuffles
NEIGHBOURS = 3
BLOCK = 1000  # rows of a distance matrix at a time


def _tensor(file: FeatureFile) -> Tensor:
    return torch.from_numpy(np.array(file.rows()))


class _InceptionMetric(SetMetric):
    extractor = "inception"
    tap = "pool"
    least = 2  # images

    def compute(self, features: FeaturePairs, intervals: bool = False) -> MetricValue:
        """The score, where there are images enough to have one."""
        n = features.reference.n
        if n < self.least:
            reason = f"needs at least {self.least} images: give more"
            return MetricValue(None, n, self.higher_is_better, features.backend, unavailable=reason)
        value, warning = self.score(features)
        return MetricValue(value, n, self.higher_is_better, features.backend, warning=warning)

    def score(self, features: FeaturePairs) -> tuple[float, str]:
        """The value and a warning, which may be empty."""
        raise NotImplementedError


class KID(_InceptionMetric):
    """Binkowski et al. 2018: unbiased MMD^2 with a cubic kernel, mean over 100 subsets of 1,000.

    An image and its own reconstruction must not meet in a subset, which would pull the value
    below zero. So the images are split in two by a hash of their ids: originals of one half
    against reconstructions of the other.
    """

    key = "kid"
    higher_is_better = False
    least = 4

    def score(self, features: FeaturePairs) -> tuple[float, str]:
        """Of halves; with fewer than 2,000 images the subsets are as large as a half."""
        from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

        order = features.order()
        half = len(order) // 2
        size = min(1000, half)
        found: dict[str, float] = kid_features_to_metric(
            _tensor(features.reference)[order[:half]],
            _tensor(features.reconstruction)[order[half : 2 * half]],
            kid_subset_size=size,
            kid_subsets=100,
            rng_seed=SEED,
            verbose=False,
        )
        warning = f"subsets of {size} images, not 1,000: give at least 2,000" if size < 1000 else ""
        return found[KEY_METRIC_KID_MEAN], warning


class InceptionScore(_InceptionMetric):
    """Salimans et al. 2016 of the reconstructions, in ten parts after a seeded shuffle.

    Without the shuffle, images sorted by class score 1. They are sorted by id first, as
    torch-fidelity sorts files by name, so that the order of their coming does not matter.
    """

    key = "isc"
    higher_is_better = True
    tap = "logits"
    least = 10

    def score(self, features: FeaturePairs) -> tuple[float, str]:
        """Mean over the parts."""
        from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

        by_id = sorted(range(len(features.ids)), key=features.ids.__getitem__)
        found: dict[str, float] = isc_features_to_metric(
            _tensor(features.reconstruction)[by_id], splits=10, shuffle=True, rng_seed=SEED
        )
        n = features.reconstruction.n
        warning = (
            f"ten parts of {n // 10} images: published values take 5,000" if n < 50_000 else ""
        )
        return found[KEY_METRIC_ISC_MEAN], warning


class _Neighbours(_InceptionMetric):
    higher_is_better = True
    least = NEIGHBOURS + 1

    def both(self, features: FeaturePairs) -> dict[str, Any]:
        """Precision and recall; memory grows with n times ``BLOCK``."""
        from torch_fidelity.metric_prc import prc_features_to_metric

        return prc_features_to_metric(
            _tensor(features.reconstruction),
            _tensor(features.reference),
            prc_neighborhood=NEIGHBOURS,
            prc_batch_size=BLOCK,
            save_cpu_ram=True,
            verbose=False,
        )


class Precision(_Neighbours):
    """Kynkaanniemi et al. 2019: reconstructions that lie within an original's third neighbour."""

    key = "precision"

    def score(self, features: FeaturePairs) -> tuple[float, str]:
        """In [0, 1]."""
        return self.both(features)["precision"], ""


class Recall(_Neighbours):
    """Kynkaanniemi et al. 2019: originals that lie within a reconstruction's third neighbour."""

    key = "recall"

    def score(self, features: FeaturePairs) -> tuple[float, str]:
        """In [0, 1]."""
        return self.both(features)["recall"], ""
