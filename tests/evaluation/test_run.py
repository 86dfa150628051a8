"""Runs on worker processes, in shares and as ranks: the same bits, whatever plugins do."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from fake_ranks import FakeRanks, Stand
from job_records import BASE
from PIL import Image
from plugin_folders import write_plugin
from scores import measured

from ssdd_bench.errors import DataError, FileContentError, OutputError, UnknownNameError, UserError
from ssdd_bench.evaluation import chunks as chunks_module
from ssdd_bench.evaluation import run as module
from ssdd_bench.evaluation import work as work_module
from ssdd_bench.evaluation import worker as worker_module
from ssdd_bench.evaluation.comparison import ComparisonGroup
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.execution import ExecutionSettings
from ssdd_bench.evaluation.folder import (
    PARTS,
    Plan,
    PlannedImages,
    find_jobs,
    load_plans,
    save_plan,
)
from ssdd_bench.evaluation.job import Failure, Finished
from ssdd_bench.evaluation.launch_settings import Launch
from ssdd_bench.evaluation.progress import Callbacks
from ssdd_bench.evaluation.result import show_html, show_text
from ssdd_bench.evaluation.run import RunSummary, merge_results, run, run_jobs
from ssdd_bench.launch.lock import locked
from ssdd_bench.launch.ranks import Rank
from ssdd_bench.launch.scheduler import Watcher
from ssdd_bench.launch.shares import Share
from ssdd_bench.launch.tasks import Opened, Problem
from ssdd_bench.plugins.discovery import VARIABLE
from ssdd_bench.plugins.registry import parse_requests
from ssdd_bench.results.schema import SpeedComparison
from ssdd_bench.results.store import save_result

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
MANY = 200  # four chunks
IMAGES = PlannedImages(BASE.data.name, BASE.data.n, BASE.data.ids_sha256)


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
    return make_photos(MANY, (16, 16))


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
@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.nightly)])
def test_what_a_plugin_leaks_ends_with_its_process(few, plain, tmp_path, jobs):
    leaky = [f"naughty:fault={fault}" for fault in LEAKS]
    summary = work([*leaky, *GOOD], few, tmp_path, METRICS, jobs=jobs)
    assert not {failure.name.partition(" ")[0] for failure in summary.failures} & {*GOOD}
    found = measured(tmp_path)
    assert {key: found[key] for key in plain} == plain


@pytest.mark.slow
def test_leaks_are_put_back_in_one_process(few, plain, tmp_path, monkeypatch):
    for name in ("interpolate", "avg_pool2d"):
        monkeypatch.setattr(torch.nn.functional, name, getattr(torch.nn.functional, name))
    monkeypatch.setattr(torch.Tensor, "double", torch.Tensor.double)
    summary = work(["naughty:fault=patch", *GOOD], few, tmp_path, METRICS)
    assert not {failure.name.partition(" ")[0] for failure in summary.failures} & {*GOOD}
    found = measured(tmp_path)
    assert {key: found[key] for key in plain} == plain


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.nightly)])
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
@pytest.mark.parametrize("jobs", [1, 2, pytest.param(3, marks=pytest.mark.nightly), 7])
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


@pytest.mark.medium
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
    monkeypatch.setattr(work_module, "measure_speed", lambda *given, **named: BASE.speed)
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
    return subprocess.Popen(
        [*map(str, command)],
        env={**os.environ, "NAUGHTY_SLEEP": "0.002", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def family(process):
    """A launcher's worker processes and their server."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def chunks(out):
    """Count the chunks below a folder; others in it may vanish meanwhile."""
    return sum(name.endswith(".safetensors") for *_, names in os.walk(out) for name in names)


def finish(process):
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return out


def killed_at_random(data, out, seed, moments):
    """Kill a worker, all of them, the launcher or everything after some chunk, and start again."""
    rng = random.Random(seed)
    for _ in range(moments):
        process = program(data, out, "--jobs", "2")
        there = chunks(out)
        wanted, deadline = there + rng.randrange(4), time.monotonic() + 100
        while process.poll() is None and time.monotonic() < deadline:
            if chunks(out) >= wanted and family(process):
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


