"""Fréchet distances between two sets of feature vectors, from float64 moments.

Heusel et al. 2017: ``|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))``, the squared distance of the
Gaussians with the sets' means and covariances. The root is taken by factors and symmetric
eigenvalues, which is several times faster than a general matrix root and more exact.

torchmetrics' class resizes with antialiasing unless told otherwise and casts the distance to
float32; torch-fidelity's keeps all features in memory. So the networks are theirs, and the
moments and the distance ours. Moments of chunks of images add up to those of all.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ssdd_bench.errors import DataError

Array = NDArray[np.float64]

PUBLISHED_N = 50_000  # images behind published moments, whose files do not tell


class Moments:
    """Number, sum and sum of outer products of feature vectors (dims,), in float64.

    Up to ``dims`` vectors are kept in place of their products: with so few on both sides, the
    distance is exact without a root of a singular matrix, and they take less room.

    Args:
        dims: length of a vector.
        keep_few: False keeps no vectors; for sets that are known to have more of them.
    """

    def __init__(self, dims: int, keep_few: bool = True) -> None:
        self.dims = dims
        self.n = 0
        self.sum: Array = np.zeros(dims)
        self._products: Array | None = None  # upper triangle, row by row
        self._vectors: list[NDArray[np.floating]] | None = [] if keep_few else None

    @classmethod
    def of_sums(cls, n: int, total: Array, products: Array) -> Moments:
        """Restore moments from :attr:`n`, :attr:`sum` and :attr:`products`, without a copy."""
        made = cls(len(total), keep_few=False)
        made.n, made.sum, made._products = n, total, products
        return made

    def update(self, features: NDArray[np.floating]) -> None:
        """Add vectors (N, dims)."""
        self.n += len(features)
        self.sum += features.sum(axis=0, dtype=np.float64)
        if self._vectors is None:
            self._products = _plus_products(self._products, features)
        else:
            self._vectors.append(features)
            self._keep_few()

    def add(self, other: Moments) -> None:
        """Add other vectors; sums of the same parts in the same order are equal to the bit."""
        self.n += other.n
        self.sum += other.sum
        if self._vectors is not None and other._vectors is not None:
            self._vectors += other._vectors
            self._keep_few()
        else:
            products = self.products
            products += other.products
            self._products, self._vectors = products, None

    def without(self, other: Moments) -> Moments:
        """Subtract a part of the set; the vectors are not kept."""
        return Moments.of_sums(
            self.n - other.n, self.sum - other.sum, self.products - other.products
        )

    def _keep_few(self) -> None:
        """Replace vectors by their products if there are more than ``dims``."""
        if self.n > self.dims:
            self._products, self._vectors = self.products, None

    @property
    def products(self) -> Array:
        """Upper triangle of the sum of outer products, row by row: (dims * (dims + 1) / 2,)."""
        found = self._products
        for vectors in self._vectors or ():
            found = _plus_products(found, vectors)
        return np.zeros(self.dims * (self.dims + 1) // 2) if found is None else found

    @property
    def vectors(self) -> NDArray[np.floating] | None:
        """All vectors (n, dims); None if there are more than ``dims`` or they are not kept."""
        if self._vectors is None:
            return None
        return np.concatenate(self._vectors) if self._vectors else np.zeros((0, self.dims))

    @property
    def mean(self) -> Array:
        """Mean (dims,)."""
        return self.sum / self.n

    @property
    def covariance(self) -> Array:
        """Unbiased covariance (dims, dims)."""
        mean = self.mean
        products = _unpacked(self.products, self.dims)
        covariance: Array = (products - self.n * np.outer(mean, mean)) / (self.n - 1)
        return covariance

    @property
    def centred_vectors(self) -> Array | None:
        """Vectors less their mean, (n, dims); None if there are more than ``dims``."""
        vectors = self.vectors
        return None if vectors is None else vectors - self.mean


def _plus_products(total: Array | None, features: NDArray[np.floating]) -> Array:
    """Add the outer products of vectors (N, dims) to an upper triangle, in place."""
    vectors = np.asarray(features, dtype=np.float64)
    products = vectors.T @ vectors
    dims = len(products)
    if total is None:
        total = np.zeros(dims * (dims + 1) // 2)
    for row, part in enumerate(_rows(total, dims)):
        part += products[row, row:]
    return total


def _unpacked(triangle: Array, dims: int) -> Array:
    """Return the symmetric matrix (dims, dims) of an upper triangle."""
    full = np.empty((dims, dims))
    for row, part in enumerate(_rows(triangle, dims)):
        full[row, row:] = part
        full[row:, row] = part
    return full


def _rows(triangle: Array, dims: int) -> Iterator[Array]:
    """Yield views of the rows of an upper triangle; a loop over them beats an index of pairs."""
    start = 0
    for row in range(dims):
        stop = start + dims - row
        yield triangle[start:stop]
        start = stop


def moments_of(features: NDArray[np.floating]) -> Moments:
    """Return the moments of vectors (N, dims)."""
    moments = Moments(features.shape[1])
    moments.update(features)
    return moments


def root_trace(a: Array, b: Array) -> float:
    """Compute the trace of the root of ``a @ b``, both symmetric and positive semi-definite.

    It is the sum of the singular values of the product of two factors. Only factors are cut to
    their rank: small eigenvalues of ``a @ b`` itself are no rounding errors, since it squares
    the values, and without them small distances are wrong by up to several times their size.
    """
    varying = (a.diagonal() > 0) & (b.diagonal() > 0)  # Constant features add nothing.
    if not varying.any():
        return 0.0
    if not varying.all():
        a, b = (x[np.ix_(varying, varying)] for x in (a, b))
    first, second = sorted((_factor(a), _factor(b)), key=lambda factor: factor.shape[1])
    product = first.T @ second
    if second.shape[1] < len(b):  # Both are singular, and so may their product be.
        return float(np.linalg.svd(product, compute_uv=False).sum())
    roots = np.linalg.eigvalsh(product @ product.T)  # takes a third of the time of an SVD
    return float(np.sqrt(roots.clip(0)).sum())


def _factor(a: Array) -> Array:
    """Return a matrix (dims, rank) whose product with its transpose is ``a``.

    By a pivoted Cholesky decomposition, whose columns fall in size: eigenvalues of products of
    such matrices are accurate far below the largest one.
    """
    from scipy.linalg.lapack import dpstrf

    lower, pivots, rank, _ = dpstrf(a, lower=1)  # cut at dims * epsilon of the largest pivot
    factor = np.empty((len(a), rank))
    factor[pivots - 1] = np.tril(lower)[:, :rank]
    return factor


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
        super().__init__(len(mean), keep_few=False)
        self.n = PUBLISHED_N
        self._arrays = mean, covariance

    @property
    def mean(self) -> Array:
        """Mean (dims,)."""
        return self._arrays[0]

    @property
    def covariance(self) -> Array:
        """Covariance (dims, dims)."""
        return self._arrays[1]
