"""Exact pixel errors: differences of uint8 images are integers, and so are their sums."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ssdd_bench.metrics.base import PerImageMetric
from ssdd_bench.results.schema import MetricValue


def squared_errors(references: Tensor, reconstructions: Tensor) -> list[float]:
    """Return the mean squared error of each image, uint8 (B, 3, H, W), on 0 to 255 squared."""
    return _means(_squared_sum, references, reconstructions)


def absolute_errors(references: Tensor, reconstructions: Tensor) -> list[float]:
    """Return the mean absolute error of each image, uint8 (B, 3, H, W), on 0 to 255."""
    return _means(_absolute_sum, references, reconstructions)


def _means(
    total: Callable[[Tensor], Tensor], references: Tensor, reconstructions: Tensor
) -> list[float]:
    """Divide sums over the differences of each image by the number of its values."""
    if references.is_cpu:  # A single image stays in the cache: a sixth of the time of a batch.
        parts = (references.split(1), reconstructions.split(1))
    else:
        parts = ((references,), (reconstructions,))
    sums = [total((a.short() - b.short()).flatten(1)) for a, b in zip(*parts, strict=True)]
    return [one / references[0].numel() for one in torch.cat(sums).tolist()]


def _squared_sum(differences: Tensor) -> Tensor:
    """Sum squares of integers (B, N) exactly: below 2^53 so does float64."""
    if differences.is_cpu:
        values = differences.double()
        return torch.linalg.vecdot(values, values)
    return differences.int().square_().sum(dim=1)  # int64


def _absolute_sum(differences: Tensor) -> Tensor:
    return differences.abs_().sum(dim=1)  # int64


def decibel(mse: float) -> float:
    """Convert an error on 0 to 255 squared to PSNR in dB; no error is infinite."""
    return 10 * math.log10(255**2 / mse) if mse else math.inf


class _PixelError(PerImageMetric):
    on_device = True
    backend = "ssdd-bench, integer sums"


class PSNR(_PixelError):
    """Mean PSNR over images; identical images are infinite and counted apart."""

    def score(self, references: Tensor, reconstructions: Tensor) -> list[float]:
        """Return decibels."""
        return [decibel(mse) for mse in squared_errors(references, reconstructions)]


class PooledPSNR(_PixelError):
    """PSNR of the mean squared error over the whole set.

    It is at most the mean PSNR of the same images. Images without an error count here, while
    ``psnr`` leaves them out; with such images it can be higher than ``psnr``.
    """

    def score(self, references: Tensor, reconstructions: Tensor) -> list[float]:
        """Return squared errors, from which the set's PSNR follows."""
        return squared_errors(references, reconstructions)

    def compute(self) -> MetricValue:
        """Return the PSNR of the mean error; infinite only if every image is identical."""
        found = super().compute()
        if not found.value:
            return replace(found, value=None, infinite=found.n, interval=None, interval_method="")
        found = replace(found, value=decibel(found.value))
        if found.interval is not None and found.interval[0] > 0:
            low, high = found.interval
            return replace(found, interval=(decibel(high), decibel(low)))
        # Nearly every image is identical: the interval would end at infinity.
        return replace(found, interval=None, interval_method="")

    def per_image(self) -> dict[str, float]:
        """Return {}: the errors behind it are those of ``mse``."""
        return {}


class MSE(_PixelError):
    """Mean squared error of images in [0, 1]."""

    def score(self, references: Tensor, reconstructions: Tensor) -> list[float]:
        """Return errors on [0, 1]."""
        return [mse / 255**2 for mse in squared_errors(references, reconstructions)]


class MAE(_PixelError):
    """Mean absolute error of images in [0, 1]."""

    def score(self, references: Tensor, reconstructions: Tensor) -> list[float]:
        """Return errors on [0, 1]."""
        return [mae / 255 for mae in absolute_errors(references, reconstructions)]
