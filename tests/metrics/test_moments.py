"""Moments of parts add up to those of the whole, and take the same memory for any number."""

import tracemalloc

import numpy as np
import pytest

from ssdd_bench.errors import DataError, UnavailableError
from ssdd_bench.metrics.features.files import BLOCK, FeatureStore
from ssdd_bench.metrics.moments import Moments, moments_of

DIMS = 32


def rows(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, DIMS)).astype(np.float32)


@pytest.mark.parametrize("few", [True, False])
@pytest.mark.parametrize("sizes", [(5, 7), (20, 20), (100, 3), (3, 100), (10, 10, 10, 10)])
def test_parts_add_up(sizes, few):
    parts = [rows(n, seed) for seed, n in enumerate(sizes)]
    total = Moments(DIMS, few)
    for part in parts:
        total.add(moments_of(part))
    whole = np.concatenate(parts).astype(np.float64)
    assert total.n == len(whole)
    np.testing.assert_allclose(total.mean, whole.mean(axis=0), atol=1e-14)
    np.testing.assert_allclose(total.covariance, np.cov(whole.T), atol=1e-13)
    kept = few and len(whole) <= DIMS
    assert (total.centred_vectors is not None) == kept


def test_what_is_added_stays_as_it_was():
    total, part = moments_of(rows(50)), moments_of(rows(40, 1))
    before = part.products.copy(), part.sum.copy()
    total.add(part)
    total.update(rows(3))
    np.testing.assert_array_equal(part.products, before[0])
    np.testing.assert_array_equal(part.sum, before[1])


def test_sums_are_symmetric_and_restored():
    made = moments_of(rows(50))
    again = Moments.of_sums(made.n, made.sum, made.products)
    np.testing.assert_array_equal(again.covariance, made.covariance)
    np.testing.assert_array_equal(made.covariance, made.covariance.T)


@pytest.mark.parametrize("n", [4, DIMS, DIMS + 1, 2 * BLOCK + 5])
@pytest.mark.parametrize("kept", [False, True])
def test_a_store_restored_from_its_state(n, kept):
    store = FeatureStore(DIMS, kept)
    for start in range(0, n, 64):
        store.append(rows(n)[start : start + 64])
    other = FeatureStore(DIMS, kept)
    other.merge(store.state())
    assert other.n == n
    np.testing.assert_allclose(other.moments().covariance, np.cov(rows(n).T), atol=1e-6)
    if kept:
        np.testing.assert_array_equal(other.rows(), rows(n))
    else:
        with pytest.raises(UnavailableError, match="needs_rows"):
            other.rows()


def test_rows_that_were_not_kept_are_named():
    store = FeatureStore(DIMS)
    store.append(rows(100))
    with pytest.raises(DataError, match="not kept"):
        FeatureStore(DIMS, keep_rows=True).merge(store.state())


def test_memory_does_not_grow_with_the_images():
    def peak(n):
        part = rows(64)
        store = FeatureStore(DIMS)
        tracemalloc.start()
        for _ in range(n // 64):
            store.append(part)
        store.state()
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(6400)
    assert peak(64_000) < 1.03 * peak(6400) + 1000
