"""Precision and recall against torch-fidelity and named values."""

import numpy as np
import pytest
import torch
import torch_fidelity

from ssdd_bench.metrics.catalog import find_metrics


def test_torch_fidelitys(pairs_of, features, tmp_path):
    pool = pairs_of(tmp_path, features[0]["pool"], features[1]["pool"])
    found = {key: find_metrics()[key].make().compute(pool).value for key in ("precision", "recall")}
    expected = torch_fidelity.metric_prc.prc_features_to_metric(
        torch.from_numpy(features[1]["pool"]),
        torch.from_numpy(features[0]["pool"]),
        prc_neighborhood=3,
        save_cpu_ram=False,
        verbose=False,
    )
    assert found == pytest.approx({key: expected[key] for key in found})


def test_named_precision_and_recall(pairs_of, gaussians, tmp_path):
    a, b = gaussians
    pairs = pairs_of(tmp_path, b, a)
    assert find_metrics()["precision"].make().compute(pairs).value == pytest.approx(0.974)
    assert find_metrics()["recall"].make().compute(pairs).value == pytest.approx(0.230)


@pytest.mark.parametrize("key", ["precision", "recall"])
def test_too_few_images(key, pairs_of, tmp_path):
    one = np.zeros((1, 8))
    value = find_metrics()[key].make().compute(pairs_of(tmp_path, one, one))
    assert value.value is None
    assert "at least" in value.unavailable
