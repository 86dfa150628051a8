"""Intervals that hold what they say, and the distance at endless images."""

from dataclasses import replace

import numpy as np
import pytest
from feature_sets import feature_sets

from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.metrics.frechet import frechet_at_infinity, moments_without
from ssdd_bench.metrics.intervals import GROUPS, NORMAL_95, bootstrap, jackknife_interval
from ssdd_bench.metrics.moments import Moments, frechet_distance

DIMS = 8


def pairs(n, seed, noise=0.5, dims=DIMS):
    """Gaussian features and reconstructions of the same images."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, dims)) * np.arange(1, dims + 1) ** -0.5
    y = 0.9 * x + noise * rng.normal(size=x.shape) + 0.1
    return feature_sets(x, y)


def distance(features):
    return frechet_distance(features.reference.moments(), features.candidate.moments())


def truth():
    spectrum = np.arange(1, DIMS + 1) ** -1.0
    other = 0.81 * spectrum + 0.25
    return DIMS * 0.1**2 + np.square(np.sqrt(spectrum) - np.sqrt(other)).sum()


@pytest.mark.slow
def test_the_mean_is_in_the_interval_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(100):
        low, high = bootstrap(rng.exponential(size=80))
        hits += low <= 1 <= high
    assert 87 <= hits <= 99


@pytest.mark.medium
def test_large_sets_are_quick():
    import time

    started = time.perf_counter()
    low, high = bootstrap(np.random.default_rng(0).normal(size=50_000))
    assert time.perf_counter() - started < 10
    assert high - low == pytest.approx(2 * NORMAL_95 / 50_000**0.5, rel=0.1)


def jackknife(features, value):
    def without(rows):
        sides = (features.reference, features.candidate)
        return frechet_distance(*(moments_without(side, rows) for side in sides))

    return jackknife_interval(without, features.order(), value)


def jackknife_error(features):
    low, high = jackknife(features, distance(features) + 10)  # far from the floor at 0
    return (high - low) / (2 * NORMAL_95)


def bootstrap_mean(features):
    """The known mistake: images drawn with replacement."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(40):
        rows = rng.integers(0, features.reference.n, features.reference.n)
        sides = []
        for file in (features.reference, features.candidate):
            moments = Moments(DIMS)
            moments.update(file.rows()[rows])
            sides.append(moments)
        found.append(frechet_distance(*sides))
    return np.mean(found)


@pytest.mark.medium
def test_jackknife_error_is_the_spread_over_sets():
    every = [pairs(400, seed) for seed in range(50)]
    spread = np.std([distance(one) for one in every], ddof=1)
    errors = [jackknife_error(one) for one in every]
    assert np.mean(errors) == pytest.approx(spread, rel=0.3)


def unequal_groups_error(features):
    """The known mistake: the bias of sets of 47 and of 48 images differs, and passes for spread."""
    sides = (features.reference, features.candidate)
    found = [
        frechet_distance(*(moments_without(side, rows) for side in sides))
        for rows in np.array_split(features.order(), GROUPS)
    ]
    return ((GROUPS - 1) * np.var(found)) ** 0.5


@pytest.mark.slow
def test_groups_have_one_size_where_images_are_fewer_than_features():
    every = [pairs(50, seed, noise=0.3, dims=64) for seed in range(50)]
    spread = np.std([distance(one) for one in every], ddof=1)
    assert np.mean([jackknife_error(one) for one in every]) == pytest.approx(spread, rel=0.2)
    assert np.mean([unequal_groups_error(one) for one in every]) > 1.2 * spread


@pytest.mark.medium
def test_the_bootstrap_is_biased_where_the_jackknife_is_not():
    small = [pairs(60, seed, noise=0.1) for seed in range(10)]
    bias = np.mean([bootstrap_mean(one) - distance(one) for one in small])
    middles = [sum(jackknife(one, distance(one))) / 2 - distance(one) for one in small]
    assert bias > 10 * abs(np.mean(middles)) + 1e-3


@pytest.mark.parametrize("n", [12, 16, 17, 400])
def test_leaving_out_equals_never_having_had(n):
    file = pairs(n, 0).reference
    rows = np.array([1, 5, 7])
    found = moments_without(file, rows)
    kept = np.delete(file.rows().astype(np.float64), rows, axis=0)
    np.testing.assert_allclose(found.mean, kept.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(kept.T), atol=1e-12)


@pytest.mark.medium
def test_the_limit_is_nearer_the_truth():
    far, near = [], []
    for seed in range(20):
        features = pairs(300, seed)
        far.append(distance(features))
        near.append(frechet_at_infinity(features))
    assert abs(np.mean(near) - truth()) < 0.5 * abs(np.mean(far) - truth())


@pytest.mark.parametrize("key", ["psnr", "psnr_pooled", "mse"])
def test_of_images(key, photo_like, noisy):
    a = photo_like(12)
    info = find_metrics()[key]
    metrics = info.make(), info.make()
    ids = [f"{n:02}" for n in range(12)]
    b = noisy(a, 20)
    b[:3] = noisy(a[:3], 40)
    metrics[0].update(ids, a, b)
    metrics[1].update(ids[::-1], a.flip(0), b.flip(0))
    value = metrics[0].compute()
    assert value.interval[0] < value.value < value.interval[1]
    assert "bootstrap" in value.interval_method
    assert value == metrics[1].compute()
    one = info.make()
    one.update(["a"], a[:1], b[:1])
    assert one.compute().interval is None


@pytest.mark.medium
def test_samples_vary_and_the_reference_does_not():
    """Unpaired: the error is the spread over sets of samples, against one reference."""
    reference = pairs(400, 1000).reference
    every = [
        replace(one, reference=reference, paired=False)
        for one in (pairs(400, seed) for seed in range(50))
    ]
    spread = np.std([distance(one) for one in every], ddof=1)
    metric = find_metrics("samples")["fd_effnet"].make()
    errors = []
    for one in every[:20]:
        low, high = metric.compute(one, intervals=True).interval
        errors.append((high - low) / (2 * NORMAL_95))
    assert np.mean(errors) == pytest.approx(spread, rel=0.4)


@pytest.mark.parametrize("statistic", [np.mean, np.median])
@pytest.mark.parametrize("draws", [None, 40])
def test_percentiles_of_these_draws(statistic, draws):
    values = np.array([3.0, -1.0, 4.0, 1.0, 5.0, 9.0, 2.0])
    given = {} if draws is None else {"resamplings": draws}
    rows = np.random.default_rng(0).integers(0, 7, (draws or 2000, 7))
    found = np.sort([statistic(values[one]) for one in rows])
    places = np.array([0.025, 0.975]) * (len(found) - 1)
    expected = np.interp(places, np.arange(len(found)), found)
    assert bootstrap(values, statistic, **given) == pytest.approx(tuple(expected), rel=1e-12)


@pytest.mark.parametrize(("value", "low"), [(1000.0, True), (30.0, False)])
def test_jackknife_of_sums(value, low):
    """Twenty groups of two of 43 rows: three rows are never left out."""
    order = np.random.default_rng(1).permutation(43)
    seen = []

    def without(rows):
        seen.append(rows.tolist())
        return float(sum(rows))

    found = jackknife_interval(without, order, value)
    assert seen == [order[2 * g : 2 * g + 2].tolist() for g in range(20)]
    sums = np.array([sum(one) for one in seen])
    half = 1.959963984540054 * (41 / 2 * ((sums - sums.mean()) ** 2).sum() / 20) ** 0.5
    assert found == pytest.approx((value - half if low else 0, value + half), rel=1e-12)
