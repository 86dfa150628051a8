"""Forecasts of runs, made without running them."""

from dataclasses import replace
from pathlib import Path

import pytest

from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.forecast import forecast
from ssdd_bench.plugins.registry import parse_requests
from ssdd_bench.results.records import read_json
from ssdd_bench.results.store import from_json, save_result

EXAMPLE = Path(__file__).parents[1] / "fixtures" / "result.json"


@pytest.fixture
def out(tmp_path):
    """A folder with one result: jpeg at 64 px, 40 images in 20 s."""
    base = from_json(read_json(EXAMPLE), EXAMPLE)
    tokenizer = replace(base.tokenizer, id="jpeg", label="jpeg")
    protocol = base.protocol | {"id": "default-v1"}
    found = replace(
        base, tokenizer=tokenizer, resolution=64, protocol=protocol, seed=0, seconds=20.0, scores=""
    )
    save_result(replace(found, data=replace(base.data, n=40)), tmp_path)
    return tmp_path


def plan(out, tokenizers="jpeg", resolutions=(64,), **options):
    requests = tuple(parse_requests(tokenizers))
    metrics = options.pop("metrics", ("psnr",))
    return forecast(
        RunConfig(requests=requests, resolutions=resolutions, out=out, metrics=metrics, **options)
    )


def times(found):
    return [(one.has_result, one.expected_s) for one in found.jobs]


def test_times_of_earlier_results(out):
    assert times(plan(out)) == [(True, 20.0)]
    assert times(plan(out, force=True)) == [(False, 20.0)]
    assert times(plan(out, resolutions=(128,))) == [(False, 80.0)]
    assert times(plan(out, "jpeg:quality=5", limit=10)) == [(False, 5.0)]
    assert times(plan(out, "identity")) == [(False, None)]


def test_lines_for_people(out):
    lines = list(plan(out, "jpeg,jpeg:quality=5,identity").lines(out))
    assert lines == [
        f"1 of 3 jobs have a result in {out}",
        "expected: 20 s for 1 jobs, by earlier results",
        f"expected time of 1 jobs: no earlier result in {out}",
    ]
    assert not list(plan(out).lines(out))[1:]


def test_empty_folder_has_no_times(tmp_path):
    assert times(plan(tmp_path / "none")) == [(False, None)]
    assert not (tmp_path / "none").exists()


def test_missing_weights_come_with_their_fix(out, monkeypatch, tmp_path):
    monkeypatch.setenv("SSDD_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (line,) = plan(out, metrics=("rfid",)).missing
    assert line.startswith("rfid needs ")
    assert "ssdd-bench weights fetch" in line
    (line,) = plan(out, "klvae:path=/no/such").missing
    assert line.startswith("klvae:path=/no/such: no such file or folder")
    (line,) = plan(out, "sd-vae-ft-mse").missing
    assert "stabilityai/sd-vae-ft-mse" in line
    assert not plan(out, f"sd-vae-ft-mse:path={tmp_path},jpeg").missing
