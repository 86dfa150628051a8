"""Metrics and protocols that installed packages bring, the broken ones too."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from plugin_folders import install_distribution

from ssdd_bench.cli import doctor, run
from ssdd_bench.cli import list as list_
from ssdd_bench.errors import ManifestError, UnavailableError, UnknownNameError
from ssdd_bench.metrics.catalog import METRICS, find_metrics
from ssdd_bench.protocols.registry import PROTOCOLS, get_protocol
from ssdd_bench.protocols.schema import differences

METRIC = """
title = "largest error of a pixel"
higher_is_better = false
metric = "worst:WorstPixel"
"""
CODE = """
from ssdd_bench.metrics.base import PerImageMetric

class WorstPixel(PerImageMetric):
    backend = "mine 1"

    def score(self, reference, reconstruction):
        errors = (reference.int() - reconstruction.int()).abs()
        return errors.flatten(1).amax(dim=1).tolist()
"""
PROTOCOL = """
base = "default-v1"
description = "as ours, with bilinear crops"
crop = "bilinear"
metrics = ["psnr", "worst_pixel"]
"""

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package as pip leaves it; entry points of a group with files by their names."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(site))
    for name in [name for name in sys.modules if name.startswith("mine_")]:
        monkeypatch.delitem(sys.modules, name)

    def add(distribution: str, group: str, points: dict[str, dict[str, str]]) -> Path:
        packages = {name: f"{distribution}_{number}" for number, name in enumerate(points)}
        install_distribution(site, distribution, group, packages)
        for name, files in points.items():
            (site / packages[name]).mkdir()
            for file, text in files.items():
                (site / packages[name] / file).write_text(text)
        return site

    return add


def install_metric(install: Install, code: str = CODE, manifest: str = METRIC) -> Path:
    files = {"metric.toml": manifest, "worst.py": code, "__init__.py": ""}
    return install("mine", METRICS.group, {"worst_pixel": files})


def measure(photos: Path, out: Path, *arguments: str) -> dict[str, object]:
    given = ["--tokenizers", "jpeg", "--res", "32", "--data", str(photos), "--out", str(out)]
    options = ["--no-speed", "--no-pictures", "--quiet", "--json", *arguments]
    done = CliRunner().invoke(run.command, [*given, *options], catch_exceptions=False)
    (file,) = out.glob("*.json")
    result: dict[str, object] = json.loads(file.read_text())
    assert done.exit_code == 0
    return result


@pytest.mark.medium
def test_a_metric_is_listed_without_its_code(install: Install) -> None:
    site = install_metric(install, code="raise SystemExit('was imported')")
    environment = {**os.environ, "PYTHONPATH": str(site)}
    code = (
        "import sys; from ssdd_bench.cli.list import command\n"
        "command(['metrics', '--json'], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    listed = {one["key"]: one for one in json.loads(done.stdout)["metrics"]}
    assert listed["worst_pixel"]["source"] == "package mine"
    assert listed["worst_pixel"]["default_for"] == "none"


@pytest.mark.slow
def test_a_metric_is_measured_and_reported(
    install: Install, make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    install_metric(install)
    result = measure(make_photos(3, (40, 40)), tmp_path / "out", "--metrics", "psnr,worst_pixel")
    value = result["metrics"]["worst_pixel"]  # type: ignore[index]
    assert value["value"] > 1
    assert (value["backend"], value["higher_is_better"]) == ("mine 1", False)
    assert "worst_pixel ↓" in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise OSError('no licence file')", "OSError: no licence file"),
        (CODE.replace("class WorstPixel", "class Other"), "AttributeError"),
        (CODE.replace("PerImageMetric", "DistributionMetric"), "needs 'network' and 'layer'"),
        (CODE + "WorstPixel.__init__ = None", "TypeError"),
        ("WorstPixel = int", "neither a PairMetric nor a DistributionMetric"),
    ],
)
def test_a_metric_that_cannot_be_loaded_breaks_only_itself(
    install: Install,
    make_photos: Callable[..., Path],
    tmp_path: Path,
    code: str,
    reason: str,
) -> None:
    install_metric(install, code)
    photos = make_photos(2, (40, 40))
    result = measure(photos, tmp_path / "out", "--metrics", "psnr,worst_pixel")
    found = result["metrics"]
    assert found["psnr"]["value"] > 10  # type: ignore[index]
    absent = found["worst_pixel"]["unavailable"]  # type: ignore[index]
    assert "worst_pixel (package mine) cannot be loaded" in absent
    assert reason in absent
    if code.startswith("raise"):
        with pytest.raises(UnavailableError) as caught:
            find_metrics()["worst_pixel"].load()
        assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.slow
def test_a_repaired_metric_is_measured_in_the_next_run(
    install: Install,
    make_photos: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = install_metric(install, "raise OSError")
    photos = make_photos(2, (40, 40))
    measure(photos, tmp_path / "out", "--metrics", "worst_pixel")
    (site / "mine_0" / "worst.py").write_text(CODE)
    monkeypatch.delitem(sys.modules, "mine_0.worst", raising=False)
    monkeypatch.delitem(sys.modules, "mine_0", raising=False)
    result = measure(photos, tmp_path / "out", "--metrics", "worst_pixel")
    assert result["metrics"]["worst_pixel"]["value"] > 1  # type: ignore[index]


@pytest.mark.medium
@pytest.mark.parametrize(
    ("key", "manifest", "reason"),
    [
        ("worst_pixel", "title = 'x'", "higher_is_better"),
        ("worst_pixel", METRIC.replace("worst:W", "W"), "'metric' must be module:name"),
        ("Worst", METRIC, "is no key"),
        ("psnr", METRIC, "have the id 'psnr'"),
    ],
)
def test_a_bad_metric_file_is_set_apart(
    install: Install, key: str, manifest: str, reason: str
) -> None:
    install(
        "mine", METRICS.group, {key: {"metric.toml": manifest}, "good": {"metric.toml": METRIC}}
    )
    found, (broken,) = METRICS.all(), METRICS.broken()
    assert reason in str(broken.error)
    assert found["psnr"].source == "built-in"
    assert found["good"].source == "package mine"
    listed = CliRunner().invoke(list_.command, ["metrics"])
    assert f"warning: {key} (package mine) is left out" in listed.stderr
    assert CliRunner().invoke(doctor.command).exit_code == 0


@pytest.mark.slow
def test_a_protocol_measures_what_it_says(
    install: Install, make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    install_metric(install)
    install("lab", PROTOCOLS.group, {"lab-v1": {"protocol.toml": PROTOCOL}})
    result = measure(make_photos(3, (50, 40)), tmp_path / "out", "--protocol", "lab-v1")
    assert result["metrics"].keys() == {"psnr", "worst_pixel"}  # type: ignore[attr-defined]
    record = result["protocol"]
    assert record["crop"] == "bilinear"  # type: ignore[index]
    lab, ours = PROTOCOLS.get("lab-v1"), PROTOCOLS.get("default-v1")
    assert record["sha256"] == lab.sha256 != ours.sha256  # type: ignore[index]
    assert differences(ours, lab).keys() == {"crop", "metrics"}
    listed = json.loads(CliRunner().invoke(list_.command, ["protocols", "--json"]).stdout)
    assert [one["id"] for one in listed["protocols"]][-1] == "lab-v1"


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("lab-v1", PROTOCOL.replace("crop =", "crops ="), "unknown key 'crops'"),
        ("lab", PROTOCOL, "'lab' has no version"),
        ("ldm-v1", PROTOCOL, "have the id 'ldm-v1'"),
        ("lab-v1", "base", "protocol.toml"),
    ],
)
def test_a_bad_protocol_is_set_apart(install: Install, name: str, text: str, reason: str) -> None:
    install("lab", PROTOCOLS.group, {name: {"protocol.toml": text}})
    (broken,) = PROTOCOLS.broken()
    assert reason in str(broken.error)
    assert get_protocol("default-v1").crop == "adm"
    if name == "lab-v1":
        with pytest.raises(ManifestError):
            PROTOCOLS.get(name)
    with pytest.raises(UnknownNameError):
        PROTOCOLS.get("lab-v2")
    listed = CliRunner().invoke(list_.command, ["protocols"])
    assert f"warning: {name} (package lab) is left out" in listed.stderr
