"""Metrics of generated images, from the features of two sets that may differ in number."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssdd_bench.data.loader import iterate_batches
from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import DataError, UnavailableError
from ssdd_bench.evaluation.reference import PUBLISHED_N, PublishedMoments, Reference
from ssdd_bench.metrics.features.base import Extractor, FeatureFile, FeaturePairs, make_extractor
from ssdd_bench.metrics.features.cache import ReferenceCache
from ssdd_bench.metrics.frechet import Moments, frechet_distance
from ssdd_bench.metrics.generation import GENERATION_METRICS, INTRA
from ssdd_bench.metrics.inception_metrics import InceptionScore, Precision, Recall
from ssdd_bench.results.schema import MetricValue
from ssdd_bench.weights.files import sha256_file

GROUP = 64  # images given to a network at a time
MOMENTS = {"gfid": ("mu", "sigma"), "sfid": ("mu_s", "sigma_s")}


class GenerationScorer:
    """Features of both sides on disk, and the metrics from them."""

    def __init__(
        self,
        keys: Sequence[str],
        reference: Reference,
        device: torch.device,
        folder: Path,
        strict: bool,
    ) -> None:
        self._keys = keys
        self._reference = reference
        self._device = device
        self._folder = folder
        self._extractors: dict[str, Extractor] = {}
        self._unavailable: dict[str, str] = {}
        self._files: dict[tuple[str, str, str], FeatureFile] = {}
        for key in keys:
            try:
                self._make(key)
            except UnavailableError as error:
                if strict:
                    raise
                self._unavailable[key] = str(error)

    def _make(self, key: str) -> None:
        moments, images = self._reference.moments, self._reference.images
        if moments and key in MOMENTS and MOMENTS[key][0] not in moments:
            raise UnavailableError(f"{self._reference.path.name} holds no {MOMENTS[key][0]}")
        network, tap = GENERATION_METRICS[key].network, GENERATION_METRICS[key].tap
        if moments and network != "inception":
            raise UnavailableError(
                f"{self._reference.path.name} holds statistics of Inception alone: give a folder "
                "of images as the reference"
            )
        if key in ("precision", "recall") and images is None:
            raise UnavailableError(f"{self._reference.path.name} holds no images (arr_0)")
        if network not in self._extractors:
            self._extractors[network] = make_extractor(network, self._device)
        for side in ("samples", "reference"):
            if (network, tap, side) not in self._files:
                path = self._folder / f"{network}-{tap}-{side}.f32"
                dims = self._extractors[network].taps[tap]
                self._files[network, tap, side] = FeatureFile(path, dims)

    def add_samples(
        self, samples: ImageSource, resolution: int, on_images: Callable[[int], None]
    ) -> None:
        """Features of the samples, as they are."""
        for group in _groups(samples, resolution):
            for name, extractor in self._extractors.items():
                self._append(name, "samples", extractor(group))
            on_images(len(group))

    def add_reference(self, resolution: int, on_images: Callable[[int], None]) -> str:
        """Features of the reference's ADM crops; returns the hash of pixels or of the moments."""
        images = self._reference.images
        digest = hashlib.sha256()
        caches = {
            name: ReferenceCache(one.backend, one.taps, self._device)
            for name, one in self._extractors.items()
        }
        if images is not None:
            for batch in iterate_batches(images, resolution, "adm", GROUP, strict=True):
                digest.update(batch.images.numpy().tobytes())
                for name, extractor in self._extractors.items():
                    found = caches[name].read(batch.images)
                    if found is None:
                        found = extractor(batch.images)
                        caches[name].write(batch.images, found)
                    self._append(name, "reference", found)
                on_images(len(batch))
        moments = self._reference.moments
        return sha256_file(self._reference.path) if moments else digest.hexdigest()

    def values(
        self, samples: ImageSource, labels: NDArray[np.int64] | None, classes: Sequence[str]
    ) -> dict[str, MetricValue]:
        """Every metric, in the order asked for.

        Args:
            samples: as added.
            labels: of the samples, where known.
            classes: names of the labels, where known.
        """
        names = sorted(set(self._reference.classes))
        if classes and names and names != list(classes):
            labels = None
        found = {}
        for key in self._keys:
            higher = GENERATION_METRICS[key].higher_is_better
            try:
                if key in self._unavailable:
                    raise UnavailableError(self._unavailable[key])
                found[key] = self._value(key, samples, labels)
            except UnavailableError as error:
                found[key] = MetricValue(None, len(samples), higher, "", unavailable=str(error))
        return found

    def _value(
        self, key: str, samples: ImageSource, labels: NDArray[np.int64] | None
    ) -> MetricValue:
        network, tap = GENERATION_METRICS[key].network, GENERATION_METRICS[key].tap
        ours, theirs = (self._files[network, tap, side] for side in ("samples", "reference"))
        backend = self._extractors[network].backend
        pairs = FeaturePairs(samples.ids, theirs, ours, backend)
        if key == "isc":
            return InceptionScore().compute(replace(pairs, reference=ours))
        if key in ("precision", "recall"):
            value = (Precision if key == "precision" else Recall)().compute(pairs)
            return replace(value, n=ours.n)
        if key == INTRA:
            value_, least = intra_distance(ours, theirs, labels, self._reference.classes)
            warning = f"mean over classes; the smallest has {least} samples"
            return MetricValue(value_, ours.n, False, backend, warning=warning)
        other = self._moments(key) if self._reference.moments else theirs.moments()
        if min(ours.n, other.n) < 2:
            raise UnavailableError("needs at least two images on each side: give more")
        return MetricValue(
            frechet_distance(ours.moments(), other),
            ours.n,
            False,
            backend,
            warning="; ".join(_warnings(key, ours, other.n)),
        )

    def _moments(self, key: str) -> Moments:
        mean, covariance = (self._reference.moments[name] for name in MOMENTS[key])
        info = GENERATION_METRICS[key]
        dims = self._files[info.network, info.tap, "samples"].dims
        if len(mean) != dims:
            raise UnavailableError(
                f"{self._reference.path.name} has moments of {len(mean)} features, not of {dims}"
            )
        return PublishedMoments(mean, covariance)

    def _append(self, name: str, side: str, found: Mapping[str, NDArray[np.float32]]) -> None:
        for tap, rows in found.items():
            if (name, tap, side) in self._files:
                self._files[name, tap, side].append(rows)


