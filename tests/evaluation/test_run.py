"""Runs on worker processes, in shares and as ranks: the same bits, whatever plugins do."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from PIL import Image
from plugin_folders import write_plugin
from scores import measured

from ssdd_bench.errors import OutputError, UnknownNameError, UserError
from ssdd_bench.evaluation import run as module
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.execution import ExecutionSettings
from ssdd_bench.evaluation.folder import PARTS, find_jobs
from ssdd_bench.evaluation.launch_settings import Launch
from ssdd_bench.evaluation.run import merge_results, run, run_jobs
from ssdd_bench.launch.lock import locked
from ssdd_bench.launch.shares import Share
from ssdd_bench.plugins.discovery import VARIABLE
from ssdd_bench.plugins.registry import parse_requests

MANIFEST = """
id = "naughty"
title = "Naughty"
family = "test"
description = "Does what it must not do."
licence = "Apache-2.0"
version = "1"
stochastic = true
[options.fault]
type = "str"
default = "none"
help = "what it does"
"""
PLUGIN = """
import ctypes, os, sys, time
import torch
from ssdd_bench.api import Latent, LatentSpec, Tokenizer

def patch():
    torch.nn.functional.interpolate = torch.nn.functional.avg_pool2d = None
    torch.Tensor.double = torch.Tensor.float

FAULTS = {
    "none": lambda: None,
    "threads": lambda: torch.set_num_threads(7),
    "dtype": lambda: torch.set_default_dtype(torch.float64),
    "device": lambda: torch.set_default_device("meta"),
    "precision": lambda: torch.set_float32_matmul_precision("medium"),
    "patch": patch,
    "environ": lambda: os.environ.clear(),
    "exit": lambda: sys.exit(0),
    "hard-exit": lambda: os._exit(0),
    "segfault": lambda: ctypes.string_at(0),
    "hang": lambda: time.sleep(600),
}

class Naughty(Tokenizer):
    latent = LatentSpec("continuous", 2, 3)
    def __init__(self, fault):
        self.fault, self.sleep = fault, float(os.environ.get("NAUGHTY_SLEEP", 0))
    def encode(self, images, noise=None):
        FAULTS[self.fault]()
        return Latent(images[..., ::2, ::2], tuple(images.shape[-2:]))
    def decode(self, latent, noise):
        time.sleep(self.sleep)
        image = latent.data.repeat_interleave(2, -1).repeat_interleave(2, -2)
        return image + 0.1 * noise.normal((3, *latent.size))

def load(fault):
    return Naughty(fault)
"""
LEAKS = ("threads", "dtype", "device", "precision", "patch", "environ")
DEATHS = ("exit", "hard-exit", "segfault", "hang")
GOOD = ("jpeg:quality=30", "naughty", "ssdd:steps=1")
METRICS = ("psnr", "psnr_pooled", "ssim", "fd_effnet")
IMAGES = 200  # four chunks


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    return write_plugin(tmp_path_factory.mktemp("plugins"), "naughty", MANIFEST, PLUGIN)


@pytest.fixture(autouse=True)
def naughty(plugins, monkeypatch):
    """The plugin of that name can be found, here and in programs."""
    monkeypatch.setenv(VARIABLE, str(plugins))


@pytest.fixture(scope="module")
def few(make_photos):
    return make_photos(3, (32, 32))


@pytest.fixture(scope="module")
def many(make_photos):
    return make_photos(IMAGES, (16, 16))


def work(tokenizers, data, out, metrics=METRICS[:3], **more):
    return run(
        list(tokenizers), resolutions=(16, 32), data=data, out=out, metrics=metrics,
        speed=False, pictures=False, progress=False, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def plain(few, plugins, tmp_path_factory):
    """Scores of the good tokenizers when nothing happens."""
    out = tmp_path_factory.mktemp("plain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(plugins))
        assert not work(GOOD, few, out, METRICS).failures
    return measured(out)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_what_a_plugin_leaks_ends_with_its_process(few, plain, tmp_path, jobs):
    leaky = [f"naughty:fault={fault}" for fault in LEAKS]
    summary = work([*leaky, *GOOD], few, tmp_path, METRICS, jobs=jobs)
    assert not {failure.name.partition(" ")[0] for failure in summary.failures} & {*GOOD}
    found = measured(tmp_path)
    assert {key: found[key] for key in plain} == plain


@pytest.mark.slow
def test_leaks_are_put_back_in_one_process(few, plain, tmp_path, monkeypatch):
    import torch

    for name in ("interpolate", "avg_pool2d"):
        monkeypatch.setattr(torch.nn.functional, name, getattr(torch.nn.functional, name))
    monkeypatch.setattr(torch.Tensor, "double", torch.Tensor.double)
    summary = work(["naughty:fault=patch", *GOOD], few, tmp_path, METRICS)
    assert not {failure.name.partition(" ")[0] for failure in summary.failures} & {*GOOD}
    found = measured(tmp_path)
    assert {key: found[key] for key in plain} == plain


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_the_death_of_a_plugin_costs_its_own_jobs(few, plain, tmp_path, jobs):
    deadly = [f"naughty:fault={fault}" for fault in DEATHS]
    summary = work([*deadly, *GOOD], few, tmp_path, METRICS, jobs=jobs, timeout=10)
    assert [(one.name.split(" at ")[0], one.problem.kind) for one in summary.failures[::2]] == [
        ("naughty:fault=exit", "PluginError"),
        ("naughty:fault=hard-exit", "WorkerDied"),
        ("naughty:fault=segfault", "WorkerDied"),
        ("naughty:fault=hang", "Timeout"),
    ]
    assert measured(tmp_path) == plain
    assert len(find_jobs(tmp_path)) == 2 * len(DEATHS)  # the same command tries them again


@pytest.fixture(scope="module")
def whole(many, plugins, tmp_path_factory):
    """Two tokenizers on four chunks, in one process."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(plugins))
        assert not work(GOOD[:2], many, out).failures
    return measured(out)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2, 3, 7])
