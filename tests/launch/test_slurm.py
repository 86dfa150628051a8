"""Shares as submitit's local executor runs them, and the scripts that SLURM gets."""

import re
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from share_programs import SHARE, wait_for
from share_programs import make_submission as make

from ssdd_bench.errors import UserError

submitit = pytest.importorskip("submitit")
slurm = pytest.importorskip("ssdd_bench.launch.slurm")


def directives(script: str) -> dict[str, str]:
    """Options of sbatch in a script."""
    lines = [line for line in script.splitlines() if line.startswith("#SBATCH --")]
    pairs = [line.removeprefix("#SBATCH --").partition("=") for line in lines]
    return {key: "".join(shlex.split(value)) for key, _, value in pairs}


def test_scripts_need_no_slurm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    options = {"partition": "a100", "time": "1-02:30:00", "cpus-per-task": "8", "exclusive": ""}
    array, merge = slurm.scripts(replace(make(tmp_path, 32), gpus=2, options=options))
    given = directives(array)
    assert given["array"] == "0-31%32"
    assert given["gpus-per-node"] == "2"
    assert (given["partition"], given["time"]) == ("a100", str(26 * 60 + 30))
    assert {"requeue", "exclusive"} <= given.keys()
    assert given["signal"].startswith("USR2@")
    assert Path(given["output"]).parent == tmp_path / "logs"
    assert "--cpus-per-task=8" in array.split("# command")[1], "srun takes it over no more"
    last = directives(merge)
    assert last["dependency"] == "afterany:ARRAY"
    assert "array" not in last
    assert "gpus-per-node" not in last
    assert not (tmp_path / "logs").exists(), "nothing is written"


@pytest.mark.parametrize(
    ("parallel", "array"), [({}, "%512"), ({"array-parallelism": "64"}, "%64")]
)
def test_all_shares_run_at_once_unless_told_otherwise(tmp_path, parallel, array):
    script, _ = slurm.scripts(replace(make(tmp_path, 512), options=parallel))
    assert directives(script)["array"] == f"0-511{array}"


def test_tasks_are_shares_in_order(tmp_path):
    words = [command.words[-2:] for command in make(tmp_path, 3).tasks()]
    assert words == [("--shard", "0/3"), ("--shard", "1/3"), ("--shard", "2/3")]


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("90:01", 91), ("4:00:00", 240), ("1-0", 1440), ("2-3:30", 3090), ("0:0:1", 1)],
)
def test_time_limits_as_sbatch_reads_them(text, minutes):
    assert slurm._minutes(text) == minutes


@pytest.mark.parametrize("text", ["", "soon", "1:2:3:4"])
def test_a_time_limit_that_is_none_is_refused(text):
    with pytest.raises(UserError, match="time"):
        slurm._minutes(text)


def test_without_slurm_the_way_out_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="slurm-local"):
        slurm.submit(make(tmp_path))


def test_what_sbatch_says_is_passed_on(tmp_path, monkeypatch):
    """A stand-in for sbatch that refuses, as for a partition that does not exist."""
    for name, code in (("srun", "true"), ("sbatch", "echo invalid partition: x >&2; exit 1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{code}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(UserError, match="invalid partition: x"):
        slurm.submit(make(tmp_path))


def test_a_command_that_fails_fails_its_task():
    with pytest.raises(subprocess.CalledProcessError):
        slurm.Command((sys.executable, "-c", "raise SystemExit(3)"))()


def test_the_signal_of_slurm_does_not_reach_the_command(tmp_path):
    """It is sent to every process of a task, and would end those that do not know it."""
    code = "import os, signal; os.kill(os.getpid(), signal.SIGUSR2); open('there', 'w')"
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    slurm.Command(("env", "-C", str(tmp_path), sys.executable, "-c", code))()
    assert (tmp_path / "there").exists()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


@pytest.mark.slow
def test_shares_on_this_machine(tmp_path):
    assert slurm.run_locally(make(tmp_path, shares=3)) == 0
    files = sorted(path.name for path in (tmp_path / "work").glob("*-of-3.*"))
    assert files == [f"{i}-of-3.{step}" for i in range(3) for step in range(2)]
    logs = sorted(path.name for path in (tmp_path / "logs").glob("*_log.err"))
    assert len(logs) == 3, "a log for each task"


@pytest.mark.slow
def test_a_failed_share_is_counted(tmp_path):
    submission = make(tmp_path)
    (tmp_path / "work" / "starts-0-of-2").mkdir()  # the first share cannot write there
    assert slurm.run_locally(submission) == 1
    assert len(list((tmp_path / "work").glob("1-of-2.*"))) == 2


@pytest.mark.slow
def test_a_share_that_is_stopped_is_submitted_again(tmp_path):
    """Preemption as SLURM does it: the task goes on after what is on disk."""
    submission = make(tmp_path, shares=1, steps=4, pause=0.3)
    work = tmp_path / "work"
    executor = submitit.LocalExecutor(submission.logs)
    executor.update_parameters(timeout_min=5)
    (job,) = executor.submit_array(submission.tasks())
    child = wait_for(lambda: (work / "0-of-1.0").exists() and grandchild(job))
    child.send_signal(signal.SIGUSR2)
    assert job.exception() is None, job.stderr()
    assert (work / "starts-0-of-1").read_text().split() == ["start", "start"]
    assert len(list(work.glob("0-of-1.*"))) == 4


STARTED_BY_A_SHELL = """
import signal, sys
from pathlib import Path
from ssdd_bench.launch import slurm
from ssdd_bench.launch.signals import termination_interrupts
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for a program in the background
with termination_interrupts():
    command = (sys.executable, "-c", sys.argv[1], sys.argv[2], "4", "600")
    slurm.run_locally(slurm.Submission(command, (), Path(sys.argv[3]), 1))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_shares_end_with_a_launcher_in_the_background(tmp_path, number):
    psutil = pytest.importorskip("psutil")
    work = tmp_path / "work"
    work.mkdir()
    arguments = (STARTED_BY_A_SHELL, SHARE, str(work), str(tmp_path / "logs"))
    launcher = subprocess.Popen([sys.executable, "-c", *arguments], stderr=subprocess.DEVNULL)
    wait_for((work / "starts-0-of-1").exists)
    shares = psutil.Process(launcher.pid).children(recursive=True)
    launcher.send_signal(number)
    launcher.wait(30)
    gone, alive = psutil.wait_procs(shares, 30)
    for process in alive:
        process.kill()
    assert len(gone) >= 3
    assert not alive


def grandchild(job):
    """The process of submitit that runs the command; a controller starts it."""
    psutil = pytest.importorskip("psutil")
    return next(iter(psutil.Process(int(job.job_id)).children()), None)


def test_a_merge_may_need_a_gpu(tmp_path: Path) -> None:
    one = replace(make(tmp_path), gpus=1, options={"gres": "gpu:1"})
    assert not {"--gpus", "--gres"} & set(re.findall("--g[a-z]+", slurm.scripts(one)[1]))
    assert "--gpus-per-node=1" in slurm.scripts(replace(one, merge_gpus=1))[1]
