"""Features of sets of images: their moments, and where a metric needs them the vectors in a file.

Memory does not grow with the number of images. Moments are summed in float64, in blocks of rows in
the order of the images.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile, gettempdir
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssdd_bench.data.source import hash_id
from ssdd_bench.errors import DataError, OutputError, UnavailableError
from ssdd_bench.metrics.moments import Moments

BLOCK = 512
"""Rows whose outer products are added at a time; one by one they would cost more."""


class FeatureStore:
    """Features of a growing set of images, one row (dims,) of float32 per image.

    Args:
        dims: length of a row.
        keep_rows: True keeps the rows in a file without a name, which no crash leaves behind; False
            keeps their moments only.
        keep_few: see :class:`ssdd_bench.metrics.moments.Moments`.

    Attributes:
        n: number of rows.
    """

    def __init__(self, dims: int, keep_rows: bool = False, keep_few: bool = True) -> None:
        self.dims = dims
        self.n = 0
        self._file = TemporaryFile() if keep_rows else None  # noqa: SIM115
        self._moments = Moments(dims, keep_few)
        self._waiting: list[NDArray[np.float32]] = []
        if self._file is not None:
            weakref.finalize(self, self._file.close)

    def append(self, rows: NDArray[np.float32]) -> None:
        """Add rows (N, dims).

        Raises:
            DataError: a row is not finite.
            OutputError: the file cannot be written.
        """
        rows = self._checked(rows)
        self._write(rows)
        self.n += len(rows)
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= BLOCK:
            self.moments()

    def rows(self) -> NDArray[np.float32]:
        """Map all rows (n, dims) from the file; they are not read before they are used.

        Raises:
            UnavailableError: they were not kept.
        """
        return self._mapped("r")

    def tensor(self) -> Tensor:
        """Map all rows, as :meth:`rows` does, as a tensor."""
        return torch.from_numpy(self._mapped("c"))  # A tensor is never read-only.

    def _mapped(self, mode: Literal["r", "c"]) -> NDArray[np.float32]:
        if self._file is None:
            raise UnavailableError(
                "the features of single images are not kept: set needs_rows = True in the class"
            )
        if not self.n:
            return np.zeros((0, self.dims), np.float32)
        return np.asarray(np.memmap(self._file, np.float32, mode, shape=(self.n, self.dims)))

    def moments(self) -> Moments:
        """Return mean and covariance."""
        if self._waiting:
            self._moments.update(np.concatenate(self._waiting))
            self._waiting.clear()
        return self._moments

    def state(self) -> dict[str, NDArray[Any]]:
        """Return arrays that stand for all rows: ``rows``, or ``n``, ``sum`` and ``products``.

        Few rows stand for themselves; more do as well where they are kept.
        """
        moments = self.moments()
        if moments.vectors is not None:
            return {"rows": np.asarray(moments.vectors, np.float32)}
        found: dict[str, NDArray[Any]] = {
            "n": np.array(self.n, np.int64),
            "sum": moments.sum,
            "products": moments.products,
        }
        return found if self._file is None else {**found, "rows": self.rows()}

    def merge(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Add the rows that :meth:`state` of another store stands for.

        Raises:
            DataError: rows are kept here and were not there.
        """
        if "rows" not in state and self._file is not None:
            raise DataError("features of single images were not kept: run again with intervals")
        if "products" in state:
            part = Moments.of_sums(int(state["n"]), state["sum"], state["products"])
        else:
            part = Moments(self.dims)
            part.update(self._checked(state["rows"]))
        self.moments().add(part)
        self.n += part.n
        if "rows" in state:
            self._write(self._checked(state["rows"]))

    def _checked(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        if rows.ndim != 2 or rows.shape[1] != self.dims:
            raise ValueError(f"features of shape {rows.shape}, expected (N, {self.dims})")
        if not np.isfinite(rows).all():
            raise DataError("a feature vector is not finite")
        return np.ascontiguousarray(rows, np.float32)

    def _write(self, rows: NDArray[np.float32]) -> None:
        if self._file is not None:
            try:
                self._file.seek(0, os.SEEK_END)
                rows.tofile(self._file)
                self._file.flush()
            except OSError as error:
                raise OutputError(
                    f"cannot write features into {gettempdir()}: {error.strerror or error}; "
                    "make room, or set TMPDIR to another folder"
                ) from error


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
    reference: FeatureStore
    candidate: FeatureStore
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
