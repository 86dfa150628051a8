"""The main verb: results, resuming, and one clear line for every bad input."""

import json
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from plugin_folders import write_plugin

from ssdd_bench.plugins.registry import VARIABLE
from ssdd_bench.results.schema import SCHEMA_VERSION
from ssdd_bench.results.store import load_results

FAKE = """
import time
from ssdd_bench.api import Latent, LatentSpec, Tokenizer
class Slow(Tokenizer):
    latent = LatentSpec("continuous", 1, 3)
    def encode(self, images, noise=None):
        return Latent(images, tuple(images.shape[-2:]))
    def decode(self, latent, noise):
        time.sleep(SLEEP)
        return latent.data + 0.1 * noise.normal((3, *latent.size))
def load(seconds):
    global SLEEP
    SLEEP = seconds
    return Slow()
"""
MANIFEST = """
id = "slow"
title = "Slow"
family = "test"
description = "Sleeps."
licence = "Apache-2.0"
version = "1"
stochastic = true
[options.seconds]
type = "float"
default = 0.0
help = "per batch"
"""


@pytest.fixture(scope="module")
def photos(make_photos):
    return make_photos(4, (48, 48))


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    return write_plugin(tmp_path_factory.mktemp("plugins"), "slow", MANIFEST, FAKE)


@pytest.fixture
def slow(plugins, monkeypatch):
    """The plugin of that name can be found."""
    monkeypatch.setenv(VARIABLE, str(plugins))


@pytest.fixture
def run(program):
    return partial(program, "run", "--metrics", "psnr", "--no-speed")


def start(*args):
    """Start a process of its own, for what is about processes."""
    command = [sys.executable, "-m", "ssdd_bench", *map(str, args)]
    # A shell that runs the tests in the background has its children ignore interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_controls_from_command_to_table(photos, tmp_path):
    tokenizers = "identity,jpeg:quality=10,50,90,downsample"
    process = start(
        "run", "--tokenizers", tokenizers, "--res", "32,48", "--data", photos, "--out", tmp_path,
        "--metrics", "psnr,ssim,psnr_pooled",
    )  # fmt: skip
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    results = {
        (result.tokenizer.label, result.resolution): result for result in load_results([tmp_path])
    }
    assert len(results) == 10
    for resolution in (32, 48):
        same = results["identity", resolution]
        assert (same.metrics["psnr"].value, same.metrics["psnr"].infinite) == (None, 4)
        assert same.metrics["ssim"].value == pytest.approx(1, abs=1e-12)
        assert same.latent.bits_per_pixel == 24
        by_quality = [results[f"jpeg:quality={q}", resolution] for q in (10, 50, 90)]
        for key in ("psnr", "ssim"):
            values = [result.metrics[key].value for result in by_quality]
            assert values == sorted(values)
        bits = [result.latent.bits_per_pixel for result in by_quality]
        assert bits == sorted(bits)
    result = results["downsample", 48]
    assert result.latent.shape == (3, 6, 6)
    assert result.latent.tokens == 36
    assert result.data.n == 4
    assert result.speed.decode.images_per_s > 0
    assert result.protocol["id"] == "default-v1"
    assert result.command.startswith("ssdd-bench run --tokenizers")
    assert (tmp_path / "table.md").read_text().count("jpeg") == 6
    assert (tmp_path / "quality-vs-speed.png").stat().st_size > 10_000
    samples = tmp_path / "samples"
    assert len([one for one in samples.iterdir() if one.name.startswith("reference")]) == 2
    assert len(list(samples.glob("*/*.webp"))) == 12 * 4
    assert "identity" in out
    assert "∞" in out