def test_the_number_of_workers_changes_no_bit(many, whole, tmp_path, jobs):
    assert not work(GOOD[:2], many, tmp_path, jobs=jobs).failures
    assert measured(tmp_path) == whole
    assert not list(tmp_path.glob(f"{PARTS}/*"))
    assert not list(tmp_path.glob("run.lock"))


def config(data, out):
    return RunConfig(
        tuple(parse_requests(",".join(GOOD[:2]))), (16, 32), out, METRICS[:3], data=data,
        speed=False, pictures=False,
    )  # fmt: skip


SLOW_SHARES = [
    pytest.param(count, in_process, marks=pytest.mark.slow)
    for count, in_process in ((1, True), (3, True), (7, True), (2, False))
]


@pytest.mark.parametrize(("count", "in_process"), SLOW_SHARES)
def test_shares_in_any_order_are_merged(many, whole, tmp_path, monkeypatch, count, in_process):
    plan = config(many, tmp_path)
    for index in random.Random(count).sample(range(count), count):
        launch = Launch(in_process, share=Share(index, count))
        summary = run_jobs(plan, launch=launch)
        assert not summary.finished
        assert not summary.failures
    monkeypatch.delenv(VARIABLE)  # a merge needs no plugin
    summary = merge_results(tmp_path)
    assert len(summary.finished) == 4
    assert measured(tmp_path) == whole
    assert not (tmp_path / PARTS).exists()


@pytest.mark.slow
def test_a_share_that_is_missing_is_named_and_can_follow(many, whole, tmp_path):
    plan = config(many, tmp_path)
    for index in (0, 2):
        run_jobs(plan, launch=Launch(True, share=Share(index, 3)))
    summary = merge_results(tmp_path)
    assert len(summary.finished) + len(summary.failures) == 4
    assert summary.failures
    words = ["images: chunk", "no share has begun it"]
    assert all(any(word in str(failure) for word in words) for failure in summary.failures)
    assert "no share" in str(summary.failures)
    run_jobs(plan, launch=Launch(True, share=Share(1, 3)))
    assert not merge_results(tmp_path).failures
    assert measured(tmp_path) == whole
    assert not merge_results(tmp_path).finished  # again, as a cluster may do
    with pytest.raises(UserError, match="nothing to merge"):
        merge_results(tmp_path / "other")


@pytest.mark.slow
def test_a_share_that_is_done_is_not_done_again(many, tmp_path):
    plan = config(many, tmp_path)
    run_jobs(plan, launch=Launch(True, share=Share(0, 2)))
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert len(files) == 8
    run_jobs(plan, launch=Launch(True, share=Share(0, 2)))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == files


