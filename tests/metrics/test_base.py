"""States that metrics declare."""

import numpy as np
import pytest
import torch

from ssdd_bench.errors import DataError
from ssdd_bench.metrics.base import Metric, MetricOptions
from ssdd_bench.metrics.catalog import find_metrics


@pytest.fixture
def metric():
    made = Metric(find_metrics()["mse"], torch.device("cpu"), MetricOptions())
    made.add_state("total", 0.0, "sum")
    made.add_state("count", 0, "sum")
    made.add_state("bins", np.zeros(3, np.int64), "sum")
    made.add_state("scores", {}, "by_image")
    return made


def test_merge_and_reset(metric):
    metric.total += 0.5
    metric.count += 2
    metric.bins[1] += 1
    metric.scores["a"] = 3.0
    state = metric.state()
    metric.reset()
    assert (metric.total, metric.count, metric.scores) == (0.0, 0, {})
    assert not metric.bins.any()
    metric.bins[0] += 1
    metric.scores["b"] = 1.0
    metric.merge(state)
    assert (metric.total, metric.count) == (0.5, 2)
    assert type(metric.total) is float
    assert type(metric.count) is int
    assert metric.bins.tolist() == [1, 1, 0]
    assert metric.scores == {"b": 1.0, "a": 3.0}
    assert state["bins"].tolist() == [0, 1, 0]
    assert state["scores"] == {"a": 3.0}
    with pytest.raises(DataError, match="'a' came twice"):
        metric.merge(state)


@pytest.mark.parametrize(
    ("default", "reduce"),
    [(np.zeros(2, np.float32), "sum"), ("0", "sum"), ({"a": 1.0}, "by_image"), (0.0, "by_image")],
)
def test_defaults_that_do_not_fit(metric, default, reduce):
    with pytest.raises(TypeError, match="'other'"):
        metric.add_state("other", default, reduce)


@pytest.mark.parametrize("arguments", [("device", 0, "sum"), ("total", 0.0, "sum")])
def test_names_that_are_taken(metric, arguments):
    with pytest.raises(ValueError, match="choose another"):
        metric.add_state(*arguments)


def test_unknown_reduction(metric):
    with pytest.raises(ValueError, match="'mean' is unknown"):
        metric.add_state("other", 0.0, "mean")


def test_a_tensor_in_a_state_is_named(metric):
    metric.total += torch.tensor(1.0)
    with pytest.raises(TypeError, match=r"'total' is a Tensor of torch.float32.*\.item"):
        metric.state()
