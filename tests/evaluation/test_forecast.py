"""Forecasts of runs, made without running them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ssdd_bench.evaluation import forecast as module
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.forecast import _missing_weights, forecast
from ssdd_bench.plugins.manifest import Published
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
        f"{out} has results of 1 of 3 jobs, kept if images, weights and settings are the same",
        "expected: 20 s for 1 job, by earlier results",
        f"expected time of 1 job: no earlier result in {out}",
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


def test_a_data_set_that_is_not_here_is_missing(out):
    (line,) = plan(out, data="imagenet-val").missing
    assert "imagenet-val" in line
    assert not plan(out, data="sample").missing
    assert not plan(out, data=out).missing


def test_jobs_are_those_of_the_run_in_order(out):
    config = RunConfig(
        requests=tuple(parse_requests("jpeg,identity")),
        resolutions=(64, 32),
        out=out,
        metrics=("psnr",),
    )
    assert tuple(one.job for one in forecast(config).jobs) == config.jobs()


def test_the_most_similar_result_gives_the_time_and_of_equals_the_latest(out):
    """Label before resolution, protocol and seed; the date of what is equal in them."""
    (file,) = out.glob("*.json")
    base = from_json(read_json(file), file)

    def save(seconds, created="2025-01-01T00:00:00+00:00", label="jpeg", **changes):
        tokenizer = replace(base.tokenizer, label=label)
        protocol = base.protocol | {"id": changes.pop("protocol", "default-v1")}
        sha = f"{seconds:02d}" * 32
        save_result(
            replace(
                base, tokenizer=tokenizer, protocol=protocol, seconds=float(seconds),
                created=created, fingerprint=sha, **changes,
            ),
            out,
        )  # fmt: skip

    file.unlink()
    save(10, "2026-12-31T00:00:00+00:00", label="jpeg:quality=5")
    save(20, resolution=128, seed=3)
    assert times(plan(out)) == [(False, 5.0)]  # by its label, a fourth of the pixels
    save(30, protocol="ldm-v1", seed=3)
    assert times(plan(out)) == [(False, 30.0)]
    save(40, seed=3)
    assert times(plan(out)) == [(False, 40.0)]
    save(50)
    assert times(plan(out)) == [(True, 50.0)]
    save(60, "2024-01-01T00:00:00+00:00")
    assert times(plan(out)) == [(True, 50.0)]
    save(70, "2026-01-01T00:00:00+00:00")
    assert times(plan(out)) == [(True, 70.0)]
    assert times(plan(out, "jpeg:quality=5")) == [(True, 10.0)]


def test_weights_of_every_default_metric_are_looked_for(out, monkeypatch):
    monkeypatch.setattr(module, "cached_path", lambda name: None)
    monkeypatch.setattr(module, "how_to_get", lambda name: f"Get {name}")
    found = plan(out, metrics=("rfid", "psnr", "package.metric")).missing
    assert found == ("rfid needs inception. Get inception",)
    protocol = plan(out).jobs[0].job.protocol
    found = [line.split()[0] for line in plan(out, metrics=()).missing]
    assert set(found) < set(protocol.metric_keys)
    assert found[0] == "rfid"


def test_paths_that_begin_with_a_dot(out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (line,) = plan(out, "klvae:path=./none").missing
    assert line == "klvae:path=./none: no such file or folder. Correct the path"
    (tmp_path / "weights").mkdir()
    assert plan(out, "klvae:path=./weights").missing == ()


@pytest.mark.parametrize(
    ("more", "files"),
    [
        ({}, ["diffusion_pytorch_model.safetensors"]),
        ({"folder": "vae"}, ["vae/diffusion_pytorch_model.safetensors"]),
        ({"folder": "vae", "files": ("a.bin", "b.bin")}, ["a.bin", "b.bin"]),
    ],
)
def test_published_weights_are_looked_for_in_the_cache_of_the_hub(monkeypatch, more, files):
    asked = []

    def is_cached(*of_file):
        asked.append(of_file)
        return of_file[1] == cached

    monkeypatch.setattr(module, "is_cached", is_cached)
    options = {name: SimpleNamespace(type=kind) for name, kind in (("repo", "str"), ("n", "int"))}
    published = Published(hub="owner/model", revision="abc", **more)
    info = SimpleNamespace(id="one", options=options, published=published)
    cached = None
    assert list(_missing_weights(info, {"n": 3})) == [
        "one: its weights are fetched from owner/model on the Hugging Face Hub when the run "
        "starts. Without a network, pass their path as an option"
    ]
    assert asked == [("owner/model", file, "abc") for file in files]
    cached = files[-1]
    assert list(_missing_weights(info, {})) == []
    asked.clear()
    assert list(_missing_weights(info, {"repo": "mine/model"})) == []
    for nowhere in (None, Published()):
        info.published = nowhere
        assert list(_missing_weights(info, {})) == []
    assert asked == []
