"""The fixture of the gate: for other repositories, and on the tokenizers that are shipped."""

import importlib
import json
from pathlib import Path
from unittest import mock

import pytest
import torch

from ssdd_bench.gate.pytest_plugin import pytest_addoption

pytest_plugins = ["pytester"]


def test_the_option_of_the_fixture():
    parser = mock.Mock()
    pytest_addoption(parser)
    parser.getgroup.assert_called_once_with("ssdd-bench")
    parser.getgroup.return_value.addoption.assert_called_once_with(
        "--ssdd-gate-update",
        action="store_true",
        help="measure anew what ssdd_gate compares with, instead of comparing",
    )


@pytest.fixture
def imported(measure, tmp_path):
    """Import what a gate uses: pytester takes imports back, and compiled modules load only once."""
    measure("jpeg:quality=90", tmp_path / "imported", limit=1)
    importlib.import_module("scipy.stats")


@pytest.mark.slow
def test_fixture_for_other_repositories(imported, pytester):
    pytester.makeini("[pytest]\naddopts = -p no:hypothesispytest")  # it cannot be imported twice
    pytester.makepyfile(
        """
        def test_quality(ssdd_gate):
            ssdd_gate("jpeg:quality=90", "baseline", res=32, limit=2, metrics=["psnr"])
        """
    )
    missing = pytester.runpytest()
    missing.assert_outcomes(failed=1)
    missing.stdout.fnmatch_lines(["*no results to compare*pytest --ssdd-gate-update*"])
    missing.stdout.no_fnmatch_line("*run failed*")
    missing.stdout.no_fnmatch_line("*During handling*")  # the fix comes first
    first = pytester.runpytest("--ssdd-gate-update")
    first.assert_outcomes(skipped=1)
    assert list((pytester.path / "baseline").glob("*.json"))
    pytester.runpytest().assert_outcomes(passed=1)
    (path,) = (pytester.path / "baseline").glob("*.json")
    data = json.loads(path.read_text())
    data["metrics"]["psnr"]["value"] += 5
    data["scores"] = ""
    path.write_text(json.dumps(data))
    failed = pytester.runpytest()
    failed.assert_outcomes(failed=1)
    failed.stdout.fnmatch_lines(["*regression*"])
    path.rename(path.with_name(f"{path.stem.rpartition('_')[0]}_0123456789.json"))  # other numbers
    pytester.runpytest("--ssdd-gate-update").assert_outcomes(skipped=1)
    assert list((pytester.path / "baseline").glob("*.json")) == [path]
    pytester.runpytest().assert_outcomes(passed=1)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("ssdd", "diffusion:steps=2")]


@pytest.mark.medium
@pytest.mark.parametrize("tokenizer", ["klvae", *SLOW])
def test_shipped_tokenizers_are_as_good_as_before(ssdd_gate, tokenizer):
    baseline = Path("tests/gate/baseline", tokenizer.partition(":")[0])
    (path,) = baseline.glob("*.json")
    measured = json.loads(path.read_text())["environment"]["torch"]
    if measured.partition("+")[0] != torch.__version__.partition("+")[0]:
        pytest.skip(f"measured with torch {measured}: metrics of another release do not compare")
    ssdd_gate(tokenizer, baseline, res=64, limit=8)
