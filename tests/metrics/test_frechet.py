"""The Fréchet distance against closed forms, an independent root and other people's values."""

import re

import numpy as np
import pytest
import scipy.linalg
from feature_sets import feature_sets

from ssdd_bench.errors import DataError, UnavailableError
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.metrics.frechet import ReferenceMoments
from ssdd_bench.metrics.moments import (
    Moments,
    PublishedMoments,
    frechet_distance,
    root_trace,
)

SAMPLES = find_metrics("samples")


def moments(features, parts=1):
    made = Moments(features.shape[1])
    for part in np.array_split(features, parts):
        made.update(part)
    return made


def normals(seed, n=500, dims=32, scale=1.0, shift=0.0):
    return np.random.RandomState(seed).standard_normal((n, dims)) * scale + shift


A, B = normals(0), normals(1, scale=1.2, shift=0.1)


def general_root(x, y):
    """The textbook formula, by scipy's matrix root."""
    s1, s2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    offset = x.mean(0) - y.mean(0)
    root = scipy.linalg.sqrtm(s1 @ s2).real
    return offset @ offset + np.trace(s1 + s2 - 2 * root)


def test_two_by_two_that_do_not_commute():
    a, b = np.diag([2.0, 1.0]), np.array([[1, 0.5], [0.5, 1]])
    distance = np.trace(a + b) - 2 * root_trace(a, b)
    assert distance == pytest.approx(0.33117156332204534, rel=1e-12)


def test_value_of_torch_fidelity_and_others():
    assert frechet_distance(moments(A), moments(B)) == pytest.approx(3.27891539855062, rel=1e-12)


def test_fewer_images_than_dimensions():
    few = normals(3, n=20)
    few_of_both = frechet_distance(moments(few), moments(normals(4, n=25)))
    assert frechet_distance(moments(few), moments(B)) == pytest.approx(26.815788753322877, rel=1e-9)
    assert few_of_both == pytest.approx(general_root(few, normals(4, n=25)), rel=1e-5)


def test_few_images_without_the_threshold_are_seen_to_be_off():
    few = normals(3, n=20)
    a, b = moments(few).covariance, moments(B).covariance
    values, vectors = np.linalg.eigh(a)
    half = vectors * np.sqrt(values.clip(0))
    naive = np.sqrt(np.linalg.eigvalsh(half.T @ b @ half).clip(0)).sum()
    assert abs(naive - root_trace(a, b)) > 1e-9


SPECTRA = {
    "fading": np.arange(1, 101.0) ** -3,
    "steep": np.logspace(0, -8, 100),
    "singular": np.logspace(0, -3, 100) * (np.arange(100) < 60),
    "constant features": np.where(np.arange(100) < 60, 1.0, 0.0),
}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("noise", [0.1, 0.001])
def test_small_distances(name, noise):
    """Against the singular values of the vectors, which need no covariance."""
    rng = np.random.default_rng(0)
    scale = np.sqrt(SPECTRA[name])
    turned = np.eye(100) if "constant" in name else np.linalg.qr(rng.normal(size=(100, 100)))[0]
    x = rng.normal(size=(300, 100)) * scale @ turned
    y = x + noise * rng.normal(size=x.shape) * scale @ turned
    sides = [(v - v.mean(axis=0)) / np.sqrt(len(v) - 1) for v in (x, y)]
    root = np.linalg.svd(sides[0] @ sides[1].T, compute_uv=False).sum()
    offset = x.mean(axis=0) - y.mean(axis=0)
    expected = offset @ offset + sum((side**2).sum() for side in sides) - 2 * root
    found = frechet_distance(moments(x), moments(y))
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-13)


