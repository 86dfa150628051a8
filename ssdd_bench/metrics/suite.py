"""All metrics of one evaluation: images go in, in groups of a fixed size, and scores come out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssdd_bench.errors import DataError, UnavailableError, UnknownNameError, UserError
from ssdd_bench.metrics.base import DistributionMetric, MetricOptions, PairMetric, mixed
from ssdd_bench.metrics.catalog import Kind, find_metrics
from ssdd_bench.metrics.features import cache as reference_cache
from ssdd_bench.metrics.features.base import FeaturePool, Side
from ssdd_bench.metrics.features.files import FeatureSets
from ssdd_bench.metrics.frechet import ReferenceMoments
from ssdd_bench.metrics.state import SuiteState
from ssdd_bench.plugins.guard import same_folder
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
        self.add_ids(ids, labels)
        known: Iterable[bytes | None] = repeat(None, len(ids)) if hashes is None else hashes
        self._waiting += zip(ids, images, known, strict=True)

    def add_ids(self, ids: Sequence[str], labels: Sequence[int] | None) -> None:
        """Add images that were scored elsewhere; ``DataError`` if an id comes twice."""
        for name in ids:
            if name in self.ids:
                raise DataError(f"image '{name}' came twice")
            self.ids[name] = None
        if labels is None:
            self._labels = None
        elif self._labels is not None:
            self._labels += labels

    def labels(self) -> NDArray[np.int64] | None:
        """Return the class of each image; None if that of some is not known."""
        return None if self._labels is None else np.array(self._labels, np.int64)

    def groups(
        self, size: int, last: bool
    ) -> Iterator[tuple[tuple[str, ...], Tensor, tuple[bytes, ...] | None]]:
        """Yield ids, images and known hashes of full groups, and with ``last`` of the rest."""
        while len(self._waiting) >= (1 if last else size):
            ids, images, hashes = zip(*self._waiting[:size], strict=True)
            del self._waiting[:size]
            yield ids, torch.stack(images), None if None in hashes else hashes


class MetricSuite:
    """Score pairs, or samples against references, by many metrics; use it as a context manager.

    A metric whose weights or package are missing is unavailable, with the reason and the fix.

    >>> import torch
    >>> images = torch.arange(3 * 16 * 16, dtype=torch.uint8).reshape(1, 3, 16, 16)
    >>> with MetricSuite(["mae"], torch.device("cpu")) as suite:
    ...     suite.add_pairs(["a"], images, images)
    ...     suite.compute().values["mae"].value
    0.0

    Large sets are scored in chunks, by any number of processes: each chunk ends with :meth:`take`,
    and another suite merges their states. Scores depend on the chunks, the order in which they are
    merged and nothing else.

    >>> with MetricSuite(["mae"], torch.device("cpu")) as suite:
    ...     suite.add_pairs(["a"], images, images)
    ...     first = suite.take()
    ...     suite.add_pairs(["b"], images, images)
    ...     second = suite.take()
    >>> with MetricSuite(["mae"], torch.device("cpu"), only_merges=True) as merging:
    ...     for state in (first, second):
    ...         merging.merge(state)
    ...     merging.compute().values["mae"].n
    2

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
        expected: number of images on each side in the whole set, where it is known. States of
            large sets merge faster then; give the same number for every chunk and for the merge.
        only_merges: True loads no network and needs no weights; no images can be added.
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
        expected: int | None = None,
        only_merges: bool = False,
    ) -> None:
        known = find_metrics(kind)
        self._infos = {}
        for key in keys:
            if key not in known:
                raise UnknownNameError(f"metric of {kind}", key, known)
            self._infos[key] = known[key]
        self.device = device
        self._batch = batch
        self._strict = strict
        self._intervals = intervals
        self._kind = kind
        self._moments = moments
        self._only_merges = only_merges
        self._pairs: dict[str, PairMetric] = {}
        self._distributions: dict[str, DistributionMetric] = {}
        self._missing: dict[str, str] = {}  # reason why a metric cannot be computed here
        self._failed: dict[str, str] = {}  # reason why it has no score of the images so far
        self._backends: dict[str, str] = {}  # of pair metrics, as merged states have it
        self._sides: dict[Side, _Images] = {"reference": _Images(), "candidate": _Images()}
        self._pool = FeaturePool(device, expected, strict)
        for key in self._infos:
            self._make(key, options)

    def _make(self, key: str, options: MetricOptions | None) -> None:
        info = self._infos[key]
        try:
            if self._moments:
                self._moments.check(info)
            with same_folder():
                metric = info.make(self.device, options, loaded=not self._only_merges)
            if isinstance(metric, PairMetric):
                self._pairs[key] = metric
                return
            rows = metric.needs_rows or (self._intervals and metric.interval_needs_rows)
            self._pool.want(info.network, info.layer, rows)
            if not self._only_merges:
                with info.guarded():
                    self._pool.load(info.network)
            self._distributions[key] = metric
        except UnavailableError as error:
            if self._strict:
                raise
            self._missing[key] = str(error)

    @property
    def least(self) -> int:
        """Return the number of images without which a metric that can be loaded has no score."""
        return max((metric.least for metric in self._distributions.values()), default=1)

    @property
    def uses_hashes(self) -> bool:
        """Return True if hashes of the references' pixels are needed."""
        return self._pool.uses_hashes

    def __enter__(self) -> MetricSuite:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.reset()

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
        self._side("reference").add(ids, references, hashes=hashes)
        self._side("candidate").add(ids, reconstructions)
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
        self._side("candidate").add(ids, images, labels)
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
        self._side("reference").add(ids, images, labels, hashes)
        self._update()

    def _side(self, side: Side) -> _Images:
        if self._only_merges:
            raise RuntimeError("a suite that only merges takes no images: it has no networks")
        return self._sides[side]

    def take(self) -> SuiteState:
        """Return the state of all images since the last call, and forget them.

        A metric that failed on one of them is tried again with the next images.
        """
        self._update(last=True)
        arrays, backends = self._pool.state()
        arrays = {f"features/{key}": array for key, array in arrays.items()}
        metrics: dict[str, Any] = {}
        sides = {side: list(images.ids) for side, images in self._sides.items()}
        for key in self._infos:
            if not self._reason(key) and (metric := self._pairs.get(key)):
                with self._contained(key):
                    states, by_image = _encoded(metric.state(), sides["candidate"])
                    arrays |= {f"metrics/{key}/{name}": array for name, array in states.items()}
                    metrics[key] = {"backend": metric.backend, "by_image": by_image}
            if reason := self._reason(key):
                metrics[key] = {"unavailable": reason}
        for side, images in self._sides.items():
            if (labels := images.labels()) is not None:
                arrays[f"labels/{side}"] = labels
        if sides["reference"] == sides["candidate"]:
            del sides["reference"]
        facts = {"kind": self._kind, "ids": sides, "metrics": metrics, "networks": backends}
        self._reset()
        return SuiteState(arrays, facts)

    def _reset(self) -> None:
        self._sides = {"reference": _Images(), "candidate": _Images()}
        self._failed.clear()
        self._pool.reset()
        for metric in self._pairs.values():
            metric.reset()

    def merge(self, state: SuiteState) -> None:
        """Add the images behind a state; its metrics must be those of this suite.

        A metric that is unavailable in one state is unavailable in all.

        Raises:
            DataError: an image is in two states, or the state is of another kind.
            UnavailableError: a metric is unavailable in the state, with ``strict``.
        """
        arrays, facts = state.arrays, state.facts
        if facts["kind"] != self._kind:
            raise DataError(f"the state is of {facts['kind']}, expected {self._kind}")
        for side, images in self._sides.items():
            labels = arrays.get(f"labels/{side}")
            ids = facts["ids"].get(side, facts["ids"]["candidate"])
            images.add_ids(ids, None if labels is None else labels.tolist())
        for key in self._infos:
            found = facts["metrics"].get(key, {})
            if reason := found.get("unavailable"):
                self._fail(key, UnavailableError(reason))
            elif metric := self._pairs.get(key):
                with self._contained(key):
                    self._merge_pairs(key, metric, found, state)
        prefix = "features/"
        features = {
            name.removeprefix(prefix): array
            for name, array in arrays.items()
            if name.startswith(prefix)
        }
        self._pool.merge(features, facts["networks"])

    def _merge_pairs(
        self, key: str, metric: PairMetric, found: Mapping[str, Any], state: SuiteState
    ) -> None:
        if not found:
            raise _absent(key)
        ours = self._backends.setdefault(key, found["backend"])
        if ours != found["backend"]:
            raise UnavailableError(mixed(key, ours, found["backend"]))
        metric.merge(
            {
                name: _decoded(
                    state.arrays[f"metrics/{key}/{name}"],
                    found["by_image"].get(name, state.facts["ids"]["candidate"])
                    if reduce == "by_image"
                    else None,
                )
                for name, reduce in metric.states.items()
            }
        )
        metric.backend = ours

    def compute(self) -> Scores:
        """Score all images so far; more cannot be added afterwards."""
        self._update(last=True)
        reference_cache.prune()
        values: dict[str, MetricValue] = {}
        per_image: dict[str, Mapping[str, float]] = {}
        for key, info in self._infos.items():
            if not self._reason(key):
                with self._contained(key):
                    values[key] = self._score(key)
                    if (metric := self._pairs.get(key)) and (scores := metric.per_image()):
                        per_image[key] = scores
            if reason := self._reason(key):
                n = len(self._sides["candidate"].ids)
                values[key] = MetricValue(None, n, info.higher_is_better, "", unavailable=reason)
        return Scores(values, per_image)

    def _reason(self, key: str) -> str:
        """Return why a metric has no score of the images so far; "" if it has one."""
        network = self._infos[key].network
        return (
            self._missing.get(key) or self._failed.get(key) or self._pool.failed.get(network) or ""
        )

    @contextmanager
    def _contained(self, key: str) -> Iterator[None]:
        """Make an error of one metric the reason why it is unavailable; all others go on."""
        try:
            with same_folder():
                yield
        except (Exception, SystemExit) as error:
            self._fail(key, error)

    def _fail(self, key: str, error: BaseException) -> None:
        """Note why a metric has no score.

        Raises:
            UserError: the same, with ``strict``.
        """
        reason = self._infos[key].failure(error)
        if self._strict:
            raise error if isinstance(error, UserError) else UnavailableError(reason) from error
        self._failed.setdefault(key, reason)

    def _score(self, key: str) -> MetricValue:
        if metric := self._pairs.get(key):
            return metric.compute()
        info = self._infos[key]
        stores = {side: self._pool.store(info.network, info.layer, side) for side in self._sides}
        if any(store.n != len(self._sides[side].ids) for side, store in stores.items()):
            raise _absent(key)
        features = FeatureSets(
            tuple(self._sides["candidate"].ids),
            stores["reference"],
            stores["candidate"],
            self._pool.backends[info.network],
            paired=self._kind == "pairs",
            published=self._moments.of(info, stores["candidate"].dims) if self._moments else None,
            labels=self._sides["candidate"].labels(),
            reference_labels=self._sides["reference"].labels(),
        )
        return self._distributions[key].compute(features, self._intervals)

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
            for key, metric in self._pairs.items():
                if not self._reason(key):
                    given = on_device
                    if not metric.on_device:
                        given = references.cpu(), reconstructions.cpu()
                    with self._contained(key):
                        metric.update(ids, *given)
            self._pool.add("reference", on_device[0], hashes)
            self._pool.add("candidate", on_device[1])

    def _moved(self, images: Tensor) -> Tensor:
        return images.to(self.device, non_blocking=True)


def _absent(key: str) -> UnavailableError:
    return UnavailableError(f"{key} is not in every chunk: compute all of them with it")


def _encoded(
    states: Mapping[str, Any], ids: Sequence[str]
) -> tuple[dict[str, NDArray[Any]], dict[str, list[str]]]:
    """Return states as arrays, and the ids behind one where they are not those of all images."""
    arrays, by_image = {}, {}
    for name, value in states.items():
        if isinstance(value, dict):
            arrays[name] = np.array(list(value.values()), np.float64)
            if list(value) != ids:
                by_image[name] = list(value)
        else:
            arrays[name] = value
    return arrays, by_image


def _decoded(array: NDArray[Any], ids: Sequence[str] | None) -> Any:
    return array if ids is None else dict(zip(ids, array.tolist(), strict=True))
