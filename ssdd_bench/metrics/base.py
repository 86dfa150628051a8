"""What a metric is, and the table of those there are. Imports no torch, so listing is quick."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from ssdd_bench.errors import DataError, UnknownNameError
from ssdd_bench.results import MetricValue

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class PairMetric(ABC):
    """Compares each image with its reconstruction.

    Attributes:
        key: name in results, which carries the variant.
        higher_is_better: direction.
        backend: library and version, and the weights' hash where there are any.
    """

    key: str
    higher_is_better: bool
    backend: str

    @abstractmethod
    def update(self, ids: Sequence[str], reference: Tensor, reconstruction: Tensor) -> None:
        """Take in pairs: uint8 (B, 3, H, W), with an id each that comes only once."""

    @abstractmethod
    def compute(self) -> MetricValue:
        """The score over all pairs so far."""

    def per_image(self) -> dict[str, float]:
        """Score of each image by id, for paired comparisons; empty for distances of sets."""
        return {}


class PerImageMetric(PairMetric):
    """A metric with a score per image, which the mean is taken over.

    Sums are exact (``math.fsum``), so the order and the batches of the images change nothing.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self._scores: dict[str, float] = {}

    @abstractmethod
    def score(self, reference: Tensor, reconstruction: Tensor) -> list[float]:
        """Score of each pair of a batch, uint8 (B, 3, H, W)."""

    def update(self, ids: Sequence[str], reference: Tensor, reconstruction: Tensor) -> None:
        """Score a batch; ``DataError`` where an image comes twice."""
        for name, score in zip(ids, self.score(reference, reconstruction), strict=True):
            if name in self._scores:
                raise DataError(f"{self.key}: image '{name}' came twice")
            self._scores[name] = score

    def compute(self) -> MetricValue:
        """Mean of the finite scores; the infinite ones are counted apart."""
        finite = [score for score in self._scores.values() if math.isfinite(score)]
        return MetricValue(
            value=math.fsum(finite) / len(finite) if finite else None,
            n=len(self._scores),
            higher_is_better=self.higher_is_better,
            backend=self.backend,
            infinite=len(self._scores) - len(finite),
        )

    def per_image(self) -> dict[str, float]:
        """Score by id."""
        return dict(self._scores)


@dataclass(frozen=True)
class MetricInfo:
    """A metric before it is made.

    Attributes:
        key: name in results and on the command line.
        title: one line for the list.
        higher_is_better: direction.
        location: ``module:class`` in this package, imported when the metric is made.
        default: whether a run measures it unless told otherwise.
    """

    key: str
    title: str
    higher_is_better: bool
    location: str
    default: bool = True

    def make(self, device: torch.device) -> PairMetric:
        """Build it; its networks, if any, go to ``device``."""
        module, name = self.location.split(":")
        made: PairMetric = getattr(import_module(f"ssdd_bench.metrics.{module}"), name)(device)
        return made


METRICS: Mapping[str, MetricInfo] = {
    info.key: info
    for info in (
        MetricInfo("psnr", "PSNR in dB, mean over images", True, "psnr:PSNR"),
        MetricInfo("psnr_pooled", "PSNR in dB of the whole set's error", True, "psnr:PooledPSNR"),
        MetricInfo("mse", "mean squared error on [0, 1]", False, "psnr:MSE", default=False),
        MetricInfo("mae", "mean absolute error on [0, 1]", False, "psnr:MAE", default=False),
        MetricInfo("ssim", "SSIM, Gaussian window, borders left out", True, "ssim:SSIM"),
        MetricInfo(
            "fd_effnet",
            "Fréchet distance of EfficientNet-Lite0 features, not FID",
            False,
            "fd_effnet:EffNetDistance",
        ),
    )
}

DEFAULT_METRICS = tuple(info.key for info in METRICS.values() if info.default)


def make_metrics(keys: Iterable[str], device: torch.device) -> list[PairMetric]:
    """Build metrics by key; networks go to ``device``.

    Raises:
        UnknownNameError: no such metric; names the nearest.
    """
    made = []
    for key in keys:
        if key not in METRICS:
            raise UnknownNameError("metric", key, METRICS)
        made.append(METRICS[key].make(device))
    return made