@pytest.mark.nightly
def test_torchrun_starts_again_after_a_rank_was_killed(many, whole, tmp_path):
    process = program(many, tmp_path, module=(*TORCHRUN, "--max-restarts=1", *PROGRAM))
    deadline = time.monotonic() + 100
    while chunks(tmp_path) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    before = chunks(tmp_path)
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
    assert not chunks(outs[1])
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


CPU = torch.device("cpu")


class Noting(Callbacks):
    """Keeps everything that it is told."""

    def __init__(self):
        self.seen = []

    def job_started(self, job, number, total, images, done):
        self.seen.append(("started", job.name, number, total, images, done))

    def images_done(self, job, count):
        self.seen.append(("images", job.name, count))

    def stage(self, job, name):
        self.seen.append(("stage", job.name, name))

    def job_finished(self, job, finished):
        self.seen.append(("finished", job and job.name, finished))

    def jobs_failed(self, jobs, failure):
        self.seen.append(("failed", [job.name for job in jobs], failure))


def small(data, out, tokenizers="jpeg", **changes):
    """PSNR alone at 16 and 32 pixels, which takes no time."""
    plan = config(data, out)
    plan = replace(plan, requests=tuple(parse_requests(tokenizers)), metrics=("psnr",))
    return replace(plan, **changes)


@pytest.mark.medium
def test_everything_that_happens_is_told(few, tmp_path, monkeypatch):
    """A job that goes on, a new one, one that fails and a tokenizer that cannot be loaded."""
    monkeypatch.setattr(chunks_module, "SMALLEST", 2)
    load, error = worker_module.load, UserError("no weights")

    def loads(request, device):
        if request.label == "downsample":
            raise error
        return load(request, device)

    monkeypatch.setattr(worker_module, "load", loads)
    out = tmp_path / "new" / "folder"
    begun = run_jobs(small(few, out, resolutions=(16,)), launch=Launch(True, share=Share(0, 2)))
    assert begun == RunSummary((), ())
    told = Noting()
    plan = small(few, out, "jpeg,downsample,naughty:fault=exit")
    summary = run_jobs(replace(plan, resolutions=(16, 32)), told)
    first, second = (f"jpeg at {side} px, default-v1" for side in (16, 32))
    naughty = "naughty:fault=exit at {} px, default-v1"
    one, two = summary.finished
    not_loaded, *failed = summary.failures
    assert (one.result.resolution, two.result.resolution) == (16, 32)
    assert not_loaded == Failure("downsample", 2, Problem.of(error))
    assert [(one.name, one.jobs) for one in failed] == [
        (naughty.format(16), 1),
        (naughty.format(32), 1),
    ]
    jobs = [f"downsample at {side} px, default-v1" for side in (16, 32)]
    assert told.seen == [
        ("started", first, 1, 6, 3, 2),
        ("images", first, 1),
        ("stage", first, "scores"),
        ("finished", first, one),
        ("started", second, 2, 6, 3, 0),
        *[("images", second, 1)] * 3,
        ("stage", second, "scores"),
        ("finished", second, two),
        ("failed", jobs, not_loaded),
        ("started", naughty.format(16), 5, 6, 3, 0),
        ("failed", [naughty.format(16)], failed[0]),
        ("started", naughty.format(32), 6, 6, 3, 0),
        ("failed", [naughty.format(32)], failed[1]),
    ]
    assert list(summary.to_frame()["resolution"]) == [16, 32]


