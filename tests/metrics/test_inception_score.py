"""The inception score against torch-fidelity and named values."""

import numpy as np
import pytest
import torch
import torch_fidelity

from ssdd_bench.metrics.catalog import find_metrics


def score_of(logits):
    return find_metrics()["isc"].make().compute(logits).value


def test_torch_fidelitys(pairs_of, features, tmp_path):
    logits = pairs_of(tmp_path, features[0]["logits"], features[1]["logits"])
    score = torch_fidelity.metric_isc.isc_features_to_metric(
        torch.from_numpy(features[1]["logits"])
    )
    assert score_of(logits) == score["inception_score_mean"]


def test_inception_score_is_shuffled(pairs_of, tmp_path):
    logits = np.random.RandomState(2).standard_normal((1000, 10)) * 2
    found = score_of(pairs_of(tmp_path, logits, logits))
    assert found == pytest.approx(2.5972315786941595, rel=1e-6)
    order = np.random.RandomState(3).permutation(1000)
    ids = [f"{i:04}" for i in order]
    other = pairs_of(tmp_path, logits[order], logits[order], ids)
    assert score_of(other) == found
    sorted_by_class = np.repeat(np.eye(10) * 8, 100, axis=0)
    found = score_of(pairs_of(tmp_path, sorted_by_class, sorted_by_class))
    assert found == pytest.approx(9.389151491077893, rel=1e-6)  # 1.0 without the shuffle


def test_too_few_images(pairs_of, tmp_path):
    one = np.zeros((1, 8))
    value = find_metrics()["isc"].make().compute(pairs_of(tmp_path, one, one))
    assert value.value is None
    assert "at least" in value.unavailable
