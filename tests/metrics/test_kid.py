"""The kernel distance: pairs are kept apart, and the library's value."""

import numpy as np
import pytest
import torch
import torch_fidelity

from ssdd_bench.metrics.catalog import find_metrics


def test_kid_keeps_an_image_from_its_own_reconstruction(pairs_of, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 32))
    found = find_metrics()["kid"].make().compute(pairs_of(tmp_path, x, x))
    other = find_metrics()["kid"].make().compute(pairs_of(tmp_path, x, x + 1))
    assert abs(found.value) < 0.01
    assert other.value > 0.1
    assert "subsets of 500" in found.warning
    paired = torch_fidelity.metric_kid.kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(x), kid_subset_size=1000, verbose=False
    )
    assert paired["kernel_inception_distance_mean"] < -abs(found.value)  # what pairs would do


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


def test_too_few_images(pairs_of, tmp_path):
    one = np.zeros((1, 8))
    value = find_metrics()["kid"].make().compute(pairs_of(tmp_path, one, one))
    assert value.value is None
    assert "at least" in value.unavailable
