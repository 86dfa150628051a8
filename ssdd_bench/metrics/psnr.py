"""Pixel errors, exact: differences of uint8 images are integers, and so are their sums."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ssdd_bench.metrics.base import PerImageMetric
from ssdd_bench.results.schema import MetricValue

BACKEND = f"ssdd-bench, integer sums by torch {torch.__version__.split('+')[0]}"


def squared_errors(reference: Tensor, reconstruction: Tensor) -> list[float]:
    """Mean squared error of each image, uint8 (B, 3, H, W), on the scale of 0 to 255 squared."""
    difference = reference.int() - reconstruction.int()
    sums = difference.square().flatten(1).sum(dim=1)  # int64
    return [total / difference[0].numel() for total in sums.tolist()]


def absolute_errors(reference: Tensor, reconstruction: Tensor) -> list[float]:
    """Mean absolute error of each image, uint8 (B, 3, H, W), on the scale of 0 to 255."""
    difference = (reference.int() - reconstruction.int()).abs()
    return [total / difference[0].numel() for total in difference.flatten(1).sum(dim=1).tolist()]


def decibel(mse: float) -> float:
    """PSNR in dB of an error on the scale of 0 to 255 squared; infinite for none."""
    return 10 * math.log10(255**2 / mse) if mse else math.inf


class PSNR(PerImageMetric):
    """Mean over images of each one's PSNR; identical images are infinite and counted apart."""

    key = "psnr"
    higher_is_better = True
    backend = BACKEND

    def score(self, reference: Tensor, reconstruction: Tensor) -> list[float]:
        """In dB."""
        return [decibel(mse) for mse in squared_errors(reference, reconstruction)]


class PooledPSNR(PerImageMetric):
    """PSNR of the mean squared error over the whole set, never above the mean of ``psnr``."""

    key = "psnr_pooled"
    higher_is_better = True
    backend = BACKEND

    def score(self, reference: Tensor, reconstruction: Tensor) -> list[float]:
        """Squared errors, from which the set's PSNR follows."""
        return squared_errors(reference, reconstruction)

    def compute(self) -> MetricValue:
        """Infinite only where every image is identical."""
        n = len(self._scores)
        mse = math.fsum(self._scores.values()) / n if n else 0.0
        interval, method = self._interval(self._in_order() if mse else [], decibel)
        if interval and math.isinf(interval[1]):  # nearly every image is identical
            interval, method = None, ""
        return MetricValue(
            value=decibel(mse) if mse else None,
            n=n,
            higher_is_better=True,
            backend=self.backend,
            infinite=0 if mse else n,
            interval=interval,
            interval_method=method,
        )

    def per_image(self) -> dict[str, float]:
        """Nothing: the errors behind it are those of ``mse``."""
        return {}


class MSE(PerImageMetric):
    """Mean squared error of images in [0, 1]."""

    key = "mse"
    higher_is_better = False
    backend = BACKEND

    def score(self, reference: Tensor, reconstruction: Tensor) -> list[float]:
        """On [0, 1]."""
        return [mse / 255**2 for mse in squared_errors(reference, reconstruction)]


class MAE(PerImageMetric):
    """Mean absolute error of images in [0, 1]."""

    key = "mae"
    higher_is_better = False
    backend = BACKEND

    def score(self, reference: Tensor, reconstruction: Tensor) -> list[float]:
        """On [0, 1]."""
        return [mae / 255 for mae in absolute_errors(reference, reconstruction)]