def test_eigenvalues_of_the_product_must_not_be_cut():
    """The known mistake: at 1e-15 of the largest it makes a small distance several times as big."""
    rng = np.random.default_rng(0)
    scale = np.sqrt(SPECTRA["steep"])
    x = rng.normal(size=(300, 100)) * scale
    a, b = (moments(v).covariance for v in (x, x + 0.001 * rng.normal(size=x.shape) * scale))
    half = np.linalg.cholesky(a)
    values = np.linalg.eigvalsh(half.T @ b @ half)
    cut = np.sqrt(values[values > 1e-15 * values[-1]]).sum()
    distance = np.trace(a + b) - 2 * root_trace(a, b)
    assert np.trace(a + b) - 2 * cut > 2 * distance


@pytest.mark.parametrize("seed", range(3))
def test_independent_root(seed):
    x, y = normals(seed, scale=2), normals(seed + 10, n=300, shift=1)
    assert frechet_distance(moments(x), moments(y)) == pytest.approx(general_root(x, y), rel=1e-10)


@pytest.mark.parametrize("n", [10, 500])
def test_equal_sets_are_at_zero(n):
    assert frechet_distance(moments(A[:n]), moments(A[:n])) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("parts", [1, 7, 100])
def test_batches_do_not_matter(parts):
    expected = frechet_distance(moments(A), moments(B))
    assert frechet_distance(moments(A, parts), moments(B, parts)) == pytest.approx(
        expected, rel=1e-12
    )


def test_covariance_is_unbiased():
    np.testing.assert_allclose(
        moments(A).covariance, np.cov(A, rowvar=False), rtol=1e-12, atol=1e-14
    )
    biased = np.cov(A, rowvar=False, bias=True)
    assert abs(moments(A).covariance - biased).max() > 1e-3


def test_float32_sums_would_not_do():
    """Features far from zero lose their covariance in single precision."""
    far = (normals(0) * 0.01 + 100).astype(np.float32)
    exact = np.cov(far.astype(np.float64), rowvar=False)
    np.testing.assert_allclose(moments(far).covariance, exact, rtol=1e-3, atol=1e-9)
    mean = far.mean(0)
    single = (far.T @ far - len(far) * np.outer(mean, mean)) / (len(far) - 1)
    assert abs(single - exact).max() > 10 * abs(exact).max()


def test_vectors_are_let_go_once_there_are_enough():
    made = moments(A[:32])
    assert made.centred_vectors.shape == (32, 32)
    made.update(A[32:33])
    assert made.centred_vectors is None


def test_one_image_is_too_few():
    with pytest.raises(DataError, match="at least two"):
        frechet_distance(moments(A[:1]), moments(B))


def points(*rows):
    return moments(np.array(rows, np.float64))


@pytest.mark.parametrize("dims", [1, 3])
def test_two_images_a_side(dims):
    """Sum of (1 - 3)^2 and (2^0.5 - 8^0.5)^2, by covariances or by the vectors."""
    rest = [7.0] * (dims - 1)
    a, b = points([0.0, *rest], [2.0, *rest]), points([1.0, *rest], [5.0, *rest])
    assert frechet_distance(a, b) == pytest.approx(6, rel=1e-12)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-12)


def test_roots_of_small_matrices():
    assert root_trace(np.eye(4) / 2, np.eye(4) / 8) == pytest.approx(1, rel=1e-12)
    assert root_trace(np.diag([1.0, 0, 4]), np.diag([0.0, 3, 9])) == pytest.approx(6, rel=1e-12)
    assert root_trace(np.diag([1.0, 0]), np.diag([0.0, 1])) == 0
    rank_one, full = np.full((2, 2), 2.0), np.diag([3.0, 9.0])
    for pair in ((rank_one, full), (full, rank_one)):  # the root of (1, 1) S (1, 1)' = 12, twice
        assert root_trace(*pair) == pytest.approx(24**0.5, rel=1e-12)
    other = np.array([[1.0, -1.0], [-1.0, 1.0]])
    assert root_trace(rank_one, other) == pytest.approx(0, abs=1e-7)


