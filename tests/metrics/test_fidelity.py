"""The inception score, KID, precision and recall against torch-fidelity and named values."""

import numpy as np
import pytest
import torch
import torch_fidelity
from feature_sets import feature_sets

from ssdd_bench.metrics.catalog import find_metrics


def inception_score(logits):
    return find_metrics()["isc"].make().compute(logits).value


def test_inception_score_is_torch_fidelitys():
    sides = np.random.default_rng(0).normal(size=(2, 24, 1008)).astype(np.float32)
    score = torch_fidelity.metric_isc.isc_features_to_metric(torch.from_numpy(sides[1]))
    assert inception_score(feature_sets(*sides)) == score["inception_score_mean"]


def test_inception_score_is_shuffled():
    logits = np.random.RandomState(2).standard_normal((1000, 10)) * 2
    found = inception_score(feature_sets(logits, logits))
    assert found == pytest.approx(2.5972315786941595, rel=1e-6)
    order = np.random.RandomState(3).permutation(1000)
    ids = [f"{i:04}" for i in order]
    other = feature_sets(logits[order], logits[order], ids)
    assert inception_score(other) == found
    sorted_by_class = np.repeat(np.eye(10) * 8, 100, axis=0)
    found = inception_score(feature_sets(sorted_by_class, sorted_by_class))
    assert found == pytest.approx(9.389151491077893, rel=1e-6)  # 1.0 without the shuffle


@pytest.mark.slow
def test_kid_keeps_an_image_from_its_own_reconstruction():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 32))
    found = find_metrics()["kid"].make().compute(feature_sets(x, x))
    other = find_metrics()["kid"].make().compute(feature_sets(x, x + 1))
    assert abs(found.value) < 0.01
    assert other.value > 0.1
    assert "subsets of 500" in found.warning
    paired = torch_fidelity.metric_kid.kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(x), kid_subset_size=1000, verbose=False
    )
    assert paired["kernel_inception_distance_mean"] < -abs(found.value)  # what pairs would do


MANY = pytest.param(2003, 100, marks=pytest.mark.slow)


@pytest.mark.parametrize(("n", "calls"), [(20, 1), (21, 1), (2000, 1), MANY])
def test_a_set_that_is_its_only_subset_is_compared_once(n, calls, monkeypatch):
    from torch_fidelity import metric_kid

    seen, distance = [], metric_kid.kernel_mmd
    monkeypatch.setattr(
        metric_kid, "kernel_mmd", lambda a, b, **more: seen.append(len(a)) or distance(a, b, **more)
    )
    x = np.random.default_rng(0).normal(size=(n, 4))
    pairs = feature_sets(x, x + 1)
    found = find_metrics()["kid"].make().compute(pairs).value
    assert seen == [min(1000, n // 2)] * calls
    every = metric_kid.kid_features_to_metric(
        *(side[order] for side, order in halves(pairs)),
        kid_subset_size=seen[0],
        kid_subsets=3,
        rng_seed=2020,
        verbose=False,
    )["kernel_inception_distance_mean"]
    assert calls > 1 or found == pytest.approx(every, rel=1e-5)


def halves(pairs):
    """References of one half of the ids, and reconstructions of the other."""
    order, half = pairs.order(), len(pairs.ids) // 2
    return (
        (pairs.reference.tensor(), order[:half]),
        (pairs.candidate.tensor(), order[half : 2 * half]),
    )


def test_named_kid(gaussians):
    """The library's own function gives the published value for these features."""
    a, b = gaussians
    found = torch_fidelity.metric_kid.kid_features_to_metric(
        torch.from_numpy(a),
        torch.from_numpy(b),
        kid_subset_size=100,
        kid_subsets=10,
        rng_seed=2020,
        verbose=False,
    )
    assert found["kernel_inception_distance_mean"] == pytest.approx(0.0684904575112835)


@pytest.mark.slow
def test_precision_and_recall_are_torch_fidelitys(features):
    pool = feature_sets(features[0]["pool"], features[1]["pool"])
    found = {key: find_metrics()[key].make().compute(pool).value for key in ("precision", "recall")}
    expected = torch_fidelity.metric_prc.prc_features_to_metric(
        torch.from_numpy(features[1]["pool"]),
        torch.from_numpy(features[0]["pool"]),
        prc_neighborhood=3,
        save_cpu_ram=False,
        verbose=False,
    )
    assert found == pytest.approx({key: expected[key] for key in found})


def test_named_precision_and_recall(gaussians):
    a, b = gaussians
    pairs = feature_sets(b, a)
    assert find_metrics()["precision"].make().compute(pairs).value == pytest.approx(0.974)
    assert find_metrics()["recall"].make().compute(pairs).value == pytest.approx(0.230)


@pytest.mark.parametrize("key", ["kid", "isc", "precision", "recall"])
def test_too_few_images(key):
    one = np.zeros((1, 8))
    value = find_metrics()[key].make().compute(feature_sets(one, one))
    assert value.value is None
    assert "at least" in value.unavailable


@pytest.mark.parametrize(("sides", "subsets"), [((7, 5), 100), ((5, 7), 100), ((6, 6), 1)])
def test_kid_of_samples_takes_seeded_subsets_as_large_as_the_smaller_side(sides, subsets):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(sides[0], 3)), rng.normal(size=(sides[1], 3)) + 1
    features = feature_sets(x, y, paired=False)
    found = find_metrics("samples")["kid"].make().compute(features)
    expected = torch_fidelity.metric_kid.kid_features_to_metric(
        *(torch.from_numpy(side.astype(np.float32)) for side in (x, y)),
        kid_subset_size=min(sides),
        kid_subsets=subsets,
        rng_seed=2020,
        verbose=False,
    )
    assert found.value == expected["kernel_inception_distance_mean"]
    assert f" {min(sides)} images" in found.warning


@pytest.mark.parametrize(
    ("key", "n", "paired", "token"),
    [
        ("isc", 49_999, True, " 4999 images"),
        ("isc", 50_000, True, None),
        ("kid", 1999, True, " 999 images"),
        ("kid", 2000, True, None),
        ("kid", 999, False, " 999 images"),
        ("kid", 1000, False, None),
    ],
)
def test_warnings_of_small_sets(key, n, paired, token):
    rows = np.zeros((n, 1))
    features = feature_sets(rows, rows, paired=paired)
    found = list(find_metrics()[key].make(loaded=False).warnings(features))
    assert len(found) == (token is not None)
    assert all(token in one for one in found)