def test_the_scheduler_gets_what_a_share_is_to_do(few, tmp_path, monkeypatch):
    quiet, costs, there = object(), [], []
    monkeypatch.setattr(Share, "of", lambda share, found: costs.append((share, found)) or "ours")
    monkeypatch.setattr(module, "clocks_in_turn", lambda *found: module.nullcontext(quiet))

    def look(watcher):
        assert isinstance(watcher, Watcher)
        there.append([path.name for path in tmp_path.glob("[!.]*.lock")])
        there.append(planned(tmp_path))

    stand = Stand(monkeypatch, module, look)
    launch = Launch(jobs=3, timeout=5.0, share=Share(1, 3))
    source = small(few, tmp_path).source()
    plan = small(few, tmp_path, "jpeg,identity", speed=True, metrics=())
    made = run_jobs(plan, None, launch, source)
    assert made == RunSummary((), ())
    ((groups, slots, timeout, shares, given),) = stand.given
    assert [group.name for group in groups] == ["jpeg", "identity"]
    assert all(group._source is source for group in groups)
    assert (slots, timeout, shares, given) == ((launch, CPU), 5.0, "ours", quiet)
    pixels = {(0, 0): [768.0], (0, 1): [3072.0], (1, 0): [768.0], (1, 1): [3072.0]}
    assert costs == [(Share(1, 3), pixels)]
    jobs = tuple(
        f"{name} at {side} px, default-v1" for name in ("jpeg", "identity") for side in (16, 32)
    )
    assert there == [["share-1-of-3.lock"], jobs]
    assert not list(tmp_path.glob("[!.]*.lock"))


def planned(out):
    """Names of the jobs in all plans."""
    return tuple(name for plan in load_plans(out).values() for name in plan.jobs)


def test_a_run_without_shares_has_no_plan(few, tmp_path, monkeypatch):
    there = []
    stand = Stand(monkeypatch, module, lambda watcher: there.extend(tmp_path.glob("[!.]*")))
    run_jobs(small(few, tmp_path))
    assert there == [tmp_path / "run.lock"]
    ((_, slots, timeout, shares, quiet),) = stand.given
    assert (slots, timeout, shares, quiet) == ((Launch(True), CPU), None, None, None)


@pytest.mark.parametrize("text", ["{}", "[1]", '{"loss": NaN}', '{"schema_version": 1}'])
def test_json_that_is_no_result_is_refused_first(few, tmp_path, monkeypatch, text):
    stand = Stand(monkeypatch, module)
    (tmp_path / "trainer_state.json").write_text(text)
    save_plan(tmp_path, Plan(IMAGES, ("jpeg at 16 px, default-v1",)))
    for call in (lambda: run_jobs(small(few, tmp_path)), lambda: merge_results(tmp_path)):
        with pytest.raises(FileContentError, match=r"trainer_state\.json"):
            call()
    assert not stand.given


@pytest.mark.medium
@pytest.mark.parametrize("text", ['{"tok', '{"schema_version": 1}'])
def test_a_result_that_cannot_be_read_is_replaced(few, tmp_path, text):
    plan = replace(small(few, tmp_path), resolutions=(16,))
    (finished,) = run_jobs(plan).finished
    finished.path.write_text(text)
    (again,) = run_jobs(plan).finished
    assert again == replace(finished, result=again.result)
    assert again.result.metrics == finished.result.metrics


def test_a_folder_that_cannot_be_written_is_named(few, tmp_path, monkeypatch):
    asked = []

    def full(**given):
        asked.append(given)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.tempfile, "TemporaryFile", full)
    text = f"^cannot write into {tmp_path}: No space left on device; choose another --out$"
    with pytest.raises(OutputError, match=text):
        run_jobs(small(few, tmp_path))
    assert asked == [{"dir": tmp_path}]
    (tmp_path / "x").touch()
    with pytest.raises(OutputError, match="x/y: Not a directory"):
        run_jobs(small(few, tmp_path / "x" / "y"))


def canned(label, side, out, comparison=None):
    """A result as another run has left it."""
    result = replace(
        BASE,
        tokenizer=replace(BASE.tokenizer, label=label),
        speed=replace(BASE.speed, comparison=comparison),
        resolution=side,
        protocol=BASE.protocol | {"id": "default-v1"},
        seed=0,
    )
    return Finished(result, out / f"{label}-{side}.json", reused=False)