@pytest.mark.slow
def test_second_run_measures_only_what_is_missing(run, photos, tmp_path):
    options = ["--data", photos, "--out", tmp_path, "--res", "32"]
    assert run("--tokenizers", "identity", *options)[0] == 0
    (old,) = tmp_path.glob("*.json")
    before = old.read_bytes()
    code, _, err = run("--tokenizers", "identity,jpeg", *options)
    assert code == 0
    assert ", kept\n" in err
    assert old.read_bytes() == before
    assert len(list(tmp_path.glob("*.json"))) == 2
    code, _, err = run("--tokenizers", "identity", "--force", *options)
    assert "kept" not in err
    assert old.read_bytes() != before


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_stopped_run_is_finished_by_the_same_command(program, photos, slow, tmp_path, number):
    args = ["run", "--tokenizers", "identity,slow:seconds=SECONDS", "--res", "32", "--data",
            photos, "--out", tmp_path, "--metrics", "psnr", "--no-speed"]  # fmt: skip

    def with_seconds(seconds):
        return [str(arg).replace("SECONDS", seconds) for arg in args]

    process = start(*with_seconds("60"))
    deadline = time.monotonic() + 100
    while not list(tmp_path.glob("identity*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (-9 if number == signal.SIGKILL else 130)
    if number == signal.SIGINT:
        assert "error: interrupted" in err
        assert "Traceback" not in err
    code, _, err = program(*with_seconds("0"))
    assert code == 0, err
    assert ", kept\n" in err
    assert len(load_results([tmp_path])) == 2


@pytest.mark.slow
def test_batch_size_changes_no_score(run, photos, slow, tmp_path):
    found = []
    for batch in (1, 4):
        out = tmp_path / str(batch)
        options = ["--data", photos, "--out", out, "--res", "32", "--batch-size", batch]
        assert run("--tokenizers", "slow", *options)[0] == 0
        (result,) = load_results([out])
        found.append((result.metrics, result.fingerprint))
    assert found[0] == found[1]


@pytest.mark.slow
def test_loading_threads_change_no_number(run, photos, slow, tmp_path):
    found = []
    for threads in ("auto", 0, 3):
        out = tmp_path / str(threads)
        options = ["--data", photos, "--out", out, "--res", "32", "--load-threads", threads]
        assert run("--tokenizers", "slow", *options)[0] == 0
        (result,) = load_results([out])
        found.append((result.metrics, result.fingerprint, result.data))
    assert found[0] == found[1] == found[2]


@pytest.mark.slow
def test_the_table_of_a_folder_has_the_rows_of_earlier_commands_too(run, photos, tmp_path):
    for tokenizer in ("identity", "downsample"):
        code, out, err = run(
            "--tokenizers", tokenizer, "--res", "32", "--data", photos, "--out", tmp_path
        )
        assert code == 0, err
    table = (tmp_path / "table.md").read_text()
    assert "| identity" in table
    assert "| downsample" in table
    assert "downsample" in out
    assert "identity" not in out
    assert "2 result files" in err


def test_dry_run_prints_the_grid(run, tmp_path):
    code, out, _ = run(
        "--tokenizers", "jpeg:quality=1,2", "--res", "32,64", "--dry-run", "--out", tmp_path / "no"
    )
    assert code == 0
    assert len(out.splitlines()) == 4
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
def test_truncated_image_is_left_out_by_name_or_refused(run, photos, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in photos.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    whole = (folder / "1.png").read_bytes()
    (folder / "1.png").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.jpg").write_text("no image")
    options = ["--tokenizers", "identity", "--res", "32", "--data", folder]
    code, _, _ = run(*options, "--out", tmp_path / "a")
    assert code == 0
    (result,) = load_results([tmp_path / "a"])
    assert result.data.n == 3
    assert result.data.skipped == ("1.png", "notes.jpg")
    code, _, err = run(*options, "--out", tmp_path / "b", "--strict")
    assert code == 2
    assert "1.png" in err


@pytest.mark.slow
def test_a_pattern_a_draw_and_a_limit_of_memory(run, make_photos, tmp_path):
    photos = make_photos(6, (700, 500))
    quick = ["--tokenizers", "identity", "--res", "8", "--metrics", "mse", "--no-speed"]
    options = [*quick, "--no-pictures", "--out", tmp_path]
    for draw in (["--limit", 2], ["--sample", 2], ["--sample", 2, "--sample-seed", 9]):
        assert run(*options, "--data", f"{photos}/{{0..5}}.png", *draw)[0] == 0
    first, second = load_results([tmp_path])  # a seed of 0 draws as --limit does: it is reused
    assert (first.data.name, first.data.n, second.data.n) == (photos.name, 2, 2)
    assert first.data.ids_sha256 != second.data.ids_sha256

    assert run(*options, "--data", f"{photos}/?.png")[0] == 0
    code, _, err = run(*options, "--data", f"{photos}/?.png", "--max-image-mb", 1)
    assert code == 2, err  # no image is left: those are 1.001 MB
    assert "more than 1" in lines(err)[0]
    code, _, err = run(*options, "--data", f"{photos}/{{4..7}}.png")
    assert code == 2
    assert "2 missing" in lines(err)[0]


def lines(err):
    return [line for line in err.splitlines() if line.startswith("error:")]


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["run", "--tokenizers", "sdd"], 2, "did you mean ssdd"),
        (["run", "--tokenizers", "jpeg:qualty=3"], 2, "quality"),
        (["run", "--tokenizers", "jpeg:quality=300"], 2, "from 1 to 100"),
        (["run", "--tokenizers", "identity", "--rez", "32"], 2, "--res"),
        (["run", "--tokenizers", "identity", "--res", "big"], 2, "256,512"),
        (["run", "--tokenizers", "identity", "--data", "no-such-folder"], 2, "no-such-folder"),
        (["run", "--tokenizers", "identity", "--metrics", "psnrr"], 2, "did you mean psnr"),
        (["run", "--tokenizers", "identity", "--protocol", "default-v2"], 2, "default-v1"),
        (["run", "--tokenizers", "identity", "--device", "gpu0"], 2, "auto or cpu"),
        (["run", "--tokenizers", "downsample", "--res", "60"], 3, "1 of 1 job failed"),
        (["run", "--tokenizers", "ssdd:checkpoint=no-file"], 3, "1 of 1 job failed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line(program, args, code, message, tmp_path):
    got, _, err = program(*args, "--out", tmp_path / "out")
    assert got == code, err
    (line,) = lines(err)
    assert message in line
    assert "Traceback" not in err


@pytest.mark.medium
def test_failed_job_says_why_and_the_others_go_on(run, photos, tmp_path):
    code, _, err = run(
        "--tokenizers", "downsample,identity", "--res", "36", "--data", photos, "--out", tmp_path
    )
    assert code == 3
    assert err.count("multiple of") == 1  # a line for the failure, which the last one names
    assert "downsample at 36 px" in lines(err)[-1]
    assert [result.tokenizer.id for result in load_results([tmp_path])] == ["identity"]


@pytest.mark.medium
@pytest.mark.parametrize("options", [(), ("--quiet",)])
def test_a_failure_has_one_line(run, photos, tmp_path, options):
    code, _, err = run(
        "--tokenizers", "downsample", "--res", "36", "--data", photos, "--out", tmp_path, *options
    )
    assert code == 3
    assert sum(line.startswith("failed: ") for line in err.splitlines()) == 1


def test_empty_folder(run, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = run(
        "--tokenizers", "identity", "--data", tmp_path / "empty", "--out", tmp_path / "out"
    )
    assert code == 2
    assert "no images" in lines(err)[0]


def test_output_that_cannot_be_written(run, photos, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = run(
        "--tokenizers", "identity", "--data", photos, "--out", tmp_path / "file" / "out"
    )
    assert code == 2
    assert "cannot write" in lines(err)[0]


@pytest.mark.medium
def test_result_file_is_plain_json(run, photos, tmp_path):
    assert (
        run("--tokenizers", "identity", "--res", "32", "--data", photos, "--out", tmp_path)[0] == 0
    )
    (path,) = tmp_path.glob("*.json")
    data = json.loads(path.read_text())
    assert data["schema_version"] == SCHEMA_VERSION
    assert data["environment"]["torch"]


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """No weights anywhere, and a network that refuses at once."""
    for name in ("HOME", "XDG_CACHE_HOME", "TORCH_HOME", "SSDD_BENCH_WEIGHTS"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


@pytest.fixture
def with_metrics(program):
    def call(metrics, photos, out, *more):
        return program(
            "run", "--tokenizers", "identity", "--res", "32", "--data", photos, "--out", out,
            "--no-speed", "--no-pictures", *(["--metrics", metrics] if metrics else []), *more,
        )  # fmt: skip

    return call


@pytest.mark.slow
def test_a_metric_without_weights_says_so_and_the_run_goes_on(bare, with_metrics, photos, tmp_path):
    code, _, err = with_metrics("", photos, tmp_path / "runs")
    assert code == 0, err
    (result,) = load_results([tmp_path / "runs"])
    for key, name in {"rfid": "inception", "lpips_alex": "alexnet"}.items():
        assert result.metrics[key].value is None
        assert f"ssdd-bench weights fetch {name}" in result.metrics[key].unavailable
    assert result.metrics["ssim"].value == pytest.approx(1)
    assert "weights fetch inception" in (tmp_path / "runs" / "table.md").read_text()
    code, _, err = with_metrics("", photos, tmp_path / "runs")
    assert ", kept\n" in err
    code, _, err = with_metrics("", photos, tmp_path / "runs", "--strict")
    assert code == 3
    assert "weights fetch" in err


@pytest.mark.slow
def test_a_metric_asked_for_is_fetched_or_absent(bare, with_metrics, photos, tmp_path):
    code, _, err = with_metrics("psnr,rfid", photos, tmp_path / "runs")
    assert code == 0, err
    assert "rfid will be absent: cannot fetch https://" in err
    code, _, err = with_metrics("psnr,rfid", photos, tmp_path / "other", "--strict")
    assert code == 2
    assert "error: cannot fetch https://" in err


@pytest.mark.medium
def test_offline_fails_before_the_first_image(bare, with_metrics, photos, tmp_path):
    code, _, err = with_metrics("psnr,rfid", photos, tmp_path / "runs", "--offline")
    assert code == 2
    assert "ssdd-bench weights fetch inception" in err
    assert not (tmp_path / "runs").exists()
    assert with_metrics("psnr", photos, tmp_path / "runs", "--offline")[0] == 0


def test_statistics_of_a_training_set_are_refused(with_metrics, tmp_path):
    import numpy as np

    path = tmp_path / "VIRTUAL_imagenet256_labeled.npz"
    pixels = np.zeros((2, 32, 32, 3), np.uint8)
    np.savez(path, arr_0=pixels, mu=np.zeros(2), sigma=np.eye(2))
    code, _, err = with_metrics("psnr", path, tmp_path / "runs")
    assert code == 2
    assert "the very crops" in err


@pytest.mark.slow
def test_scores_of_single_images_lie_beside_the_result(with_metrics, photos, tmp_path):
    import pandas as pd

    code, _, err = with_metrics("psnr,ssim,fd_effnet", photos, tmp_path, "--intervals")
    assert code == 0, err
    (result,) = load_results([tmp_path])
    scores = pd.read_parquet(tmp_path / result.scores)
    assert list(scores.columns) == ["id", "psnr", "ssim"]
    assert list(scores["id"]) == ["0.png", "1.png", "2.png", "3.png"]
    assert scores["ssim"].mean() == pytest.approx(result.metrics["ssim"].value)
    assert result.metrics["fd_effnet"].interval is None  # too few images


@pytest.mark.slow
def test_seeds_are_for_what_is_random(run, photos, slow, tmp_path):
    code, out, err = run(
        "--tokenizers", "identity,slow", "--res", "32", "--data", photos, "--out", tmp_path,
        "--seed", "0,3",
    )  # fmt: skip
    assert code == 0, err
    found = {(one.tokenizer.label, one.seed): one for one in load_results([tmp_path])}
    assert set(found) == {("identity", 0), ("slow", 0), ("slow", 3)}
    values = [found["slow", seed].metrics["psnr"].value for seed in (0, 3)]
    assert values[0] != values[1]
    assert "seeds 0, 3" in out
    assert run("--tokenizers", "slow", "--seed", "x")[0] == 2


@pytest.mark.slow
def test_an_interval_asked_for_once_is_kept(with_metrics, make_photos, tmp_path):
    photos, out = make_photos(20, (32, 32)), tmp_path / "runs"

    def measured(metrics, *more):
        code, _, err = with_metrics(metrics, photos, out, *more)
        assert code == 0, err
        return load_results([out])[0].metrics, ", kept\n" in err

    before, _ = measured("fd_effnet")
    assert before["fd_effnet"].interval is None
    asked, _ = measured("fd_effnet", "--intervals")
    assert asked["fd_effnet"].interval is not None
    assert measured("fd_effnet", "--intervals") == (asked, True)
    later, _ = measured("psnr")
    assert later["fd_effnet"] == asked["fd_effnet"]


@pytest.mark.slow
def test_decoders_are_timed_by_turns(program, photos, tmp_path):
    flags = ["run", "--metrics", "psnr", "--data", photos, "--out", tmp_path, "--res", "32",
             "--tokenizers", "identity,jpeg:quality=50,90", "--interleave",
             "--baseline", "jpeg:quality=90"]  # fmt: skip
    code, _, err = program(*flags)
    assert code == 0, err
    results = {one.tokenizer.label: one for one in load_results([tmp_path])}
    assert results["jpeg:quality=90"].speed.comparison is None
    found = results["identity"].speed.comparison
    assert found.baseline == "jpeg:quality=90"
    assert found.ratio > 2
    assert found.interval[0] <= found.ratio <= found.interval[1]
    assert "decode / jpeg:quality=90" in (tmp_path / "table.md").read_text()
    assert program(*flags)[0] == 0  # with nothing left to do
    assert {one.tokenizer.label: one.speed for one in load_results([tmp_path])} == {
        label: one.speed for label, one in results.items()
    }


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--baseline", "jpeg"], "interleave"),
        (["--interleave", "--no-speed"], "speed"),
        (["--interleave"], "two or more"),
        (["--interleave", "--tokenizers", "identity,jpeg", "--baseline", "webp"], "webp"),
        (["--batch-size", "0"], "0"),
        (["--compile", "default", "--cuda-graphs", "--device", "cpu"], "GPU"),
    ],
)
def test_settings_of_execution_that_do_not_go_together(program, photos, tmp_path, flags, words):
    options = ["--tokenizers", "identity", "--data", photos, "--out", tmp_path, "--res", "32"]
    code, _, err = program("run", *options, *flags)
    assert code == 2
    assert words in err


@pytest.mark.slow
def test_number_format_and_batches_from_the_command_line(program, photos, tmp_path):
    code, _, err = program(
        "run", "--tokenizers", "ssdd", "--data", photos, "--out", tmp_path, "--res", "32",
        "--metrics", "psnr", "--dtype", "bfloat16", "--batch-size", "1,2",
    )  # fmt: skip
    assert code == 0, err
    (result,) = load_results([tmp_path])
    assert result.tokenizer.label == "ssdd (bfloat16)"
    assert result.speed.batches == (1, 2)
    assert result.execution.dtype == "bfloat16"
    saved = (tmp_path / "run.toml").read_text()
    assert "batch-size = [1, 2]" in saved
    code, _, err = program("run", "--config", tmp_path / "run.toml")
    assert ", kept\n" in err


@pytest.mark.slow
def test_trackers_get_every_result(program, tmp_path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    arguments = ("run", "--tokenizers", "jpeg:quality=10,50", "--limit", 2, "--res", 32)
    more = ("--metrics", "psnr", "--no-speed", "--no-pictures", "--in-process", "--quiet")
    code, _, error = program(*arguments, *more, "--out", tmp_path, "--track", "tensorboard")
    assert code == 0, error
    (file,) = (tmp_path / "tensorboard").glob("events*")
    read = EventAccumulator(str(file))
    read.Reload()
    names = [f"jpeg-quality-{quality} 32 px default-v1/psnr" for quality in (10, 50)]
    found = {name: read.Scalars(name) for name in names}
    assert [(one.step, one.value > 10) for name in names for one in found[name]] == [
        (1, True),
        (2, True),
    ]
    code, _, error = program(*arguments, *more, "--out", tmp_path / "b", "--track", "neptune")
    assert (code, error.count("\n")) == (2, 1)
    code, _, error = program(
        *arguments, *more, "--out", tmp_path / "b", "--track", "tensorboard", "--shard", "0/2"
    )
    assert (code, error.count("\n")) == (2, 1)
    assert not (tmp_path / "b").exists()