@pytest.mark.slow
def test_the_clock_of_a_share_is_in_the_result(few, tmp_path):
    plan = replace(config(few, tmp_path), speed=True, requests=tuple(parse_requests("jpeg")))
    for index in range(2):
        run_jobs(plan, launch=Launch(True, share=Share(index, 2)))
    assert all(one.result.speed is not None for one in merge_results(tmp_path).finished)


@pytest.mark.parametrize(
    ("speed", "share", "expected"),
    [(True, Share(1, 2), ["share-1-of-2", "quiet"]), (False, Share(1, 2), []), (True, None, [])],
)
def test_shares_that_time_wait_for_each_other(few, tmp_path, monkeypatch, speed, share, expected):
    seen = []

    @contextmanager
    def spy(folder, name):
        assert folder == tmp_path
        seen.append(name)
        yield lambda: seen.append("quiet")

    monkeypatch.setattr(module, "clocks_in_turn", spy)
    plan = replace(config(few, tmp_path), speed=speed, resolutions=(16,), metrics=("psnr",))
    plan = replace(plan, requests=tuple(parse_requests("jpeg")))
    run_jobs(plan, launch=Launch(True, share=share))
    assert seen == expected


def test_only_launchers_of_python_are_taken(few, tmp_path):
    with pytest.raises(UnknownNameError, match="slurm"):
        work(["jpeg"], few, tmp_path, launcher="slurm")


def test_two_launches_into_one_folder(few, tmp_path):
    with locked(tmp_path), pytest.raises(OutputError, match=f"process {os.getpid()}"):
        work(["jpeg"], few, tmp_path)
    with locked(tmp_path), pytest.raises(OutputError, match="in use"):
        merge_results(tmp_path)


