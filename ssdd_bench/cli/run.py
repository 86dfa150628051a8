"""``ssdd-bench run``: measure tokenizers at resolutions and show the table."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._config import ConfigFile, Suite, as_flags, save_config, submitted_config
from ssdd_bench.cli._output import print_json
from ssdd_bench.cli._slurm import make_submission, run_shares_here, show_scripts, submit_shares
from ssdd_bench.cli._summary import merge_shares, tell_end, write_tables
from ssdd_bench.cli._values import read_shard
from ssdd_bench.cli._verbs import IntegerRange, flag, option, switch, typed, verb
from ssdd_bench.cli._weights import fetch_weights, preloaded
from ssdd_bench.data.named import require_named
from ssdd_bench.errors import UserError
from ssdd_bench.launch.processes import start_server
from ssdd_bench.plugins.registry import parse_requests
from ssdd_bench.tracking.trackers import check_trackers, start_trackers

if TYPE_CHECKING:
    from ssdd_bench.evaluation.forecast import Forecast


@verb
def command(
    *,
    config: ConfigFile | None = None,
    suite: Suite | None = None,
    tokenizers: options.Tokenizers,
    res: options.Resolutions = (256,),
    data: options.Data = "sample",
    limit: options.Limit | None = None,
    sample: options.Sample | None = None,
    sample_seed: options.SampleSeed = 0,
    max_image_mb: options.MaxImageMB = 256,
    seed: options.Seeds = (0,),
    batch_size: options.BatchSizes | None = None,
    dtype: options.Dtype | None = None,
    compile: options.Compile = "off",
    memory_format: options.MemoryFormat = "auto",
    cuda_graphs: options.CudaGraphs = False,
    threads: options.Threads | None = None,
    load_threads: options.LoadThreads | None = None,
    device: options.Device = "auto",
    metrics: options.Metrics = (),
    protocol: options.Protocols = ("default-v1",),
    out: options.ResultFolder = Path("runs"),
    speed: Annotated[bool, switch("Time encoding and decoding.")] = True,
    interleave: Annotated[bool, flag("Time the decoders by turns, for exact ratios.")] = False,
    baseline: Annotated[
        str,
        option("Refer ratios to this tokenizer of the run.  [default: the first]", "ID"),
    ]
    | None = None,
    pictures: Annotated[bool, switch("Save reconstructions.")] = True,
    picture_quality: Annotated[
        int,
        option(
            "Save pictures as WebP of this quality; 100 is lossless.",
            "0-100",
            IntegerRange(0, 100),
        ),
    ] = 100,
    intervals: options.Intervals = False,
    strict: options.Strict = False,
    offline: options.Offline = False,
    force: Annotated[bool, flag("Measure jobs again that have results.")] = False,
    launching: options.Launching,
    shard: Annotated[
        tuple[int, int],
        option(
            "Compute share I of N, from 0 on; then merge OUT.",
            "I/N",
            read_shard,
            show_default=False,
        ),
    ]
    | None = None,
    track: options.Track = (),
    dry_run: Annotated[bool, flag("List jobs, what is missing, and expected times.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure tokenizers and show the table.

    Every tokenizer is measured at every resolution. Results that are there already are kept: a run
    that was stopped goes on where it was. The options in force are written to OUT/run.toml, which
    --config reads.

    Each GPU has a worker process, or the CPU has one: a plugin that crashes costs its own jobs.
    Under torchrun, accelerate or srun each rank computes a share, and rank 0 makes the results.
    On SLURM the shares are an array of --jobs jobs, and one more makes the results; on a Ray
    cluster there are --jobs worker processes, wherever it has room.
    """
    if launching.launcher == "local" and not launching.in_process and not dry_run:
        start_server(preloaded(metrics))  # while this process imports torch
    from rich.console import Console

    from ssdd_bench.cli._live import follow
    from ssdd_bench.evaluation.config import RunConfig
    from ssdd_bench.evaluation.execution import ExecutionSettings
    from ssdd_bench.evaluation.forecast import forecast
    from ssdd_bench.evaluation.run import run_jobs
    from ssdd_bench.tracking.results import result_logger

    ctx = click.get_current_context()
    options.set_threads(threads)
    run_config = RunConfig(
        requests=tuple(parse_requests(tokenizers)),
        resolutions=res,
        metrics=metrics,
        out=out,
        protocols=protocol,
        data=data,
        limit=limit,
        sample=sample,
        sample_seed=sample_seed,
        max_image_mb=max_image_mb,
        seeds=seed,
        batch_size=batch_size,
        device=device,
        execution=ExecutionSettings(dtype, compile, memory_format, cuda_graphs),
        speed=speed,
        pictures=pictures,
        picture_quality=picture_quality,
        strict=strict,
        load_threads=load_threads,
        intervals=intervals,
        force=force,
        interleave=interleave,
        baseline=baseline or "",
        command=shlex.join(["ssdd-bench", "run", *as_flags(ctx)]) if config or suite else typed(),
    )
    planned = run_config.jobs()
    run_config.baseline_label()
    launch = launching.make(device, threads, shard)
    check_trackers(track)
    if track and (shard or launching.on_slurm):
        raise UserError("a share has no results to track: leave --track out")
    if launching.on_slurm:
        if interleave or launching.in_process or shard:
            raise UserError("SLURM gets shares: leave --interleave, --in-process and --shard out")
        waiting = submitted_config(ctx, out / "logs")
        words = ["run", "--config", str(waiting), *(["--force"] if force else [])]
        submission = make_submission(words, out, launching, device, merge=["merge", str(out)])
        if dry_run:
            show_scripts(submission)
            return
    if dry_run:
        _show_forecast(forecast(run_config), out)
        return

    require_named(data)
    is_first = launch.rank is None or launch.rank.rank == 0
    quiet = quiet or not is_first
    fetch_weights(metrics, offline, strict, quiet)
    if is_first and (shard is None or shard[0] == 0):
        save_config(ctx, out / "run.toml")
    if launching.on_slurm:
        save_config(ctx, waiting)
        if launching.launcher == "slurm":
            submit_shares(submission)
        else:
            run_shares_here(submission)
            merge_shares(out, quiet)
        return
    settings = {"command": run_config.command, "tokenizers": tokenizers, "data": str(data)}
    with (
        start_trackers(track if is_first else (), out, out.name, settings) as trackers,
        follow(Console(stderr=True, quiet=quiet), result_logger(trackers)) as callbacks,
    ):
        summary = run_jobs(run_config, callbacks, launch)
    if is_first:
        files = list[Path]()
        if summary.finished and shard is None:
            files = write_tables(out, quiet, summary.to_frame())
        tell_end(summary, files, len(planned), callbacks.failures)


def _show_forecast(found: Forecast, out: Path) -> None:
    """Print the jobs; on standard error what they need, and how long they may take."""
    jobs = [
        {
            "tokenizer": one.job.request.label,
            "resolution": one.job.resolution,
            "protocol": one.job.protocol.id,
            "seed": one.job.seed,
            "has_result": one.has_result,
            "expected_s": one.expected_s,
        }
        for one in found.jobs
    ]
    if print_json({"jobs": jobs, "missing": found.missing}):
        return
    click.echo("\n".join(one.job.name for one in found.jobs))
    for line in found.lines(out):
        click.echo(line, err=True)