def test_results_get_the_ratios_of_their_speeds(few, tmp_path, monkeypatch):
    tasks = {(0, 0): ("jpeg", 16), (0, 1): ("jpeg", 32), (1, 0): ("identity", 16),
             (1, 1): ("identity", 32)}  # fmt: skip
    results = {task: canned(*which, tmp_path) for task, which in tasks.items()}
    ratio = SpeedComparison("jpeg", 2.0, (1.0, 3.0), 15)
    compared = canned("identity", 16, tmp_path, ratio)
    problem = Problem("ValueError", "too fast", "trace")

    def finish(watcher):
        for task in ((1, 1), (0, 0), (1, 0), (0, 1)):
            watcher.finished(task, results[task])

    def compare(watcher):
        watcher.finished((0, 0), (results[0, 0], compared))
        watcher.failed(0, [1], problem)

    stand, told = Stand(monkeypatch, module, finish, compare), Noting()
    plan = small(few, tmp_path, "jpeg,identity", speed=True, interleave=True)
    launch = Launch(jobs=3, timeout=5.0)
    summary = run_jobs(plan, told, launch)
    failure = Failure("timing by turns at 32 px, default-v1", 1, problem)
    assert summary == RunSummary(
        (results[0, 0], results[0, 1], compared, results[1, 1]), (failure,)
    )
    assert told.seen[4:] == [("failed", [], failure)]
    _, ((group,), slots, timeout, shares, quiet) = stand.given
    assert isinstance(group, ComparisonGroup)
    assert (group.config, group.baseline) == (plan, "jpeg")
    first, second = group.plan
    assert [found for _, found in (*first, *second)] == [
        results[task] for task in ((0, 0), (1, 0), (0, 1), (1, 1))
    ]
    assert [(job.request.label, job.resolution) for job, _ in first] == [
        ("jpeg", 16),
        ("identity", 16),
    ]
    assert (slots, timeout, shares, quiet) == ((Launch(jobs=1, timeout=5.0), CPU), 5.0, None, None)


def as_rank(monkeypatch, rank, theirs, merge=None):
    """Have ranks and merges stand in; return what they are asked."""
    seen = []

    def merged(path, out):
        seen.append(("merge", path, out))
        return merge[path.name](path, out)

    monkeypatch.setattr(module, "merge_folder", merged)
    monkeypatch.setattr(module, "Ranks", lambda *given: FakeRanks(seen, theirs, *given))
    own = Rank(rank, 2, 1, 2)
    return seen, Launch(True, rank=own, wait=7.0), [
        ("rank", own, 7.0), ("in turn", True), "next",
    ]  # fmt: skip


def fail(error):
    def failing(path, out):
        raise error

    return failing


def test_the_first_rank_merges_what_all_have_found(few, tmp_path, monkeypatch):
    results = [canned("jpeg", side, tmp_path) for side in (16, 24, 32, 40)]
    lost = Failure("jpeg at 48 px, default-v1", 1, Problem("ValueError", "lost"))
    theirs = (
        {(0, 1): results[1]},
        {(0, 4): lost},
        {(0, 2): "folder-32", (0, 4): "folder-48", (0, 5): "folder-56"},
    )
    merges = {
        "folder-16": lambda *given: results[0],
        "folder-32": lambda *given: results[2],
        "folder-56": fail(UserError("a chunk is missing")),
    }
    seen, launch, before = as_rank(monkeypatch, 0, theirs, merges)

    def work(watcher):
        watcher.started((0, 0), Opened((3,), (0,), folder="folder-16"))
        watcher.started((0, 3), Opened((3,), (0,)))
        watcher.finished((0, 3), results[3])
        watcher.failed(0, [6], Problem("ValueError", "mine"))

    stand, told = Stand(monkeypatch, module, work), Noting()
    plan = small(few, tmp_path, resolutions=(16, 24, 32, 40, 48, 56, 64))
    summary = run_jobs(plan, told, launch)
    assert summary.finished == tuple(results)
    first, second, third = summary.failures
    assert (first, third) == (
        lost,
        Failure("jpeg at 64 px, default-v1", 1, Problem("ValueError", "mine")),
    )
    assert (second.name, second.jobs) == ("jpeg at 56 px, default-v1", 1)
    assert (second.problem.kind, second.problem.text) == ("UserError", "a chunk is missing")
    assert seen == [
        *before,
        ("collect", tmp_path, PARTS),
        "gather",
        *(("merge", tmp_path / PARTS / f"folder-{side}", tmp_path) for side in (16, 32, 56)),
        "meet",
        "parted",
    ]
    name = "jpeg at {} px, default-v1"
    assert told.seen == [
        ("started", name.format(16), 1, 7, 3, 0),
        ("started", name.format(40), 4, 7, 3, 0),
        ("finished", name.format(40), results[3]),
        ("failed", [name.format(64)], third),
        ("finished", name.format(16), results[0]),
        ("finished", name.format(32), results[2]),
        ("failed", [name.format(56)], second),
    ]
    assert stand.given[0][3:] == ({(0, n): range(1) for n in range(5)}, "quiet")
    assert not load_plans(tmp_path)


