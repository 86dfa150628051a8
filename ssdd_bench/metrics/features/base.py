"""Feature vectors of images, computed once per image and kept on disk for every metric.

Rows of float32 go to files, so memory does not grow with the number of images; means and
covariances are summed in float64 from those rows, in the order of the images.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssdd_bench.errors import DataError, UnknownNameError
from ssdd_bench.metrics.features.cache import ReferenceCache
from ssdd_bench.metrics.frechet import Moments

CHUNK = 2048  # rows in memory at a time


class Extractor(ABC):
    """A network that turns images into features.

    Attributes:
        taps: outputs by name, with their lengths.
        backend: library and version, and the weights' hash.
    """

    taps: ClassVar[Mapping[str, int]]
    backend: str

    @abstractmethod
    def __call__(self, images: Tensor) -> dict[str, NDArray[np.float32]]:
        """Features (B, length) by tap, of images uint8 (B, 3, H, W)."""


EXTRACTORS: Mapping[str, str] = {
    "effnet": "effnet:EffNetFeatures",
    "inception": "inception:InceptionFeatures",
    "dinov2_vitl14": "dinov2:DINOv2Features",
}
"""``module:class`` in this package; the class takes the device."""


def make_extractor(key: str, device: torch.device) -> Extractor:
    """Load a network.

    Raises:
        UnknownNameError: no such extractor.
        UnavailableError: its weights or its package are not on this machine.
        WeightsError: its weights are not what their publisher released.
    """
    if key not in EXTRACTORS:
        raise UnknownNameError("feature extractor", key, EXTRACTORS)
    module, name = EXTRACTORS[key].split(":")
    made: Extractor = getattr(import_module(f"ssdd_bench.metrics.features.{module}"), name)(device)
    return made


class FeatureFile:
    """One row of float32 per image, in a file that grows.

    Args:
        path: of the file, which is created or emptied.
        dims: length of a row.
    """

    def __init__(self, path: Path, dims: int) -> None:
        self.path = path
        self.dims = dims
        self.n = 0
        path.write_bytes(b"")
        self._moments: Moments | None = None

    def append(self, rows: NDArray[np.float32]) -> None:
        """Add rows (N, dims); ``DataError`` where one is not finite."""
        if rows.ndim != 2 or rows.shape[1] != self.dims:
            raise ValueError(f"features of shape {rows.shape}, not (N, {self.dims})")
        if not np.isfinite(rows).all():
            raise DataError("a feature vector is not finite")
        with self.path.open("ab") as file:
            file.write(np.ascontiguousarray(rows, dtype=np.float32).tobytes())
        self.n += len(rows)
        self._moments = None

    def rows(self) -> NDArray[np.float32]:
        """All rows (n, dims), mapped from the file and not read before they are used."""
        if not self.n:
            return np.zeros((0, self.dims), np.float32)
        return np.memmap(self.path, np.float32, mode="r", shape=(self.n, self.dims))

    def chunks(self) -> Iterator[NDArray[np.float32]]:
        """The rows in order, a bounded number at a time."""
        rows = self.rows()
        for start in range(0, self.n, CHUNK):
            yield rows[start : start + CHUNK]

    def moments(self) -> Moments:
        """Mean and covariance, summed once however many metrics ask."""
        if self._moments is None:
            self._moments = Moments(self.dims)
            for chunk in self.chunks():
                self._moments.update(chunk)
        return self._moments


@dataclass(frozen=True)
class FeaturePairs:
    """What a metric of sets is computed from.

    Attributes:
        ids: of the images.
        reference: features of the originals, in the order of ``ids``.
        reconstruction: of their reconstructions, in the same order.
        backend: of the network.
    """

    ids: Sequence[str]
    reference: FeatureFile
    reconstruction: FeatureFile
    backend: str

    def order(self) -> NDArray[np.int64]:
        """Row numbers sorted by a hash of the ids: random, whatever the order of the images."""
        hashes = [
            hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest() for name in self.ids
        ]
        return np.array(sorted(range(len(hashes)), key=hashes.__getitem__), dtype=np.int64)


class FeaturePool:
    """Runs each network once over both sides of every pair, and keeps the features.

    Those of originals that were seen before come from the disk.

    Args:
        device: of the networks.
        folder: for the files.
    """

    SIDES = ("reference", "reconstruction")

    def __init__(self, device: torch.device, folder: Path) -> None:
        self._device = device
        self._folder = folder
        self._extractors: dict[str, Extractor] = {}
        self._caches: dict[str, ReferenceCache] = {}
        self._files: dict[tuple[str, str, str], FeatureFile] = {}

    def want(self, extractor: str, tap: str) -> None:
        """Keep this output from now on; errors as of :func:`make_extractor`."""
        if extractor not in self._extractors:
            made = make_extractor(extractor, self._device)
            self._extractors[extractor] = made
            self._caches[extractor] = ReferenceCache(made.backend, made.taps, self._device)
        dims = self._extractors[extractor].taps[tap]
        for side in self.SIDES:
            if (extractor, tap, side) not in self._files:
                path = self._folder / f"{extractor}-{tap}-{side}.f32"
                self._files[extractor, tap, side] = FeatureFile(path, dims)

    def update(self, reference: Tensor, reconstruction: Tensor) -> None:
        """Add the features of pairs, uint8 (B, 3, H, W)."""
        for key, extractor in self._extractors.items():
            cache = self._caches[key]
            known = cache.read(reference)
            originals = extractor(reference) if known is None else known
            if known is None:
                cache.write(reference, originals)
            for side, found in zip(self.SIDES, (originals, extractor(reconstruction)), strict=True):
                for tap, rows in found.items():
                    if (key, tap, side) in self._files:
                        self._files[key, tap, side].append(rows)

    def pairs(self, extractor: str, tap: str, ids: Sequence[str]) -> FeaturePairs:
        """Features of both sides, of the images ``ids`` in the order of their coming."""
        reference, reconstruction = (self._files[extractor, tap, side] for side in self.SIDES)
        return FeaturePairs(ids, reference, reconstruction, self._extractors[extractor].backend)
