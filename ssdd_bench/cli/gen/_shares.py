"""Verbs of generation on SLURM: the verb itself in shares, and once more without to join them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._config import as_flags
from ssdd_bench.cli._slurm import run_shares_here, submit_shares
from ssdd_bench.errors import UserError


def on_slurm(launching: options.Launching, device: str, out: Path, in_shares: bool) -> bool:
    """Submit the verb that runs, or run its shares here, which the verb then joins.

    Args:
        launching: how.
        device: as typed.
        out: folder of what the verb makes; logs go there.
        in_shares: True if the verb was given --shard.

    Returns:
        True if the rest is done by SLURM; the verb has nothing to do then.

    Raises:
        UserError: options contradict each other, or there is no SLURM.
        JobsFailedError: no share worked.
    """
    if launching.launcher not in ("slurm", "slurm-local"):
        return False
    from ssdd_bench.launch.slurm import Submission

    if launching.jobs is None:
        raise UserError("into how many jobs shall SLURM divide the work? Add --jobs")
    if launching.in_process or in_shares:
        raise UserError("SLURM gets shares: leave --in-process and --shard out")
    ctx = click.get_current_context()
    words = [sys.executable, "-m", "ssdd_bench", "gen", str(ctx.command.name)]
    words += [
        str(ctx.params[one.name])
        for one in ctx.command.params
        if isinstance(one, click.Argument) and one.name
    ]
    words += shlex.split(as_flags(ctx))
    if launching.timeout is not None:
        words += ["--timeout", str(launching.timeout)]
    gpus = launching.count_gpus(device)
    submission = Submission(
        command=tuple(words),
        merge=tuple(words),
        logs=out / "logs",
        shares=launching.jobs,
        gpus=gpus,
        options=launching.sbatch or {},
        merge_gpus=gpus,
    )
    if launching.launcher == "slurm-local":
        run_shares_here(submission)
        return False
    submit_shares(submission)
    return True
