"""Shares on a real SLURM that runs on this machine alone; skipped where it is not installed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scores import measured
from share_programs import make_submission, wait_for

slurm = pytest.importorskip("ssdd_bench.launch.slurm", exc_type=ImportError)

SCRIPT = Path(__file__).parent / "slurm.sh"
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun")
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
MISSING = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"needs SLURM (slurm-wlm, munge): no {MISSING}"),
]
one_kind = pytest.mark.parametrize("cluster", ["USR2"], indirect=True)


@pytest.fixture(scope="module", params=["USR2", "SIGTERM_ONLY"])
def cluster(request, tmp_path_factory):
    """Start SLURM in a folder of its own and stop it; of two kinds, see the script."""
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run([SCRIPT, "start", folder], check=True, env={**os.environ, request.param: "1"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        yield folder
    subprocess.run([SCRIPT, "stop", folder], check=True)


@pytest.fixture
def make(cluster, tmp_path):
    def make(shares, steps=2, pause=0.0, **options):
        return make_submission(tmp_path, shares, steps, pause, options=options)

    return make


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def wait_for_end(submitted):
    numbers = f"{submitted.shares},{submitted.merge}"
    wait_for(lambda: not output("squeue", "--noheader", f"--jobs={numbers}"))


def state(number):
    found = output("scontrol", "show", "job", number, "--oneliner")
    return {line.split("JobState=")[1].split()[0] for line in found.splitlines()}


def starts(folder, share):
    return len((folder / "work" / f"starts-{share}").read_text().split())


@one_kind
def test_an_array_and_the_merge_that_waits_for_it(make, tmp_path):
    submitted = slurm.submit(make(3, steps=3, pause=0.5))
    waiting = output("scontrol", "show", "job", submitted.merge, "--oneliner")
    assert f"Dependency=afterany:{submitted.shares}" in waiting
    wait_for_end(submitted)
    merged = (tmp_path / "work" / "merged").read_text().split()
    assert merged == [f"{i}-of-3.{step}" for i in range(3) for step in range(3)]
    assert state(submitted.shares) == {"COMPLETED"}
    logs = {path.name for path in (tmp_path / "logs").glob("*_log.out")}
    assert {f"{submitted.shares}_{i}_0_log.out" for i in range(3)} <= logs


@one_kind
def test_a_failed_share_is_a_failed_task_and_the_merge_runs(make, tmp_path):
    submission = make(2)
    (tmp_path / "work" / "starts-1-of-2").mkdir()  # the second share cannot write there
    submitted = slurm.submit(submission)
    wait_for_end(submitted)
    assert state(submitted.shares) == {"COMPLETED", "FAILED"}
    assert (tmp_path / "work" / "merged").read_text().split() == ["0-of-2.0", "0-of-2.1"]


def test_a_share_that_makes_room_goes_on_afterwards(make, tmp_path):
    """A job of the queue "high" takes all processors; SLURM tells the share to stop before."""
    submitted = slurm.submit(make(2, steps=8, pause=0.5, partition="low"))
    work = tmp_path / "work"
    wait_for(lambda: (work / "0-of-2.1").exists() and (work / "1-of-2.1").exists())
    log = f"--output={tmp_path}/high.log"
    high = output("sbatch", "--partition=high", "--exclusive", log, "--wrap=sleep 1")
    wait_for(lambda: "COMPLETED" in state(high.split()[-1]))
    wait_for_end(submitted)
    assert len((work / "merged").read_text().split()) == 16
    assert starts(tmp_path, "0-of-2") == starts(tmp_path, "1-of-2") == 2
    assert state(submitted.shares) == {"COMPLETED"}


@one_kind
def test_a_share_at_its_time_limit_goes_on_afterwards(make, tmp_path):
    """SLURM sends the same signal some time before the limit."""
    submitted = slurm.submit(make(1, steps=6, pause=0.5))
    wait_for(lambda: (tmp_path / "work" / "0-of-1.1").exists())
    output("scancel", "--signal=USR2", submitted.shares)
    wait_for_end(submitted)
    assert starts(tmp_path, "0-of-1") == 2
    assert len((tmp_path / "work" / "merged").read_text().split()) == 6


def test_a_share_that_is_cancelled_stays_so(make, tmp_path):
    """It is not submitted again, and the merge tells what is missing."""
    submitted = slurm.submit(make(1, steps=200, pause=0.5))
    wait_for(lambda: (tmp_path / "work" / "0-of-1.0").exists())
    output("scancel", submitted.shares)
    wait_for_end(submitted)
    assert state(submitted.shares) == {"CANCELLED"}
    assert starts(tmp_path, "0-of-1") == 1
    assert 0 < len((tmp_path / "work" / "merged").read_text().split()) < 200


IMAGES = 200  # four chunks
RUN = ("run", "--tokenizers", "slow,jpeg:quality=30", "--res", "16", "--device", "cpu")
SETTINGS = ("--metrics", "psnr,fd_effnet", "--no-speed", "--no-pictures", "--threads", "1")


@pytest.fixture
def run(make_photos, slow_plugin, tmp_path):
    """Start the program in a process of its own on 200 photos."""
    command = [sys.executable, "-m", "ssdd_bench", *RUN, *SETTINGS]
    data = ["--data", str(make_photos(IMAGES, (16, 16)))]
    root = str(Path(__file__).parents[2])

    def run(out, *options, before=(), seconds=0.0):
        environment = {**os.environ, "SSDD_BENCH_TOKENIZERS": str(slow_plugin)}
        environment |= {"PYTHONPATH": root, "SLOW_SECONDS": str(seconds)}
        words = [*before, *command, *data, "--out", str(tmp_path / out), *options]
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@one_kind
def test_a_run_that_makes_room_equals_one_process(cluster, run, tmp_path):
    """The shares are stopped after their first chunks, and go on when there is room again."""
    run("one", "--in-process")
    options = ("--launcher", "slurm", "--jobs", "2", "--sbatch", "--partition=low", "--json")
    jobs = json.loads(run("shares", *options, seconds=0.05))
    parts = tmp_path / "shares" / "parts"
    wait_for(lambda: list(parts.glob("slow*/*.safetensors")))
    log = f"--output={tmp_path}/high.log"
    output("sbatch", "--partition=high", "--exclusive", log, "--wrap=sleep 1")
    wait_for_end(slurm.Submitted(jobs["array"], jobs["merge"]))
    assert state(jobs["array"]) == state(jobs["merge"]) == {"COMPLETED"}
    stopped = "".join(path.read_text() for path in Path(jobs["logs"]).glob("*_log.err"))
    assert "this job is preempted" in stopped
    assert measured(tmp_path / "shares") == measured(tmp_path / "one")


@one_kind
def test_the_tasks_of_a_step_are_ranks(cluster, run, tmp_path):
    run("one", "--in-process")
    out = run("ranks", "--json", before=("srun", "--ntasks=3", "--overcommit"))
    assert len(json.loads(out)["jobs"]) == 2, "one document, from the first"
    assert measured(tmp_path / "ranks") == measured(tmp_path / "one")