def test_moments_without_images():
    empty = Moments(3)
    np.testing.assert_array_equal(empty.products, np.zeros(6))
    assert empty.vectors.shape == (0, 3)
    assert Moments(3, keep_few=False).vectors is None
    published = PublishedMoments(np.arange(3.0), np.eye(3))
    assert (published.n, published.dims, published.centred_vectors) == (50_000, 3, None)
    np.testing.assert_array_equal(published.mean, [0, 1, 2])
    np.testing.assert_array_equal(published.covariance, np.eye(3))


ARRAYS = {"mu": np.zeros(4), "sigma": np.eye(4)}


@pytest.mark.parametrize(
    ("key", "arrays", "has_images", "token"),
    [
        ("gfid", ARRAYS, False, ""),
        ("gfid", {"mu": np.zeros(4)}, True, "sigma"),
        ("sfid", ARRAYS, True, "mu_s"),
        ("precision", ARRAYS, True, ""),
        ("precision", ARRAYS, False, "arr_0"),
        ("isc", {}, False, ""),
        ("fd_effnet", ARRAYS, True, "inception"),
    ],
)
def test_what_a_reference_of_moments_allows(key, arrays, has_images, token):
    reference = ReferenceMoments("ref.npz", arrays, has_images)
    if not token:
        reference.check(SAMPLES[key])
        return
    with pytest.raises(UnavailableError, match=rf"ref\.npz.*{token}"):
        reference.check(SAMPLES[key])


def test_moments_of_a_reference():
    reference = ReferenceMoments("ref.npz", ARRAYS, False)
    found = reference.of(SAMPLES["gfid"], 4)
    assert found.n == 50_000
    assert found.mean is ARRAYS["mu"]
    assert found.covariance is ARRAYS["sigma"]
    assert reference.of(SAMPLES["precision"], 5) is None
    with pytest.raises(UnavailableError, match=r"ref\.npz.* 4 .* 5"):
        reference.of(SAMPLES["gfid"], 5)


@pytest.mark.parametrize(
    ("n", "key", "tokens"),
    [
        (4, "fd_effnet", ["4 images for 4 features.*singular"]),
        (5, "fd_effnet", ["biased.*5 images for 4 features"]),
        (7, "fd_effnet", ["biased.*7 images for 4 features"]),
        (8, "fd_effnet", []),
        (8, "gfid", ["50,000"]),
        (5, "gfid", ["biased.*5 images for 4 features", "50,000"]),
    ],
)
@pytest.mark.parametrize("paired", [True, False])
def test_warnings_of_few_images(n, key, tokens, paired):
    features = feature_sets(normals(0, n + 1, 4), normals(1, n, 4), paired=paired)
    found = list(SAMPLES[key].make(loaded=False).warnings(features))
    assert len(found) == len(tokens)
    for text, token in zip(found, tokens, strict=True):
        assert re.search(token, text)
        assert ("the same images" in text) is (paired and "features" in token)
        assert ("as many samples" in text) is (not paired and "features" in token)


def test_the_smaller_side_decides_on_the_warning():
    metric = SAMPLES["gfid"].make(loaded=False)
    (first, _) = metric.warnings(feature_sets(normals(0, 5, 4), normals(1, 30, 4)))
    assert "5 images" in first
    published = feature_sets(
        normals(0, 5, 4), normals(1, 50_000, 1)[:, [0] * 4], published=moments(A)
    )
    assert not list(metric.warnings(published))


def variance_of_groups(features, distance):
    """The jackknife by its definition, of groups in the order of the hashes."""
    n, order = features.candidate.n, features.order()
    size = n // 20
    found = [
        distance(np.delete(np.arange(n), order[g * size : g * size + size])) for g in range(20)
    ]
    return (n - size) / size * np.mean((np.array(found) - np.mean(found)) ** 2)


