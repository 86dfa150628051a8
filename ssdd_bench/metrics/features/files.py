"""Feature vectors on disk, and the two sets of them that a metric compares.

Rows of float32 go to files, so memory does not grow with the number of images; means and
covariances are summed in float64 from those rows, in the order of the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssdd_bench.data.source import hash_id
from ssdd_bench.errors import DataError
from ssdd_bench.metrics.moments import Moments

CHUNK = 2048  # rows in memory at a time


class FeatureFile:
    """A growing file with one row (dims,) of float32 per image."""

    def __init__(self, path: Path, dims: int) -> None:
        self.path = path
        self.dims = dims
        self.n = 0
        path.write_bytes(b"")
        self._moments: Moments | None = None

    def append(self, rows: NDArray[np.float32]) -> None:
        """Add rows (N, dims); ``DataError`` if one is not finite."""
        if rows.ndim != 2 or rows.shape[1] != self.dims:
            raise ValueError(f"features of shape {rows.shape}, expected (N, {self.dims})")
        if not np.isfinite(rows).all():
            raise DataError("a feature vector is not finite")
        with self.path.open("ab") as file:
            file.write(np.ascontiguousarray(rows, dtype=np.float32).tobytes())
        self.n += len(rows)
        self._moments = None

    def rows(self) -> NDArray[np.float32]:
        """Map all rows (n, dims) from the file; they are not read before they are used."""
        if not self.n:
            return np.zeros((0, self.dims), np.float32)
        return np.memmap(self.path, np.float32, mode="r", shape=(self.n, self.dims))

    def tensor(self) -> Tensor:
        """Read all rows (n, dims) into memory."""
        return torch.from_numpy(np.array(self.rows()))

    def moments(self) -> Moments:
        """Return mean and covariance, summed once for all metrics."""
        if self._moments is None:
            self._moments = Moments(self.dims)
            rows = self.rows()
            for start in range(0, self.n, CHUNK):
                self._moments.update(rows[start : start + CHUNK])
        return self._moments


@dataclass(frozen=True)
class FeatureSets:
    """Features of references and of the candidates that a metric compares with them.

    Attributes:
        ids: of the candidates.
        reference: features of the references.
        candidate: features of reconstructions or samples, in the order of ``ids``.
        backend: of the network.
        paired: each candidate is the reconstruction of the reference in the same row.
        published: moments of the reference that replace its images, if any.
        labels: class (n,) of each candidate, counted from 0, if known.
        reference_labels: class of each reference, if known.
    """

    ids: Sequence[str]
    reference: FeatureFile
    candidate: FeatureFile
    backend: str
    paired: bool = True
    published: Moments | None = None
    labels: NDArray[np.int64] | None = None
    reference_labels: NDArray[np.int64] | None = None

    @property
    def reference_n(self) -> int:
        """Return the number of images behind the reference."""
        return self.published.n if self.published else self.reference.n

    def reference_moments(self) -> Moments:
        """Return the published moments, or those of the reference images."""
        return self.published or self.reference.moments()

    def order(self) -> NDArray[np.int64]:
        """Return row numbers of candidates in random order, by a hash of their ids."""
        hashes = [hash_id(name) for name in self.ids]
        return np.array(sorted(range(len(hashes)), key=hashes.__getitem__), dtype=np.int64)
