"""The catalogue agrees with the classes and with itself, and is quick to read."""

import subprocess
import sys
from pathlib import Path

import pytest

from ssdd_bench.errors import UserError
from ssdd_bench.metrics import catalog
from ssdd_bench.metrics.base import DistributionMetric, MetricInfo, PairMetric
from ssdd_bench.metrics.catalog import (
    CATALOG,
    METRICS,
    default_metrics,
    find_metrics,
    metric_keys,
    needed_by,
    sort_metrics,
)
from ssdd_bench.metrics.features.base import EXTRACTORS
from ssdd_bench.plugins.discovery import BUILT_IN, Place
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
    assert default_metrics("samples") == (
        *("gfid", "sfid", "precision", "recall", "isc", "fd_effnet", "fd_effnet_intra"),
    )


def test_what_is_only_published_is_never_measured() -> None:
    assert METRICS.get("lpips").applies_to == "published"
    assert "lpips" not in find_metrics()


def test_order_of_columns() -> None:
    assert sort_metrics(["zebra", "ssim", "apple", "rfid"]) == ["rfid", "ssim", "apple", "zebra"]


def test_who_needs_a_file() -> None:
    assert needed_by("alexnet") == ("lpips_alex",)
    assert "gfid" in needed_by("inception")


def test_keys_as_a_user_gives_them() -> None:
    assert metric_keys("psnr") == ("psnr",)
    assert metric_keys(["psnr", "ssim"]) == ("psnr", "ssim")
    assert metric_keys(None) == ()


EDGE = """
title = "edges"
higher_is_better = false
minimum = 0.0
metric = "code:EdgeError"
"""


def placed(
    folder: Path, text: str, name: str = "edge_error", source: str = "package mine"
) -> Place:
    file = folder / "metric.toml"
    file.write_text(text, encoding="utf-8")
    return Place(name, source, file, "mine.metrics")


def test_a_metric_of_a_package(tmp_path: Path) -> None:
    assert catalog._load(placed(tmp_path, EDGE)) == {
        "edge_error": MetricInfo(
            key="edge_error",
            package="mine.metrics",
            source="package mine",
            title="edges",
            higher_is_better=False,
            minimum=0.0,
            metric="code:EdgeError",
        )
    }


def test_a_metric_of_ours(tmp_path: Path) -> None:
    place = placed(tmp_path, f"[edge_error]\n{EDGE}", "catalog", BUILT_IN)
    (info,) = catalog._load(place).values()
    assert (info.key, info.package, info.source) == ("edge_error", "mine.metrics", BUILT_IN)
    assert CATALOG.parent.joinpath("catalog.toml") == CATALOG
    psnr = METRICS.get("psnr")
    assert (psnr.key, psnr.package, psnr.source) == ("psnr", "ssdd_bench.metrics", BUILT_IN)
    assert {info.key: info for info in METRICS.all().values()} == METRICS.all()


@pytest.mark.parametrize(
    ("text", "name", "source", "message"),
    [
        (EDGE, "edge-error", "package mine", "'edge-error' is no key"),
        (EDGE, "edge_error!", "package mine", "'edge_error!' is no key"),
        (EDGE.replace("metric", "#"), "edge_error", "package mine", "missing key 'metric'"),
        (EDGE + "odd = 1", "edge_error", "package mine", "unknown key 'odd'"),
        (EDGE + "key = 'mse'", "edge_error", "package mine", "unknown key 'key'"),
        (f"[edge]\n{EDGE}odd = 1", "catalog", BUILT_IN, "unknown key 'edge.odd'"),
        ("edge = 1", "catalog", BUILT_IN, "key 'edge' must be a table"),
        ("title = 1\nhigher_is_better = true", "edge", "package mine", "key 'title' must be text"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(
    text: str, name: str, source: str, message: str, tmp_path: Path
) -> None:
    place = placed(tmp_path, text, name, source)
    with pytest.raises(UserError) as caught:
        catalog._load(place)
    assert str(caught.value).startswith(f"{place.file}: {message}")


@pytest.mark.medium
def test_reading_imports_neither_torch_nor_a_metric() -> None:
    code = (
        "import sys\n"
        "from ssdd_bench.metrics.catalog import find_metrics\n"
        "assert find_metrics()\n"
        "assert not {'torch', 'numpy', 'ssdd_bench.metrics.ssim'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
