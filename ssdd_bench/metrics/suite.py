"""All metrics of one pass: pairs go in, in groups of a fixed size, and scores come out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from ssdd_bench.errors import DataError, UnavailableError, UnknownNameError
from ssdd_bench.metrics.base import MetricOptions, PairMetric, SetMetric
from ssdd_bench.metrics.features import cache as reference_cache
from ssdd_bench.metrics.features.base import FeaturePool
from ssdd_bench.metrics.registry import find_metrics
from ssdd_bench.results.schema import MetricValue


@dataclass(frozen=True)
class Scores:
    """What the metrics found.

    Attributes:
        values: by metric key, in the order asked for.
        per_image: by metric key, then by image id; metrics of sets are not in it.
    """

    values: Mapping[str, MetricValue]
    per_image: Mapping[str, Mapping[str, float]]


class Scorer:
    """Takes pairs of images and updates every metric; use it as a context manager.

    A metric whose weights or package are missing is unavailable, with the reason and the fix.

    Args:
        keys: in ``ssdd_bench.metrics.registry.find_metrics()``.
        device: of the metrics' networks.
        group: pairs given to a metric at a time, so that its rounding does not depend on the
            batch size of the networks under test.
        options: what the protocol says about metrics.
        strict: a metric that is unavailable is an error.
        intervals: of Fréchet distances too, which take twenty more distances each.

    Raises:
        UnknownNameError: no such metric; names the nearest.
        UnavailableError: with ``strict``, a file or a package is missing.
        WeightsError: a file is not what its publisher released.
    """

    def __init__(
        self,
        keys: Iterable[str],
        device: torch.device,
        group: int = 64,
        options: MetricOptions | None = None,
        strict: bool = False,
        intervals: bool = False,
    ) -> None:
        self._intervals = intervals
        self._keys = tuple(dict.fromkeys(keys))
        self._group = group
        self._known = find_metrics()
        self._pairs: dict[str, PairMetric] = {}
        self._sets: dict[str, SetMetric] = {}
        self._unavailable: dict[str, str] = {}
        self._seen: dict[str, None] = {}  # ids in order
        self._ids: list[str] = []
        self._images: list[Tensor] = []
        self._restored: list[Tensor] = []
        for key in self._keys:
            if key not in self._known:
                raise UnknownNameError("metric", key, self._known)
        self._folder = tempfile.TemporaryDirectory(prefix="ssdd-bench-")
        self._pool = FeaturePool(device, Path(self._folder.name))
        for key in self._keys:
            try:
                self._make(key, device, options or MetricOptions())
            except UnavailableError as error:
                if strict:
                    self.close()
                    raise
                self._unavailable[key] = str(error)
            except BaseException:
                self.close()
                raise

    def _make(self, key: str, device: torch.device, options: MetricOptions) -> None:
        info = self._known[key]
        kind = info.load()
        with info.guarded():
            if issubclass(kind, SetMetric):
                self._sets[key] = kind(options)
                self._pool.want(kind.extractor, kind.tap)
            else:
                self._pairs[key] = kind(device, options)

    def close(self) -> None:
        """Delete the features."""
        self._folder.cleanup()

    def __enter__(self) -> Scorer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def add(self, ids: Sequence[str], reference: Tensor, reconstruction: Tensor) -> None:
        """Take in pairs, uint8 (B, 3, H, W) on the CPU; ``DataError`` where an id comes twice."""
        for name in ids:
            if name in self._seen:
                raise DataError(f"image '{name}' came twice")
            self._seen[name] = None
        self._ids += ids
        self._images += reference.unbind()
        self._restored += reconstruction.unbind()
        while len(self._ids) >= self._group:
            self._update(self._group)

    def finish(self) -> Scores:
        """Score what is left, then everything."""
        if self._ids:
            self._update(len(self._ids))
        reference_cache.prune()
        return Scores(
            {key: self._value(key) for key in self._keys},
            {key: scores for key, metric in self._pairs.items() if (scores := metric.per_image())},
        )

    def _value(self, key: str) -> MetricValue:
        if key in self._unavailable:
            return MetricValue(
                None,
                len(self._seen),
                self._known[key].higher_is_better,
                "",
                unavailable=self._unavailable[key],
            )
        if key in self._pairs:
            return self._pairs[key].compute()
        metric = self._sets[key]
        features = self._pool.pairs(metric.extractor, metric.tap, tuple(self._seen))
        return metric.compute(features, self._intervals)

    def _update(self, count: int) -> None:
        ids = tuple(self._ids[:count])
        images, restored = torch.stack(self._images[:count]), torch.stack(self._restored[:count])
        for metric in self._pairs.values():
            metric.update(ids, images, restored)
        self._pool.update(images, restored)
        del self._ids[:count], self._images[:count], self._restored[:count]