def test_a_tokenizer_that_no_rank_can_load_fails_at_all_its_jobs(few, tmp_path, monkeypatch):
    problem = Problem("ValueError", "no weights")
    theirs = Failure("jpeg", 2, problem)
    _, launch, _ = as_rank(monkeypatch, 0, ({}, dict.fromkeys([(0, 2), (0, 3)], theirs), {}))
    Stand(monkeypatch, module, lambda watcher: watcher.failed(0, [0, 1], problem))
    summary = run_jobs(small(few, tmp_path, resolutions=(16, 24, 32, 40)), None, launch)
    assert summary.failures == (theirs, theirs)


@pytest.mark.parametrize("error", [DataError("twice"), OutputError("full")])
def test_what_concerns_every_job_ends_a_merge_of_ranks(few, tmp_path, monkeypatch, error):
    merges = {"folder": fail(error)}
    _, launch, _ = as_rank(monkeypatch, 0, ({}, {}, {(0, 1): "folder"}), merges)
    Stand(monkeypatch, module)
    with pytest.raises(type(error), match=str(error)):
        run_jobs(small(few, tmp_path), None, launch)


def test_the_first_rank_compares_the_speeds_of_all(few, tmp_path, monkeypatch):
    results = {(0, 0): canned("jpeg", 16, tmp_path), (1, 0): canned("identity", 16, tmp_path)}
    seen, launch, _ = as_rank(monkeypatch, 0, (results, {}, {}))
    stand = Stand(monkeypatch, module)
    plan = small(few, tmp_path, "jpeg,identity", speed=True, interleave=True, resolutions=(16,))
    assert run_jobs(plan, None, launch).finished == tuple(results.values())
    assert stand.given[1][0][0].jobs == ("timing by turns at 16 px, default-v1",)
    assert seen[-2:] == ["meet", "parted"]


def test_other_ranks_return_nothing(few, tmp_path, monkeypatch):
    theirs = ({(0, 0): canned("jpeg", 16, tmp_path)}, {}, {(0, 1): "folder"})
    seen, launch, before = as_rank(monkeypatch, 1, theirs)
    there = []

    def work(watcher):
        there.extend(tmp_path.glob("[!.]*"))
        watcher.finished((0, 1), canned("jpeg", 32, tmp_path))
        watcher.failed(0, [0], Problem("ValueError", "lost"))

    Stand(monkeypatch, module, work)
    assert run_jobs(small(few, tmp_path), None, launch) == RunSummary((), ())
    assert seen == [*before, ("collect", tmp_path, PARTS), "gather", "meet", "parted"]
    assert there == [tmp_path / "share-1-of-2.lock"]


def test_arguments_of_a_cluster(monkeypatch, few, tmp_path):
    calls, asked = [], []
    monkeypatch.setattr(module, "run_jobs", lambda *found: calls.append(found))
    monkeypatch.setattr(module, "count_gpus", lambda *given: asked.append(given) or 4)
    of_run = {"data": few, "out": tmp_path, "device": "cpu"}
    run("jpeg", launcher="ray", gpus_per_job=2, jobs=3, progress=False, **of_run)
    run("jpeg", cuda_graphs=True, **of_run)
    (_, _, on_ray, _), (found, callbacks, here, _) = calls
    assert (asked, on_ray) == ([("cpu", 2)], Launch(False, 3, ray_gpus=4))
    assert (found.execution.cuda_graphs, here) == (True, Launch(True))
    assert not callbacks._bar._progress.console.quiet  # progress is shown by default


def missing(name, out):
    """The failure of a job that a merge does not find; the plan is the only one."""
    ((file, plan),) = load_plans(out).items()
    text = (
        f"no share has begun it, on {plan.images.name}: run the shares that are missing, then "
        f"merge; or delete {file} to do without"
    )
    return Failure(name, 1, Problem("UserError", text))


