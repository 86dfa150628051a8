"""Metrics of packages are loaded or refused; states, means and reasons of every metric."""

import math
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from ssdd_bench.errors import DataError, UnavailableError
from ssdd_bench.metrics.base import (
    DistributionMetric,
    Metric,
    MetricOptions,
    PairMetric,
    PerImageMetric,
)
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.metrics.intervals import BOOTSTRAP, bootstrap


@pytest.fixture
def metric():
    made = Metric(find_metrics()["mse"], torch.device("cpu"), MetricOptions())
    made.add_state("total", 0.0, "sum")
    made.add_state("count", 0, "sum")
    made.add_state("scores", {}, "by_image")
    made.add_state("bins", np.zeros(3, np.int64), "sum")
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


class Given(PerImageMetric):
    """The scores that it is given as images."""

    backend = "given 1"
    loads = 0

    def load(self):
        self.loads += 1

    def score(self, references, reconstructions):
        return [float(one) for one in references]


class Stateless(Given):
    def __init__(self, *given):
        super().__init__(*given)
        self.states = {}


class Sets(DistributionMetric):
    least = 3

    def score(self, features):
        return 0.5

    def warnings(self, features):
        yield from ("one", "two")


class Exits(Given):
    def load(self):
        raise SystemExit(3)


class Missing(Given):
    def load(self):
        raise UnavailableError("no net.pth")


@pytest.fixture
def third_party(monkeypatch):
    module = ModuleType("theirs.kinds")
    for kind in (Given, Stateless, Sets, Exits, Missing):
        setattr(module, kind.__name__, kind)
    module.number = 7
    monkeypatch.setitem(sys.modules, "theirs", ModuleType("theirs"))
    monkeypatch.setitem(sys.modules, "theirs.kinds", module)

    def make(name, **changes):
        given = {"package": "theirs", "source": "package theirs", "metric": f"kinds:{name}"}
        return replace(find_metrics()["psnr"], **(given | changes))

    return make


NETWORK = {"network": "effnet", "layer": "pool"}


@pytest.mark.parametrize(
    ("name", "changes", "cause"),
    [
        ("Given", {}, None),
        ("Sets", NETWORK, None),
        ("Sets", NETWORK | {"applies_to": "samples"}, None),
        ("gone", {}, AttributeError),
        ("number", {}, TypeError),
        ("Given", {"package": "gone_entirely"}, ModuleNotFoundError),
        ("Given", {"applies_to": "samples"}, TypeError),
        ("Given", {"applies_to": "both"}, TypeError),
        ("Sets", {}, TypeError),
        ("Sets", {"network": "effnet"}, TypeError),
        ("Sets", {"layer": "pool"}, TypeError),
    ],
)
def test_a_class_of_a_package_fits_or_is_unavailable(third_party, name, changes, cause):
    info = third_party(name, **changes)
    if cause is None:
        assert info.load() is {"Given": Given, "Sets": Sets}[name]
        return
    with pytest.raises(UnavailableError, match=r"psnr \(package theirs\)") as caught:
        info.load()
    assert type(caught.value.__cause__) is cause
    with pytest.raises(cause):
        replace(info, source="built-in").load()  # our own mistakes are not hidden


def test_made_with_these_arguments_and_loaded_once(third_party):
    info = third_party("Given")
    made = info.make()
    assert (made.info, made.device, made.options) == (info, torch.device("cpu"), MetricOptions())
    assert made.loads == 1
    options = MetricOptions(lpips_padding=True, dreamsim_resize=False)
    other = info.make(torch.device("meta"), options, loaded=False)
    assert (other.device, other.options, other.loads) == (torch.device("meta"), options, 0)


@pytest.mark.parametrize(
    ("name", "token"), [("Stateless", "add_state"), ("Exits", "SystemExit|3"), ("Missing", "net")]
)
def test_what_cannot_be_made_is_unavailable(third_party, name, token):
    with pytest.raises(UnavailableError, match=token) as caught:
        third_party(name).make()
    assert (str(caught.value) == "no net.pth") is (name == "Missing")
    if name == "Exits":
        assert type(caught.value.__cause__) is SystemExit
        with pytest.raises(SystemExit):
            third_party(name, source="built-in").make()


def test_reasons_of_a_failure(third_party):
    info = third_party("Given")
    assert info.failure(DataError("image 'a'")) == "image 'a'"
    assert "psnr (package theirs)" in info.failure(ValueError("shape 3"))
    assert "shape 3" in info.failure(ValueError("shape 3"))


@pytest.mark.parametrize("finite", [[], [2.5], [3.0, 1.0], [0.1, 0.7, 0.2]])
def test_means_leave_out_infinite_scores(third_party, finite):
    metric = third_party("Given").make()
    metric.update("zyx"[: len(finite)], finite, None)
    metric.update(["a", "b"], [math.inf, math.inf], None)
    found = metric.compute()
    assert found.value == (math.fsum(finite) / len(finite) if finite else None)
    assert (found.n, found.infinite) == (len(finite) + 2, 2)
    assert (found.higher_is_better, found.backend) == (True, "given 1")
    assert metric.per_image() == {
        **dict(zip("zyx", finite, strict=False)),
        **dict.fromkeys("ab", math.inf),
    }
    if len(finite) < 2:
        assert (found.interval, found.interval_method) == (None, "")
    else:
        expected = bootstrap(np.array(finite[::-1]), resamplings=1000)  # in the order of the ids
        assert (found.interval, found.interval_method) == (expected, BOOTSTRAP)
    with pytest.raises(DataError, match="psnr: image 'a'"):
        metric.update(["a"], [1.0], None)
    with pytest.raises(ValueError, match="1 number for 2 images"):
        metric.update(["c", "d"], [1.0], None)


def test_a_score_that_is_no_number_is_no_infinite_one(third_party):
    metric = third_party("Given").make()
    metric.update(["c", "b", "a"], [math.nan, math.nan, 1.0], None)
    with pytest.raises(UnavailableError, match=r"2 of 3 .* b"):
        metric.compute()


@pytest.mark.parametrize(
    ("n", "reference", "needed", "there"),
    [
        (3, 3, True, True),
        (2, 9, True, False),
        (9, 2, True, False),
        (3, 0, False, True),
        (2, 9, False, False),
    ],
)
def test_a_score_of_sets_needs_enough_images(third_party, n, reference, needed, there):
    metric = third_party("Sets", needs_reference=needed, **NETWORK).make()
    features = SimpleNamespace(
        candidate=SimpleNamespace(n=n), reference_n=reference, backend="net 1"
    )
    found = metric.compute(features)
    assert (found.value, found.warning) == ((0.5, "one; two") if there else (None, ""))
    assert bool(found.unavailable) is not there
    assert there or " 3 " in found.unavailable
    assert (found.n, found.backend, found.higher_is_better) == (n, "net 1", True)
    assert list(DistributionMetric.warnings(metric, features)) == []
    assert PairMetric.per_image(metric) == {}
