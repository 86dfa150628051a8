"""The rates that rules and recipes rest on, with narrow networks."""

import json

import pytest

from ssdd_bench.nn.attention import Kernel
from ssdd_bench.train.recipe import STAGES


@pytest.fixture
def rates(load_script):
    return load_script("rates.py")


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_every_kernel_is_timed_or_says_why_not(rates, device, tmp_path, capsys):
    out = tmp_path / "rates.json"
    rows = rates.main(["attention", "--device", str(device), "--tiny", "--out", str(out)])
    assert json.loads(out.read_text())["rows"] == rows
    assert len(capsys.readouterr().out.splitlines()) == len(rows)
    found = {(row["side"], row["backward"], row["kernel"]): row for row in rows}
    assert len(found) == 2 * 2 * len(Kernel)
    for (_, backward, kernel), row in found.items():
        if backward and kernel == Kernel.FLEX and device.type == "cpu":
            assert "NotImplementedError" in row["failure"]
        else:
            assert row["ms"] > 0
    chosen = [row["kernel"] for row in rows if row.get("chosen")]
    assert chosen == [Kernel.DENSE] * 4


@pytest.mark.slow
def test_every_stage_is_timed(rates, device, small):
    rows = rates.main(["training", "--device", str(device), "--tiny", *["--eager"] * small])
    assert [row["stage"] for row in rows] == [*STAGES]
    assert all(row["crops_per_s"] > 0 and row["first_step_s"] > 0 for row in rows)


@pytest.mark.slow
def test_the_pipeline_is_timed_beside_its_networks(load_script, device, tmp_path, capsys):
    out = tmp_path / "pipeline.json"
    options = ["--device", str(device), "--tiny", "--out", str(out)]
    rates = load_script("pipeline.py").main(options)
    assert json.loads(out.read_text())["rates"] == rates
    assert all(value > 0 for value in rates.values())
    assert len(capsys.readouterr().out.splitlines()) == len(rates)
