"""Submits a command in shares to SLURM through submitit, and one that merges what they wrote.

The shares are a job array: task i of k runs the command with ``--shard i/k``. A task that SLURM
stops, to make room or at its time limit, is submitted again as it was: it goes on after the chunks
that are on disk. The merge is a job that waits for the end of every task, however it ended.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from ssdd_bench.errors import UserError
from ssdd_bench.install import install_command

try:
    import submitit
    from submitit.core.utils import FailedJobError
except ModuleNotFoundError as error:
    raise UserError(f"SLURM needs the package submitit: {install_command('slurm')}") from error

TIME: Final = "4:00:00"
"""Time limit of a task; it is submitted again at the limit, so a short one gets a slot sooner."""
RESUBMISSIONS: Final = 100
"""Number of times that a task may reach its time limit."""
STOP_SECONDS: Final = 20.0
"""Time that a command is given to end after SIGTERM."""
WATCH_SECONDS: Final = 1.0
"""Time between two looks whether the launcher of shares on this machine is there."""
REQUEUE_SECONDS: Final = 900.0
"""Time that a task which SLURM has told to stop waits to be stopped."""


@dataclass(frozen=True)
class Submission:
    """A command to run in shares, and another for what they wrote.

    Attributes:
        command: program and arguments, to which ``--shard i/k`` is added.
        merge: program and arguments of the merge.
        logs: folder of scripts and logs; every machine must see it.
        shares: number of tasks.
        gpus: number for each task.
        options: long options of ``sbatch`` by name, such as ``{"partition": "gpu"}``; one without
            a value has "". ``setup`` is a line of shell before the command, and
            ``array-parallelism`` the number of tasks that run at once.
        merge_gpus: number for the merge.
    """

    command: tuple[str, ...]
    merge: tuple[str, ...]
    logs: Path
    shares: int
    gpus: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    merge_gpus: int = 0

    def tasks(self, launcher: int | None = None) -> list[Command]:
        """Return the command of each share, which ends with the process ``launcher``."""
        return [
            Command((*self.command, "--shard", f"{index}/{self.shares}"), launcher)
            for index in range(self.shares)
        ]


@dataclass(frozen=True)
class Submitted:
    """Numbers of the jobs of a submission, as ``squeue`` shows them."""

    shares: str
    merge: str


class Command(submitit.helpers.Checkpointable):  # type: ignore[misc, unused-ignore]
    """A command that runs in a process of its own, and is submitted again if SLURM stops it.

    Its process ends after SIGTERM, with what it has on disk; submitit calls ``checkpoint`` of the
    base, which submits the command once more.

    Args:
        words: program and arguments.
        launcher: number of the process on this machine whose end stops the command; None if SLURM
            runs it.
    """

    def __init__(self, words: tuple[str, ...], launcher: int | None = None) -> None:
        self.words, self.launcher = words, launcher

    def __call__(self) -> None:
        """Run the command.

        Raises:
            CalledProcessError: it failed; the task fails with it.
        """
        # SLURM sends this signal to every process of the task, and this process answers it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        try:
            process = subprocess.Popen(self.words)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
        if self.launcher is not None:
            arguments = (process, self.launcher)
            threading.Thread(target=_stop_with, args=arguments, daemon=True).start()
        try:
            status = process.wait()
            stopped = status in (-signal.SIGTERM, 128 + signal.SIGTERM)
            if stopped and self.launcher is None and "SLURM_JOB_ID" in os.environ:
                # SLURM is about to stop the task. It runs again only if it has not ended before.
                time.sleep(REQUEUE_SECONDS)
        finally:
            _stop(process)
        if status:
            raise subprocess.CalledProcessError(status, self.words)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _stop_with(process: subprocess.Popen[bytes], launcher: int) -> None:
    """Stop a process when the launcher has ended, by whatever signal.

    Submitit's own processes stand between the two, and outlive the launcher.
    """
    with suppress(psutil.NoSuchProcess):  # it has ended already
        watched = psutil.Process(launcher)
        while watched.is_running() and watched.status() != psutil.STATUS_ZOMBIE:
            time.sleep(WATCH_SECONDS)
    _stop(process)


def submit(submission: Submission) -> Submitted:
    """Submit the shares and the merge.

    Raises:
        UserError: there is no SLURM here, or it refuses.
    """
    try:
        shares = submitit.SlurmExecutor(submission.logs, max_num_timeout=RESUBMISSIONS)
        merge = submitit.SlurmExecutor(submission.logs, max_num_timeout=RESUBMISSIONS)
    except RuntimeError as error:
        raise UserError(
            "there is no srun here. Submit on a machine of the cluster, print the scripts with"
            " --dry-run, or try the shares on this machine with --launcher slurm-local"
        ) from error
    shares.update_parameters(**_share_parameters(submission))
    array = _submit(shares, submission.tasks())
    merge.update_parameters(**_merge_parameters(submission, array))
    try:
        return Submitted(array, _submit(merge, [Command(submission.merge)]))
    except UserError as error:
        raise UserError(
            f"array {array} is submitted, but not the merge: {error}."
            f" Run this when the array has ended: {shlex.join(submission.merge)}"
        ) from error


def _submit(executor: submitit.SlurmExecutor, commands: list[Command]) -> str:
    """Submit commands as one array and return its number."""
    try:
        jobs = executor.submit_array(commands)
    except FailedJobError as error:
        lines = str(error).strip().splitlines() or ["no reason given"]
        raise UserError(f"SLURM refuses: {lines[-1]}") from error
    return str(jobs[0].job_id).partition("_")[0]


def scripts(submission: Submission) -> tuple[str, str]:
    """Return the scripts that :func:`submit` gives to ``sbatch``; the first is of the array."""
    array, merge = _Printer(submission.logs), _Printer(submission.logs)
    array.update_parameters(**_share_parameters(submission))
    if submission.shares > 1:
        array.parameters["map_count"] = submission.shares
    merge.update_parameters(**_merge_parameters(submission, "ARRAY"))
    return array.text(), merge.text()


class _Printer(submitit.SlurmExecutor):  # type: ignore[misc, unused-ignore]
    """An executor that needs no SLURM, since it submits nothing."""

    @classmethod
    def affinity(cls) -> int:
        return 1

    def text(self) -> str:
        return str(self._make_submission_file_text(self._submitit_command_str, ""))


def _share_parameters(submission: Submission) -> dict[str, Any]:
    parameters = _parameters(submission.options)
    if submission.gpus:
        parameters["gpus_per_node"] = submission.gpus
    # Submitit would run 256 at once.
    return {"job_name": "ssdd-bench", "array_parallelism": submission.shares, **parameters}


def _merge_parameters(submission: Submission, array: str) -> dict[str, Any]:
    """Return the parameters of the merge, which has no GPU unless it needs one."""
    options = {
        key: value
        for key, value in submission.options.items()
        if submission.merge_gpus or not key.startswith(("gpus", "gres"))
    }
    gpus = {"gpus_per_node": submission.merge_gpus} if submission.merge_gpus else {}
    return {
        "job_name": "ssdd-bench-merge",
        **_parameters(options),
        **gpus,
        "dependency": f"afterany:{array}",
    }


def _parameters(options: Mapping[str, str]) -> dict[str, Any]:
    """Return options of ``sbatch`` as submitit takes them.

    Raises:
        UserError: a value cannot be read.
    """
    known = submitit.SlurmExecutor._valid_parameters()
    parameters: dict[str, Any] = {"time": _minutes(TIME)}
    # Without it a cluster may refuse to submit a task again.
    others: dict[str, Any] = {"requeue": True}
    for key, text in options.items():
        name = key.replace("-", "_")
        if name == "time":
            parameters[name] = _minutes(text)
        elif name == "setup":
            parameters[name] = [text]
        elif name == "array_parallelism":
            parameters[name] = _number(key, text)
        elif name in known:
            parameters[name] = text or True
        else:
            others[key] = text or True
    if cpus := parameters.get("cpus_per_task"):
        # Since SLURM 22.05 srun does not take it over from the job.
        parameters["srun_args"] = [f"--cpus-per-task={cpus}"]
    return {**parameters, "additional_parameters": others}


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UserError(f"--sbatch {name}={text}: '{text}' is no number") from None


def _minutes(text: str) -> int:
    """Return a time limit in minutes, from any form that ``sbatch`` takes.

    Raises:
        UserError: the text is none of them.
    """
    try:
        days, dash, clock = text.rpartition("-")
        fields = [int(one) for one in clock.split(":")]
        if len(fields) > 3:
            raise ValueError
        if dash or len(fields) == 3:
            hours, minutes, seconds = (*fields, 0, 0)[:3]
        else:
            hours, minutes, seconds = (0, *fields, 0)[:3]
        return (int(days or 0) * 24 + hours) * 60 + minutes + (seconds > 0)
    except ValueError:
        raise UserError(
            f"--sbatch time={text}: write minutes, hours:minutes:seconds, or"
            " days-hours:minutes:seconds"
        ) from None


def run_locally(submission: Submission) -> int:
    """Run the shares on this machine as submitit does without SLURM, all at once, and wait.

    The shares end with this process, also if it is killed.

    Returns:
        Number of shares that failed.
    """
    executor = submitit.LocalExecutor(submission.logs, max_num_timeout=RESUBMISSIONS)
    executor.update_parameters(
        timeout_min=_minutes(submission.options.get("time", TIME)), gpus_per_node=submission.gpus
    )
    jobs = executor.submit_array(submission.tasks(os.getpid()))
    return sum(job.exception() is not None for job in jobs)
