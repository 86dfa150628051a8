"""The catalogue agrees with the classes and with itself, and is quick to read."""

import subprocess
import sys

import pytest

from ssdd_bench.metrics.base import DistributionMetric, MetricInfo, PairMetric
from ssdd_bench.metrics.catalog import (
    METRICS,
    default_metrics,
    find_metrics,
    needed_by,
    sort_metrics,
)
from ssdd_bench.metrics.features.base import EXTRACTORS
from ssdd_bench.weights.assets import assets


@pytest.mark.parametrize("info", find_metrics().values(), ids=find_metrics())
def test_every_metric_has_a_class_of_its_kind(info: MetricInfo) -> None:
    kind = info.load()
    assert issubclass(kind, DistributionMetric if info.network else PairMetric)
    assert not info.network or info.network in EXTRACTORS
    assert set(info.assets) <= assets().keys()
    assert info.default_for in ("none", info.applies_to) or info.applies_to == "both"


def test_kinds_have_their_own_keys() -> None:
    pairs, samples = find_metrics("pairs"), find_metrics("samples")
    assert "rfid" in pairs.keys() - samples.keys()
    assert {"gfid", "fd_effnet_intra"} <= samples.keys() - pairs.keys()
    assert "fd_effnet" in pairs.keys() & samples.keys()
    assert pairs | samples == find_metrics()
    assert pairs["rfid"].network == samples["gfid"].network
    assert pairs["rfid"].layer == samples["gfid"].layer


def test_defaults() -> None:
    assert set(default_metrics("pairs")) == {
        *("psnr", "psnr_pooled", "ssim", "lpips_alex", "dreamsim", "rfid", "fd_effnet")
    }
    assert "mse" not in default_metrics("samples")


def test_what_is_only_published_is_never_measured() -> None:
    assert METRICS.get("lpips").applies_to == "published"
    assert "lpips" not in find_metrics()


def test_order_of_columns() -> None:
    assert sort_metrics(["zebra", "ssim", "apple", "rfid"]) == ["rfid", "ssim", "apple", "zebra"]


def test_who_needs_a_file() -> None:
    assert needed_by("alexnet") == ("lpips_alex",)
    assert "gfid" in needed_by("inception")


def test_reading_imports_neither_torch_nor_a_metric() -> None:
    code = (
        "import sys\n"
        "from ssdd_bench.metrics.catalog import find_metrics\n"
        "assert find_metrics()\n"
        "assert not {'torch', 'numpy', 'ssdd_bench.metrics.ssim'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
