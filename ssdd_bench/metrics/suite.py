"""All metrics of one evaluation: images go in, in groups of a fixed size, and scores come out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssdd_bench.errors import DataError, UnavailableError, UnknownNameError
from ssdd_bench.metrics.base import DistributionMetric, MetricOptions, PairMetric
from ssdd_bench.metrics.catalog import Kind, find_metrics
from ssdd_bench.metrics.features import cache as reference_cache
from ssdd_bench.metrics.features.base import FeaturePool, Side
from ssdd_bench.metrics.features.files import FeatureSets
from ssdd_bench.metrics.frechet import ReferenceMoments
from ssdd_bench.results.schema import MetricValue


@dataclass(frozen=True)
class Scores:
    """Values of all metrics.

    Attributes:
        values: by metric key, in the order asked for.
        per_image: by metric key, then by image id; metrics of distributions are not in it.
    """

    values: Mapping[str, MetricValue]
    per_image: Mapping[str, Mapping[str, float]]


class _Group(NamedTuple):
    """Ids, images uint8 (B, 3, H, W), and hashes of their pixels where they are known."""

    ids: tuple[str, ...]
    images: Tensor
    hashes: tuple[bytes, ...] | None


class _Images:
    """Ids, labels and images of one side; the images leave in groups of a fixed size."""

    def __init__(self) -> None:
        self.ids: dict[str, None] = {}
        self._labels: list[int] | None = []
        self._waiting: list[tuple[str, Tensor, bytes | None]] = []

    def add(
        self,
        ids: Sequence[str],
        images: Tensor,
        labels: Sequence[int] | None = None,
        hashes: Sequence[bytes] | None = None,
    ) -> None:
        """Add images; ``DataError`` if an id comes twice."""
        for name in ids:
            if name in self.ids:
                raise DataError(f"image '{name}' came twice")
            self.ids[name] = None
        known: Iterable[bytes | None] = repeat(None, len(ids)) if hashes is None else hashes
        self._waiting += zip(ids, images, known, strict=True)
        if labels is None:
            self._labels = None
        elif self._labels is not None:
            self._labels += labels

    def labels(self) -> NDArray[np.int64] | None:
        """Return the class of each image; None if that of some is not known."""
        return None if self._labels is None else np.array(self._labels, np.int64)

    def groups(self, size: int, last: bool) -> Iterator[_Group]:
        """Yield full groups, and with ``last`` also the rest."""
        while len(self._waiting) >= (1 if last else size):
            ids, images, hashes = zip(*self._waiting[:size], strict=True)
            del self._waiting[:size]
            yield _Group(ids, torch.stack(images), None if None in hashes else hashes)


class MetricSuite:
    """Score pairs, or samples against references, by many metrics; use it as a context manager.

    A metric whose weights or package are missing is unavailable, with the reason and the fix.

    >>> import torch
    >>> images = torch.arange(3 * 16 * 16, dtype=torch.uint8).reshape(1, 3, 16, 16)
    >>> with MetricSuite(["mae"], torch.device("cpu")) as suite:
    ...     suite.add_pairs(["a"], images, images)
    ...     suite.compute().values["mae"].value
    0.0

    Args:
        keys: of :func:`ssdd_bench.metrics.catalog.find_metrics`.
        device: of the metrics, to which each group is moved once.
        batch: images given to a metric at a time, so that its rounding does not depend on the
            batch size of the networks under test.
        options: settings of the protocol.
        strict: True raises ``UnavailableError`` for an unavailable metric.
        intervals: True computes intervals of Fréchet distances too, at twenty times their cost.
        kind: ``pairs`` of an image and its reconstruction, or ``samples``.
        moments: of the reference of samples, in place of its images.
    """

    def __init__(
        self,
        keys: Iterable[str],
        device: torch.device,
        batch: int = 64,
        options: MetricOptions | None = None,
        strict: bool = False,
        intervals: bool = False,
        kind: Kind = "pairs",
        moments: ReferenceMoments | None = None,
    ) -> None:
        known = find_metrics(kind)
        self._infos = {}
        for key in keys:
            if key not in known:
                raise UnknownNameError(f"metric of {kind}", key, known)
            self._infos[key] = known[key]
        self.device = device
        self._batch = batch
        self._intervals = intervals
        self._kind = kind
        self._moments = moments
        self._pairs: dict[str, PairMetric] = {}
        self._distributions: dict[str, DistributionMetric] = {}
        self._unavailable: dict[str, str] = {}
        self._sides: dict[Side, _Images] = {"reference": _Images(), "candidate": _Images()}
        self._folder = tempfile.TemporaryDirectory(prefix="ssdd-bench-")
        self._pool = FeaturePool(device, Path(self._folder.name))
        try:
            for key in self._infos:
                self._make(key, device, options, strict)
        except BaseException:
            self._folder.cleanup()
            raise

    def _make(
        self, key: str, device: torch.device, options: MetricOptions | None, strict: bool
    ) -> None:
        info = self._infos[key]
        try:
            if self._moments:
                self._moments.check(info)
            metric = info.make(device, options)
            if isinstance(metric, PairMetric):
                self._pairs[key] = metric
            else:
                with info.guarded():
                    self._pool.want(info.network, info.layer)
                self._distributions[key] = metric
        except UnavailableError as error:
            if strict:
                raise
            self._unavailable[key] = str(error)

    @property
    def uses_hashes(self) -> bool:
        """Return True if hashes of the references' pixels are needed."""
        return self._pool.uses_hashes

    def __enter__(self) -> MetricSuite:
        return self

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()

    def add_pairs(
        self,
        ids: Sequence[str],
        references: Tensor,
        reconstructions: Tensor,
        hashes: Sequence[bytes] | None = None,
    ) -> None:
        """Add images and their reconstructions.

        Args:
            ids: one for each pair; ``DataError`` if one comes twice.
            references: uint8 (B, 3, H, W), best on :attr:`device`.
            reconstructions: likewise.
            hashes: :func:`ssdd_bench.metrics.features.cache.pixel_hashes` of the references, where
                they are known already; see :attr:`uses_hashes`.
        """
        self._sides["reference"].add(ids, references, hashes=hashes)
        self._sides["candidate"].add(ids, reconstructions)
        self._update()

    def add_samples(
        self, ids: Sequence[str], images: Tensor, labels: Sequence[int] | None = None
    ) -> None:
        """Add images of a generative model, uint8 (B, 3, H, W).

        Args:
            ids: one for each image; ``DataError`` if one comes twice.
            images: of one batch.
            labels: class of each, counted from 0 as those of the references, if known.
        """
        self._sides["candidate"].add(ids, images, labels)
        self._update()

    def add_references(
        self,
        ids: Sequence[str],
        images: Tensor,
        labels: Sequence[int] | None = None,
        hashes: Sequence[bytes] | None = None,
    ) -> None:
        """Add images that samples are compared with.

        Arguments are as of :meth:`add_samples`; ``hashes`` as of :meth:`add_pairs`.
        """
        self._sides["reference"].add(ids, images, labels, hashes)
        self._update()

    def compute(self) -> Scores:
        """Score all images so far; more cannot be added afterwards."""
        self._update(last=True)
        reference_cache.prune()
        return Scores(
            {key: self._value(key) for key in self._infos},
            {key: scores for key, metric in self._pairs.items() if (scores := metric.per_image())},
        )

    def _value(self, key: str) -> MetricValue:
        if metric := self._pairs.get(key):
            return metric.compute()
        info, (references, candidates) = self._infos[key], self._sides.values()
        try:
            if key in self._unavailable:
                raise UnavailableError(self._unavailable[key])
            files = (self._pool.file(info.network, info.layer, side) for side in self._sides)
            reference, candidate = files
            features = FeatureSets(
                tuple(candidates.ids),
                reference,
                candidate,
                self._pool.backend(info.network),
                paired=self._kind == "pairs",
                published=self._moments.of(info, candidate.dims) if self._moments else None,
                labels=candidates.labels(),
                reference_labels=references.labels(),
            )
            return self._distributions[key].compute(features, self._intervals)
        except UnavailableError as error:
            n = len(candidates.ids)
            return MetricValue(None, n, info.higher_is_better, "", unavailable=str(error))

    def _update(self, last: bool = False) -> None:
        """Give full groups to the metrics, and with ``last`` also the rest."""
        sides = {side: images.groups(self._batch, last) for side, images in self._sides.items()}
        if self._kind == "samples":
            for side, groups in sides.items():
                for _, images, hashes in groups:
                    self._pool.add(side, self._moved(images), hashes)
            return
        for (ids, references, hashes), (_, reconstructions, _) in zip(*sides.values(), strict=True):
            on_device = self._moved(references), self._moved(reconstructions)
            for metric in self._pairs.values():
                if metric.on_device:
                    metric.update(ids, *on_device)
                else:
                    metric.update(ids, references.cpu(), reconstructions.cpu())
            self._pool.add("reference", on_device[0], hashes)
            self._pool.add("candidate", on_device[1])

    def _moved(self, images: Tensor) -> Tensor:
        return images.to(self.device, non_blocking=True)
