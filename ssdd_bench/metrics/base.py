"""Base classes of metrics. Imports no torch, so that listing metrics is quick."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from ssdd_bench.errors import DataError, UnavailableError
from ssdd_bench.results.schema import MetricValue

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ssdd_bench.metrics.catalog import MetricInfo
    from ssdd_bench.metrics.features.files import FeatureSets


@dataclass(frozen=True)
class MetricOptions:
    """Settings of metrics that a protocol may change.

    Attributes:
        lpips_padding: images are padded with zeros to a power of two before LPIPS.
        dreamsim_resize: images are resized to 224 px before DreamSim.
    """

    lpips_padding: bool = False
    dreamsim_resize: bool = True


class Metric:
    """Base of all metrics, made by ``MetricInfo.make``; its arguments are its attributes.

    Args:
        info: key, direction and the other facts of the catalogue.
        device: of the networks, if any.
        options: settings of the protocol.
    """

    def __init__(self, info: MetricInfo, device: torch.device, options: MetricOptions) -> None:
        self.info = info
        self.device = device
        self.options = options


class PairMetric(Metric, ABC):
    """Base of metrics that compare each image with its reconstruction.

    A class whose weights or packages are missing raises ``UnavailableError`` when it is made.

    Attributes:
        backend: library and version, and the weights' hash where there are any.
    """

    backend: str

    @abstractmethod
    def update(self, ids: Sequence[str], references: Tensor, reconstructions: Tensor) -> None:
        """Add pairs: uint8 (B, 3, H, W) on the CPU, each with an id of its own."""

    @abstractmethod
    def compute(self) -> MetricValue:
        """Return the score over all pairs so far."""

    def per_image(self) -> dict[str, float]:
        """Return the score of each image by id, for paired comparisons; {} if there is none."""
        return {}


class PerImageMetric(PairMetric):
    """Base of metrics whose value is the mean of one score per image.

    Sums are exact (``math.fsum``), so the order and the batches of the images change nothing.
    """

    def __init__(self, info: MetricInfo, device: torch.device, options: MetricOptions) -> None:
        super().__init__(info, device, options)
        self._scores: dict[str, float] = {}

    @abstractmethod
    def score(self, references: Tensor, reconstructions: Tensor) -> list[float]:
        """Return the score of each pair of a batch, uint8 (B, 3, H, W)."""

    def update(self, ids: Sequence[str], references: Tensor, reconstructions: Tensor) -> None:
        """Score a batch; ``DataError`` if an image comes twice."""
        for name, score in zip(ids, self.score(references, reconstructions), strict=True):
            if name in self._scores:
                raise DataError(f"{self.info.key}: image '{name}' came twice")
            self._scores[name] = score

    def compute(self) -> MetricValue:
        """Return the mean of the finite scores, its interval and the number of infinite ones."""
        import numpy as np

        from ssdd_bench.metrics.intervals import BOOTSTRAP, RESAMPLINGS, bootstrap

        # Sorted by id, since the order of the images must not change the interval.
        finite = [score for _, score in sorted(self._scores.items()) if math.isfinite(score)]
        found = MetricValue(
            value=math.fsum(finite) / len(finite) if finite else None,
            n=len(self._scores),
            higher_is_better=self.info.higher_is_better,
            backend=self.backend,
            infinite=len(self._scores) - len(finite),
        )
        if len(finite) < 2:
            return found
        interval = bootstrap(np.array(finite), resamplings=RESAMPLINGS)
        return replace(found, interval=interval, interval_method=BOOTSTRAP)

    def per_image(self) -> dict[str, float]:
        """Return the score of each image by id."""
        return dict(self._scores)


class DistributionMetric(Metric, ABC):
    """Base of metrics that compare two sets of images by features of a network.

    The sets are references and their reconstructions, or references and samples of a generative
    model. The catalogue (or metric.toml) names the network and its layer; the features of an
    image are computed once for all metrics.

    Attributes:
        least: images that each side needs.
    """

    least: ClassVar[int] = 2

    @abstractmethod
    def score(self, features: FeatureSets) -> float:
        """Return the value; raise ``UnavailableError`` if it cannot be computed from these sets."""

    def warnings(self, features: FeatureSets) -> Iterator[str]:
        """Yield what a reader of the value must know."""
        yield from ()

    def compute(self, features: FeatureSets, intervals: bool = False) -> MetricValue:
        """Return the score of the candidates, or the reason why there is none.

        Args:
            features: of both sides.
            intervals: True computes an interval too, if the metric has one.
        """
        value, warning, reason = None, "", ""
        n = features.candidate.n
        try:
            if self.least > (min(n, features.reference_n) if self.info.needs_reference else n):
                raise UnavailableError(
                    f"needs at least {self.least} images on each side: give more"
                )
            value = self.score(features)
            warning = "; ".join(self.warnings(features))
        except UnavailableError as error:
            reason = str(error)
        return MetricValue(
            value,
            n,
            self.info.higher_is_better,
            features.backend,
            warning=warning,
            unavailable=reason,
        )
