"""A run on SLURM: what is submitted, and what is said about it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ssdd_bench.cli._options import Launching
from ssdd_bench.cli._output import print_json
from ssdd_bench.errors import JobsFailedError, UserError, counted

if TYPE_CHECKING:
    from ssdd_bench.launch.slurm import Submission


def make_submission(
    out: Path, config: Path, launching: Launching, device: str, force: bool
) -> Submission:
    """Make a submission of the run that a configuration file describes.

    Raises:
        UserError: the number of shares is missing.
    """
    from ssdd_bench.launch.slurm import Submission

    shares, timeout = launching.jobs, launching.timeout
    if shares is None:
        raise UserError("into how many jobs shall SLURM divide the run? Add --jobs")
    program = (sys.executable, "-m", "ssdd_bench")
    more = [*(["--force"] if force else []), *(["--timeout", str(timeout)] if timeout else [])]
    return Submission(
        (*program, "run", "--config", str(config), *more),
        (*program, "merge", str(out)),
        out / "logs",
        shares,
        launching.count_gpus(device),
        launching.sbatch or {},
    )


def show_scripts(submission: Submission) -> None:
    """Print what SLURM would get."""
    from ssdd_bench.launch.slurm import scripts

    array, merge = scripts(submission)
    if not print_json({"array": array, "merge": merge}):
        click.echo(f"{array}\n{merge}", nl=False)


def submit_shares(submission: Submission) -> None:
    """Submit the run and print the numbers of its jobs."""
    from ssdd_bench.launch.slurm import submit

    jobs = submit(submission)
    if not print_json({"array": jobs.shares, "merge": jobs.merge, "logs": str(submission.logs)}):
        click.echo(
            f"array {jobs.shares} computes {counted(submission.shares, 'share')}, then job "
            f"{jobs.merge} makes the results; squeue --jobs={jobs.shares},{jobs.merge}; "
            f"logs: {submission.logs}"
        )


def run_shares_here(submission: Submission) -> None:
    """Run the shares on this machine, and say where to look if some failed.

    Raises:
        JobsFailedError: all of them did.
    """
    from ssdd_bench.launch.slurm import run_locally

    failed = run_locally(submission)
    text = f"{failed} of {counted(submission.shares, 'share')} failed, see {submission.logs}"
    if failed == submission.shares:
        raise JobsFailedError(text)
    if failed:
        click.echo(text, err=True)