@pytest.mark.medium
def test_a_merge_tells_what_it_has_made_and_what_is_missing(few, tmp_path):
    for index, side, other in ((0, 16, 32), (1, 32, 16)):
        run_jobs(small(few, tmp_path), launch=Launch(True, share=Share(index, 2)))
        told = Noting()
        summary = merge_results(tmp_path, told)
        (finished,) = summary.finished
        assert (finished.result.resolution, finished.reused) == (side, False)
        assert finished.path.is_file()
        failures = () if index else (missing(f"jpeg at {other} px, default-v1", tmp_path),)
        assert summary.failures == failures
        failed = [("failed", [], one) for one in failures]
        assert told.seen == [("finished", None, finished), *failed]
        assert planned(tmp_path) == tuple(one.name for one in failures)
    assert not (tmp_path / PARTS).exists()
    assert merge_results(tmp_path) == RunSummary((), ())
    assert not list(tmp_path.glob("[!.]*.lock"))


@pytest.mark.medium
def test_a_merge_knows_the_jobs_of_every_run_in_shares(few, tmp_path):
    """The second command is started before the first one's last share."""
    for side in (16, 32):
        plan = replace(small(few, tmp_path, "jpeg,identity"), resolutions=(side,))
        run_jobs(plan, launch=Launch(True, share=Share(0, 2)))
    summary = merge_results(tmp_path)
    assert len(summary.finished) == 2
    assert {one.name for one in summary.failures} == {
        f"identity at {side} px, default-v1" for side in (16, 32)
    }


def test_a_merge_tells_the_jobs_of_two_data_sets_apart(few, make_photos, tmp_path):
    """Two commands in shares that differ in --data alone; of the second one no share was started
    that has the first job."""
    merged = replace(small(few, tmp_path), resolutions=(16,))
    run_jobs(merged, launch=Launch(True, share=Share(0, 1)))
    other = make_photos(4, (32, 32))
    begun = replace(small(other, tmp_path), resolutions=(16, 32))
    run_jobs(begun, launch=Launch(True, share=Share(1, 2)))
    summary = merge_results(tmp_path)
    assert [one.result.data.n for one in summary.finished] == [3, 4]
    assert summary.failures == (missing("jpeg at 16 px, default-v1", tmp_path),)
    run_jobs(begun)  # without shares: nothing is left of the plan
    assert not (tmp_path / PARTS).exists()
    assert merge_results(tmp_path) == RunSummary((), ())


def test_a_run_leaves_the_plans_of_others(few, make_photos, tmp_path):
    save_plan(tmp_path, Plan(IMAGES, ("jpeg at 16 px, default-v1",)))
    run_jobs(replace(small(few, tmp_path), resolutions=(16,)))
    assert planned(tmp_path) == ("jpeg at 16 px, default-v1",)


def test_jobs_that_have_results_are_not_missing(tmp_path):
    """Settings of execution stand in the label of a result, and not in the name of its job."""
    labels = {"ssdd (compiled, bfloat16)": 0, "ssdd:steps=2": 4}
    for label, seed in labels.items():
        finished = canned(label, 16, tmp_path)
        save_result(replace(finished.result, seed=seed), tmp_path)
    there = ["ssdd at 16 px, default-v1", "ssdd:steps=2 at 16 px, default-v1, seed 4"]
    lost = ["ssdd at 16 px, default-v1, seed 4", "ssdd:steps=2 at 16 px, default-v1"]
    save_plan(tmp_path, Plan(IMAGES, (there[0], lost[0], there[1], lost[1])))
    told = Noting()
    summary = merge_results(tmp_path, told)
    failures = tuple(missing(name, tmp_path) for name in lost)
    assert summary == RunSummary((), failures)
    assert told.seen == [("failed", [], one) for one in failures]
    assert planned(tmp_path) == tuple(lost)


@pytest.fixture
def shared(few, tmp_path):
    """Two jobs of a share of one, to merge."""
    run_jobs(small(few, tmp_path), launch=Launch(True, share=Share(0, 1)))
    return tmp_path


