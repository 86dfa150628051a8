"""The Fréchet distance against closed forms, an independent root and other people's values."""

import numpy as np
import pytest
import scipy.linalg

from ssdd_bench.errors import DataError
from ssdd_bench.metrics.features.files import FeatureStore
from ssdd_bench.metrics.moments import Moments, frechet_distance, root_trace


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


def test_diagonal_closed_form():
    first, second = np.array([1.0, 4, 9]), np.array([4.0, 1, 16])
    offset = np.array([1, -2, 0.5])
    root = root_trace(np.diag(first), np.diag(second))
    assert offset @ offset + first.sum() + second.sum() - 2 * root == pytest.approx(8.25, abs=1e-12)


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


def test_symmetric():
    assert frechet_distance(moments(A), moments(B)) == pytest.approx(
        frechet_distance(moments(B), moments(A)), rel=1e-12
    )


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


def test_features_that_are_not_finite(tmp_path):
    with pytest.raises(DataError, match="not finite"):
        FeatureStore(3, tmp_path / "rows").append(np.full((2, 3), np.nan, np.float32))