def program(data, out, *more, module=("-m", "ssdd_bench"), **environment):
    """Start the two tokenizers on four chunks, slowly enough to be killed."""
    command = [
        *(sys.executable, *module, "run", "--tokenizers", ",".join(GOOD[:2]), "--res", "16,32"),
        *("--data", data, "--out", out, "--metrics", ",".join(METRICS[:3])),
        *("--no-speed", "--no-pictures", *more),
    ]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [*map(str, command)],
            env={**os.environ, "NAUGHTY_SLEEP": "0.002", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def family(process):
    """A launcher's worker processes and their server."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def finish(process):
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return out


def killed_at_random(data, out, seed, moments):
    """Kill a worker, all of them, the launcher or everything after some chunk, and start again."""
    rng = random.Random(seed)
    for _ in range(moments):
        process = program(data, out, "--jobs", "2")
        there = len(list(out.rglob("*.safetensors")))
        wanted, deadline = there + rng.randrange(4), time.monotonic() + 100
        while process.poll() is None and time.monotonic() < deadline:
            if len(list(out.rglob("*.safetensors"))) >= wanted and family(process):
                break
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        whom = rng.choice(["worker", "workers", "launcher", "all", "terminate", "interrupt"])
        children = family(process)
        if whom == "worker" and children:
            children = [rng.choice(children)]
        if whom in ("worker", "workers", "all"):
            for child in children:
                try:
                    child.kill()
                except psutil.NoSuchProcess:
                    continue
        if whom in ("launcher", "all"):
            process.kill()
        elif whom in ("terminate", "interrupt"):
            process.send_signal(signal.SIGTERM if whom == "terminate" else signal.SIGINT)
        _, err = process.communicate(timeout=200)
        expected = {"launcher": -9, "all": -9, "terminate": 143, "interrupt": 130}.get(whom, 0)
        assert process.returncode in (0, expected), (whom, err)
    finish(program(data, out, "--jobs", "2"))


# One job of four kills; twenty moments with SSDD_BENCH_HOSTILE, in `make hostile`.
KILLED_JOBS = 5 if "SSDD_BENCH_HOSTILE" in os.environ else 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(KILLED_JOBS))
def test_kills_at_random_moments_change_no_bit(many, whole, tmp_path, seed):
    killed_at_random(many, tmp_path, seed, 4)
    assert measured(tmp_path) == whole
    assert not (tmp_path / PARTS).exists()


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
PROGRAM = ("-m", "ssdd_bench")


@pytest.mark.slow
def test_torchrun_gives_the_same_bits(many, whole, tmp_path):
    out = finish(program(many, tmp_path, module=(*TORCHRUN, *PROGRAM)))
    assert measured(tmp_path) == whole
    assert out.count("Reconstruction, 16 × 16 px") == 1
    assert not (tmp_path / PARTS).exists()


@pytest.mark.slow
def test_torchrun_starts_again_after_a_rank_was_killed(many, whole, tmp_path):
    process = program(many, tmp_path, module=(*TORCHRUN, "--max-restarts=1", *PROGRAM))
    deadline = time.monotonic() + 100
    while len(list(tmp_path.rglob("*.safetensors"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    before = len(list(tmp_path.rglob("*.safetensors")))
    ranks = [one for one in family(process) if "ssdd_bench" in one.cmdline()]
    assert len(ranks) == 2
    ranks[1].kill()
    finish(process)
    assert measured(tmp_path) == whole
    assert before < 16  # it was in the middle


@pytest.mark.slow
def test_ranks_that_share_no_folder(many, whole, tmp_path):
    """The findings of rank 1 travel to rank 0."""
    outs = [tmp_path / "here", tmp_path / "there"]
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(30_000 + os.getpid() % 1000)}
    ranks = [
        program(many, out, WORLD_SIZE="2", RANK=str(rank), LOCAL_RANK="0", **address)
        for rank, out in enumerate(outs)
    ]
    assert [finish(rank) for rank in ranks][1] == ""
    assert measured(outs[0]) == whole
    assert not list(outs[1].rglob("*.safetensors"))
    assert not list(outs[1].glob("*.json"))


def test_every_argument_arrives(monkeypatch, few, tmp_path):
    calls = []
    monkeypatch.setattr(module, "run_jobs", lambda *found: calls.append(found))
    jpeg = parse_requests("jpeg:quality=5")[0]
    run(
        ["identity,downsample", jpeg], resolutions=[16, 24], out=str(tmp_path), metrics="mae",
        protocols=["ldm-v1"], data=few, limit=2, sample=3, sample_seed=1, max_image_mb=7,
        seeds=[8, 9], batch_size=(1, 2), device="cpu", dtype="bfloat16", compile="default",
        memory_format="contiguous", speed=False, pictures=False, picture_quality=65, strict=True,
        load_threads=2, intervals=True, force=True, interleave=True, baseline="identity", jobs=3,
        timeout=4.0, progress=False,
    )  # fmt: skip
    ((found, callbacks, launch, source),) = calls
    assert found == RunConfig(
        (*parse_requests("identity,downsample"), jpeg), (16, 24), tmp_path, ("mae",), ("ldm-v1",),
        few, 2, 3, 1, 7, (8, 9), (1, 2), "cpu",
        ExecutionSettings("bfloat16", "default", "contiguous"), False, False, 65, True, 2, True,
        True, True, "identity",
    )  # fmt: skip
    assert source.ids == found.source().ids
    assert launch == Launch(in_process=False, jobs=3, timeout=4.0)
    (task,) = callbacks._bar._progress.tasks
    planned = 3 * 2 * 2  # tokenizers, resolutions, and seeds of the encoder
    assert (task.description, task.total) == (f"{planned} jobs", planned * 2)
    assert callbacks._bar._progress.console.quiet
    calls.clear()
    run("jpeg", out=tmp_path)
    ((found, callbacks, launch, source),) = calls
    assert found == RunConfig(tuple(parse_requests("jpeg")), (256,), tmp_path)
    assert launch == Launch(in_process=True)
    calls.clear()
    run("jpeg", data=[Image.new("RGB", (8, 8))] * 3, limit=2, sample=2, progress=False)
    ((found, callbacks, launch, source),) = calls
    assert (found.data, found.limit, found.sample) == (source, None, None)
    assert (found.out, len(source)) == (Path("runs"), 2)
    with pytest.raises(UserError, match="CUDA"):
        run_jobs(replace(config(few, tmp_path), execution=ExecutionSettings(cuda_graphs=True)))
    with pytest.raises(UnknownNameError, match="gfid"):
        run_jobs(replace(config(few, tmp_path), metrics=("psnr", "gfid")))
    share = Launch(True, share=Share(0, 2))
    with pytest.raises(UserError, match="interleave"):
        run_jobs(replace(config(few, tmp_path), interleave=True, speed=True), launch=share)