def test_a_job_that_cannot_be_merged_leaves_the_others(shared, monkeypatch):
    first, _ = find_jobs(shared)
    merge, error, told = module.merge_folder, ValueError("of a plugin"), Noting()
    broken = fail(error)
    monkeypatch.setattr(
        module,
        "merge_folder",
        lambda path, out: (broken if path == first else merge)(path, out),
    )
    summary = merge_results(shared, told)
    (failure,), (finished,) = summary.failures, summary.finished
    assert (failure.name, failure.jobs) == (first.name, 1)
    assert (failure.problem.kind, failure.problem.text) == ("ValueError", "of a plugin")
    assert "in failing" in failure.problem.trace
    assert told.seen == [("failed", [], failure), ("finished", None, finished)]
    assert find_jobs(shared) == [first]
    assert len(load_plans(shared)) == 1  # has been begun: it is no second failure


@pytest.mark.medium
@pytest.mark.parametrize("lost", ["00000.safetensors", "job.json", None])
def test_a_merge_that_was_killed_while_it_deleted_is_over(shared, few, tmp_path, lost):
    copy = tmp_path / "copy"
    shutil.copytree(shared / PARTS, copy)
    assert len(merge_results(shared).finished) == 2
    for again in (merge_results, lambda out: run_jobs(small(few, out))):
        shutil.copytree(copy, shared / PARTS)
        for path in (shared / PARTS).glob("jobs-*.json"):
            path.unlink()
        for path in (shared / PARTS).glob(f"*/{lost}"):
            path.unlink()
        assert not again(shared).failures
        assert not (shared / PARTS).exists()


@pytest.mark.parametrize("error", [DataError("twice"), OutputError("full")])
def test_what_concerns_every_job_ends_a_merge(shared, monkeypatch, error):
    monkeypatch.setattr(module, "merge_folder", fail(error))
    with pytest.raises(type(error), match=str(error)):
        merge_results(shared)


def test_a_job_whose_record_is_damaged_is_named(shared):
    first, _ = find_jobs(shared)
    (first / "job.json").write_text("{")
    summary = merge_results(shared)
    assert [one.result.resolution for one in summary.finished] == [32]
    assert [(one.name, one.problem.kind) for one in summary.failures] == [
        (first.name, "FileContentError"),
        ("jpeg at 16 px, default-v1", "UserError"),  # nobody knows that this is its folder
    ]


def test_nothing_to_merge_is_an_error(tmp_path):
    text = f"^{tmp_path} has nothing to merge: give the folder of a run in shares$"
    with pytest.raises(UserError, match=text):
        merge_results(tmp_path)
    with pytest.raises(UserError, match="nothing to merge"):
        merge_results(tmp_path / "none" / "runs")
    assert not any(tmp_path.iterdir())  # neither a lock nor a folder
    save_plan(tmp_path, Plan(IMAGES, ("jpeg at 16 px, default-v1",)))
    assert len(merge_results(tmp_path).failures) == 1


FAILED = Failure("<odd> at 16 px", 1, Problem("ValueError", "boom\nmore", "Traceback: deep"))


@pytest.mark.medium
def test_a_summary_shows_failures_and_the_table(tmp_path):
    made = Finished(BASE, save_result(BASE, tmp_path), False)
    summary = RunSummary((made,), (FAILED, FAILED))
    text, page = repr(summary), summary._repr_html_()
    assert str(summary) == text
    first, second, table = text.split("\n", 2)
    assert first == second == FAILED.line
    assert FAILED.line.startswith("failed: <odd> at 16 px: ValueError: boom (")
    assert "--debug" not in FAILED.line
    assert table == show_text(summary.to_frame())
    assert BASE.tokenizer.label in table
    assert page.count("<p>failed: &lt;odd&gt; at 16 px") == 2
    assert page.endswith(show_html(summary.to_frame()))
    assert "deep" not in text + page
    made.path.unlink()
    assert made.path.name in repr(summary)


def test_a_summary_without_results_says_so():
    assert repr(RunSummary((), (FAILED,))).splitlines() == [FAILED.line, "no results"]
    assert RunSummary((), ())._repr_html_() == "<p>no results</p>"