def intra_distance(
    samples: FeatureFile,
    reference: FeatureFile,
    labels: NDArray[np.int64] | None,
    classes: Sequence[str],
) -> tuple[float, int]:
    """Mean over classes of the Fréchet distance between samples and images of one class.

    It sees whether a sample belongs to the class it was asked for, which distances of whole sets
    do not.

    Args:
        samples: features, in the order of ``labels``.
        reference: features, in the order of ``classes``.
        labels: of the samples; numbers of the sorted class names.
        classes: class name of each reference image.

    Returns:
        The distance, and the number of samples in the smallest class.

    Raises:
        UnavailableError: labels are missing, or a class has fewer than two images on a side.
    """
    if labels is None or not classes:
        raise UnavailableError(
            "needs labels: arr_1 in the samples' npz, and the same classes as folders in the "
            "reference"
        )
    names = sorted(set(classes))
    if int(labels.max()) >= len(names):
        raise UnavailableError(
            f"samples have labels up to {int(labels.max())} and the reference {len(names)} "
            "classes: give the reference of the same classes"
        )
    of_image = np.array([names.index(name) for name in classes])
    ours, theirs = samples.rows(), reference.rows()
    distances, least = [], len(ours)
    for label in range(len(names)):
        one, other = Moments(samples.dims), Moments(samples.dims)
        one.update(ours[labels == label])
        other.update(theirs[of_image == label])
        if min(one.n, other.n) < 2:
            raise UnavailableError(f"class '{names[label]}' has fewer than two images on a side")
        least = min(least, one.n)
        distances.append(frechet_distance(one, other))
    return math.fsum(distances) / len(distances), least


def _groups(samples: ImageSource, resolution: int) -> Iterator[Tensor]:
    """Samples as they are, uint8 (B, 3, side, side), in order."""
    for start in range(0, len(samples), GROUP):
        images = []
        for image_id in samples.ids[start : start + GROUP]:
            image = samples.read_named(image_id)
            if image.size != (resolution, resolution):
                raise DataError(
                    f"{samples.name}: {image_id} has {image.width} x {image.height} px, not "
                    f"{resolution} x {resolution}: samples are scored at one size, without a crop"
                )
            images.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
        yield torch.stack(images)


def _warnings(key: str, ours: FeatureFile, references: int) -> Iterator[str]:
    least = min(ours.n, references)
    if least <= ours.dims:
        yield (
            f"{least} images for {ours.dims} features: the covariance is singular and the value "
            "mostly the number of images'"
        )
    if ours.n < PUBLISHED_N:
        yield (
            f"{key}@{ours.n}: biased upwards and not comparable with values of {PUBLISHED_N:,} "
            "samples; compare only rows of as many samples and the same reference"
        )
