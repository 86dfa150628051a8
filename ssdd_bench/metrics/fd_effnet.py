"""A distribution metric that works offline: Fréchet distance of EfficientNet-Lite0 features.

It is not FID, whose features come from an Inception network, and no value of it can be compared
with one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ssdd_bench.metrics.base import PairMetric
from ssdd_bench.metrics.features import EffNetFeatures
from ssdd_bench.metrics.frechet import Moments, frechet_distance
from ssdd_bench.results import MetricValue


class EffNetDistance(PairMetric):
    """Distance between the features of the very crops that were encoded and their reconstructions.

    Args:
        device: where the network runs; the sums are on the CPU.
    """

    key = "fd_effnet"
    higher_is_better = False

    def __init__(self, device: torch.device) -> None:
        self._features = EffNetFeatures(device)
        self._reference = Moments(self._features.dims)
        self._reconstruction = Moments(self._features.dims)
        self.backend = self._features.name

    def update(self, ids: Sequence[str], reference: Tensor, reconstruction: Tensor) -> None:
        """Add the features of a batch on both sides."""
        self._reference.update(self._features(reference))
        self._reconstruction.update(self._features(reconstruction))

    def compute(self) -> MetricValue:
        """The distance, with a warning where there are too few images to trust it."""
        n, dims = self._reference.n, self._features.dims
        if n < 2:
            return MetricValue(
                None, n, False, self.backend, unavailable="needs at least two images: give more"
            )
        warning = ""
        if n < 2 * dims:
            warning = (
                f"biased upwards: {n} images for {dims} features; "
                "compare only values of the same images"
            )
        value = frechet_distance(self._reference, self._reconstruction)
        return MetricValue(value, n, False, self.backend, warning=warning)