@pytest.mark.parametrize(
    ("paired", "dims", "sizes"),
    [
        (True, 3, [4, 8, 13, 17, 22, 26, 31, 35, 40, 45]),
        (False, 3, [4, 8, 13, 17, 22, 26, 31, 35, 40, 45]),
        (True, 2, [5, 10, 15, 20, 25, 30, 35, 40, 45, 50]),  # a tenth, which is more than 3
    ],
)
def test_interval_and_limit_are_those_of_their_definitions(paired, dims, sizes):
    n = sizes[-1]
    x, y = (normals(seed, n, dims, shift=seed) for seed in (0, 1))
    x, y = x.astype(np.float32), y.astype(np.float32)
    features = feature_sets(x, y, paired=paired)
    found = SAMPLES["fd_effnet"].make(loaded=False).compute(features, intervals=True)

    def distance(rows):
        return frechet_distance(moments(x[rows] if paired else x), moments(y[rows]))

    value = distance(np.arange(n))
    half = 1.959963984540054 * variance_of_groups(features, distance) ** 0.5
    assert found.value == pytest.approx(value, rel=1e-9)
    assert found.interval == pytest.approx((value - half, value + half), rel=1e-6)
    distances = [distance(features.order()[:size]) for size in sizes]
    slopes = np.stack([1 / np.array(sizes), np.ones(10)], axis=1)
    limit = np.linalg.lstsq(slopes, np.array(distances), rcond=None)[0][1]
    assert found.extra == {"fd_infinity": pytest.approx(limit, rel=1e-6)}
    assert (found.n, found.backend, found.warning) == (n, "test", "")


@pytest.mark.parametrize(("n", "limit", "interval"), [(8, True, False), (7, False, False)])
def test_least_numbers_for_a_limit_and_an_interval(n, limit, interval):
    """Half of the images must be more than the features; there are 3."""
    features = feature_sets(normals(0, n, 3), normals(1, n, 3))
    found = SAMPLES["fd_effnet"].make(loaded=False).compute(features, intervals=True)
    assert bool(found.extra) is limit
    assert (found.interval is not None) is interval


@pytest.mark.parametrize("n", [19, 20])
def test_an_interval_needs_as_many_images_as_groups(n):
    features = feature_sets(normals(0, n, 3), normals(1, n, 3))
    metric = SAMPLES["fd_effnet"].make(loaded=False)
    found = metric.compute(features, intervals=True)
    assert (found.interval is None) is (n < 20)
    assert ("jackknife" in found.interval_method) is (n == 20)
    plain = metric.compute(features)
    assert (plain.extra, plain.interval) == ({}, None)


CLASSES = np.array([0, 1, 0, 1, 1])


def intra(labels, reference_labels):
    x = np.array([[1.0], [5.0], [4.0], [6.0]])
    y = np.array([[0.0], [5.0], [2.0], [7.0], [9.0]])
    features = feature_sets(x, y, paired=False, labels=labels, reference_labels=reference_labels)
    return SAMPLES["fd_effnet_intra"].make(loaded=False), features


def test_mean_over_classes():
    """Samples 0, 2 and 5, 7, 9 against 1, 5 and 4, 6."""
    metric, features = intra(CLASSES, np.array([0, 0, 1, 1]))
    classes = [4 + (2**0.5 - 8**0.5) ** 2, 4 + (4**0.5 - 2**0.5) ** 2]
    assert metric.score(features) == pytest.approx(sum(classes) / 2, rel=1e-9)
    (warning,) = metric.warnings(features)
    assert " 2 " in warning


@pytest.mark.parametrize(
    ("labels", "reference_labels", "token"),
    [
        (None, np.array([0, 0, 1, 1]), "arr_1"),
        (CLASSES, None, "arr_1"),
        (CLASSES + 1, np.array([0, 0, 1, 1]), "up to 2 .* 2 "),
        (CLASSES, np.array([0, 1, 1, 1]), "class 0"),
        (np.array([0, 0, 1, 0, 0]), np.array([0, 0, 1, 1]), "class 1"),
        (CLASSES, np.array([0, 0, 1, 2]), "class 1"),
    ],
)
def test_classes_that_do_not_fit(labels, reference_labels, token):
    metric, features = intra(labels, reference_labels)
    with pytest.raises(UnavailableError, match=token):
        metric.score(features)
