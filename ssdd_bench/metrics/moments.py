"""Fréchet distances between two sets of feature vectors, from float64 moments.

Heusel et al. 2017: ``|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))``, the squared distance of the
Gaussians with the sets' means and covariances. The root is taken by symmetric eigenvalues, which
is several times faster than a general matrix root and more exact on few samples.

torchmetrics' class resizes with antialiasing unless told otherwise and casts the distance to
float32; torch-fidelity's keeps all features in memory. So the networks are theirs, and the
moments and the distance ours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ssdd_bench.errors import DataError

Array = NDArray[np.float64]

NEGLIGIBLE = 1e-15
"""Eigenvalues up to this fraction of the largest are rounding errors of zero."""

PUBLISHED_N = 50_000  # images behind published moments, whose files do not tell


class Moments:
    """Sums of feature vectors (dims,).

    Up to ``dims`` vectors are kept themselves too: with so few, the distance is exact without a
    root of a singular matrix.
    """

    def __init__(self, dims: int) -> None:
        self.dims = dims
        self.n = 0
        self.sum: Array = np.zeros(dims)
        self.outer: Array = np.zeros((dims, dims))
        self._vectors: list[Array] | None = []

    def update(self, features: NDArray[np.floating]) -> None:
        """Add vectors (N, dims)."""
        vectors = np.asarray(features, dtype=np.float64)
        self.n += len(vectors)
        self.sum += vectors.sum(axis=0)
        self.outer += vectors.T @ vectors
        if self._vectors is not None:
            self._vectors.append(vectors)
            if self.n > self.dims:
                self._vectors = None

    def without(self, other: Moments) -> Moments:
        """Subtract a part of the set; the vectors are not kept."""
        rest = Moments(self.dims)
        rest.n = self.n - other.n
        rest.sum = self.sum - other.sum
        rest.outer = self.outer - other.outer
        rest._vectors = None
        return rest

    @property
    def mean(self) -> Array:
        """Mean (dims,)."""
        return self.sum / self.n

    @property
    def covariance(self) -> Array:
        """Unbiased covariance (dims, dims)."""
        mean = self.mean
        covariance: Array = (self.outer - self.n * np.outer(mean, mean)) / (self.n - 1)
        return covariance

    @property
    def centred_vectors(self) -> Array | None:
        """Vectors less their mean, (n, dims); None if there are more than ``dims``."""
        return np.concatenate(self._vectors) - self.mean if self._vectors else None


def moments_of(features: NDArray[np.floating]) -> Moments:
    """Return the moments of vectors (N, dims)."""
    moments = Moments(features.shape[1])
    moments.update(features)
    return moments


def root_trace(a: Array, b: Array) -> float:
    """Compute the trace of the root of ``a @ b``, both symmetric and positive semi-definite."""
    try:
        half = np.linalg.cholesky(a)  # takes a tenth of the time of eigenvalues
    except np.linalg.LinAlgError:  # singular
        values, vectors = np.linalg.eigh(a)
        values[values <= NEGLIGIBLE * values[-1]] = 0
        half = vectors * np.sqrt(values)
    product = half.T @ b @ half
    roots = np.linalg.eigvalsh((product + product.T) / 2)
    roots[roots <= NEGLIGIBLE * roots[-1]] = 0
    return float(np.sqrt(roots).sum())


def frechet_distance(a: Moments, b: Moments) -> float:
    """Compute the squared distance of two sets of at least two vectors each."""
    if min(a.n, b.n) < 2:
        raise DataError("a Fréchet distance needs at least two images on each side")
    offset = a.mean - b.mean
    x, y = a.centred_vectors, b.centred_vectors
    if x is not None and y is not None:
        first, second = x / np.sqrt(len(x) - 1), y / np.sqrt(len(y) - 1)
        # Singular values of the cross Gram matrix are those of the product's root.
        root = float(np.linalg.svd(first @ second.T, compute_uv=False).sum())
        total = float((first**2).sum() + (second**2).sum())
    else:
        first, second = a.covariance, b.covariance
        root = root_trace(first, second)
        total = float(np.trace(first) + np.trace(second))
    return max(0.0, float(offset @ offset) + total - 2 * root)


class PublishedMoments(Moments):
    """Mean and covariance as a file holds them, without the vectors behind them."""

    def __init__(self, mean: Array, covariance: Array) -> None:
        super().__init__(len(mean))
        self.n = PUBLISHED_N
        self._arrays = mean, covariance
        self._vectors = None

    @property
    def mean(self) -> Array:
        """Mean (dims,)."""
        return self._arrays[0]

    @property
    def covariance(self) -> Array:
        """Covariance (dims, dims)."""
        return self._arrays[1]
