"""Verbs on SLURM: what is submitted, and what is said about it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ssdd_bench.cli._config import as_flags
from ssdd_bench.cli._options import Launching
from ssdd_bench.cli._output import print_json
from ssdd_bench.errors import JobsFailedError, UserError, counted

if TYPE_CHECKING:
    from ssdd_bench.launch.slurm import Submission


def make_submission(
    words: list[str], out: Path, launching: Launching, device: str, merge: list[str] | None = None
) -> Submission:
    """Make a submission of a command.

    Args:
        words: arguments of the program; those of the shares are added.
        out: folder of what the command makes; logs go there.
        launching: how.
        device: as typed.
        merge: arguments that join the shares without a GPU; by default the same command does.

    Raises:
        UserError: the number of shares is missing.
    """
    from ssdd_bench.launch.slurm import Submission

    if launching.jobs is None:
        raise UserError("into how many jobs shall SLURM divide the work? Add --jobs")
    if launching.timeout is not None:
        words = [*words, "--timeout", str(launching.timeout)]
    program, gpus = (sys.executable, "-m", "ssdd_bench"), launching.count_gpus(device)
    return Submission(
        command=(*program, *words),
        merge=(*program, *(merge or words)),
        logs=out / "logs",
        shares=launching.jobs,
        gpus=gpus,
        options=launching.sbatch or {},
        merge_gpus=0 if merge else gpus,
    )


def submit_verb(launching: Launching, device: str, out: Path, in_shares: bool) -> bool:
    """Submit the verb of generation that runs, or run its shares here, which it then joins.

    Args:
        launching: how.
        device: as typed.
        out: folder of what the verb makes; logs go there.
        in_shares: True if the verb was given --shard.

    Returns:
        True if SLURM does the rest; the verb has nothing to do then.

    Raises:
        UserError: options contradict each other, or there is no SLURM.
        JobsFailedError: no share worked.
    """
    if not launching.on_slurm:
        return False
    if launching.in_process or in_shares:
        raise UserError("SLURM gets shares: leave --in-process and --shard out")
    ctx = click.get_current_context()
    arguments = [one for one in ctx.command.params if isinstance(one, click.Argument)]
    words = ["gen", str(ctx.command.name), *(str(ctx.params[str(one.name)]) for one in arguments)]
    submission = make_submission([*words, *as_flags(ctx)], out, launching, device)
    if launching.launcher == "slurm-local":
        run_shares_here(submission)
        return False
    submit_shares(submission)
    return True


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
