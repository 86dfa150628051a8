"""``ssdd-bench run``: measure tokenizers at resolutions and show the table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._complete import complete_suite
from ssdd_bench.cli._config import as_flags, save_config, take_config, take_suite
from ssdd_bench.cli._json import describe_result, json_option, print_json
from ssdd_bench.cli._typed import typed

if TYPE_CHECKING:
    from ssdd_bench.evaluation.job import Job
    from ssdd_bench.evaluation.run import RunConfig, RunSummary


@click.command("run", short_help="Measure tokenizers and show the table.")
@click.option(
    "--config",
    type=options.PATH,
    is_eager=True,
    callback=take_config,
    help="TOML file with these options; flags go before it.",
)
@click.option(
    "--suite",
    is_eager=True,
    callback=take_suite,
    shell_complete=complete_suite,
    help="Such a file of ours: ssdd-bench list suites.",
)
@options.tokenizers
@options.resolutions
@options.data("sample")
@options.limit
@options.seeds
@options.batch_size(8, on_cpu="one")
@options.device
@options.metrics()
@options.protocols
@options.out("Folder of the results.", "runs")
@click.option("--speed/--no-speed", default=True, help="Time encoding and decoding.")
@click.option("--pictures/--no-pictures", default=True, help="Save reconstructions.")
@options.intervals
@options.strict
@options.offline
@click.option("--force", is_flag=True, help="Measure jobs again that have results.")
@click.option("--dry-run", is_flag=True, help="List the jobs and measure nothing.")
@options.quiet
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    config: Path | None,
    suite: str | None,
    tokenizers: str,
    res: tuple[int, ...],
    data: Path | None,
    limit: int | None,
    seed: tuple[int, ...],
    batch_size: int,
    device: str,
    metrics: tuple[str, ...],
    protocol: tuple[str, ...],
    out: Path,
    speed: bool,
    pictures: bool,
    intervals: bool,
    strict: bool,
    offline: bool,
    force: bool,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Measure every tokenizer at every resolution.

    Results that are there already are kept: a run that was stopped goes on where it was. The
    options in force are written to OUT/run.toml, which --config reads.
    """
    from rich.console import Console

    from ssdd_bench.cli._downloads import fetch_weights
    from ssdd_bench.cli._live import follow
    from ssdd_bench.data.named import require_named
    from ssdd_bench.errors import JobsFailedError
    from ssdd_bench.evaluation.run import RunConfig, run_jobs
    from ssdd_bench.plugins.registry import parse_requests

    run_config = RunConfig(
        requests=tuple(parse_requests(tokenizers)),
        resolutions=res,
        metrics=metrics,
        out=out,
        protocols=protocol,
        data=data,
        limit=limit,
        seeds=seed,
        batch_size=batch_size,
        device=device,
        speed=speed,
        pictures=pictures,
        strict=strict,
        intervals=intervals,
        force=force,
        command=f"ssdd-bench run {as_flags(ctx)}" if config or suite else typed(),
    )
    if dry_run and as_json:
        print_json({"jobs": [_describe(job) for job in run_config.jobs()]})
        return
    if dry_run:
        for job in run_config.jobs():
            click.echo(job.name)
        return

    require_named(data)
    fetch_weights(metrics, offline, strict, Console(stderr=True, quiet=quiet))
    save_config(ctx, out / "run.toml")
    with follow(run_config, Console(stderr=True, quiet=quiet)) as callbacks:
        summary = run_jobs(run_config, callbacks)
    files: list[Path] = []
    if summary.finished:
        paths = [finished.path for finished in summary.finished]
        files = _report(run_config, paths, quiet or as_json)
    if as_json:
        print_json(_document(summary, files))
    for failure in summary.failures:
        if "--debug" in sys.argv:
            raise failure.error
        click.echo(f"failed: {failure}", err=True)
    if summary.failures:
        failed = sum(failure.jobs for failure in summary.failures)
        raise JobsFailedError(f"{failed} of {len(run_config.jobs())} jobs failed, see above")


def _describe(job: Job) -> dict[str, Any]:
    return {
        "tokenizer": job.request.label,
        "resolution": job.resolution,
        "protocol": job.protocol.id,
        "seed": job.seed,
    }


def _document(summary: RunSummary, files: list[Path]) -> dict[str, Any]:
    """Return the document that ``--json`` prints of a run."""
    return {
        "jobs": [
            describe_result(one.result, one.path) | {"reused": one.reused}
            for one in summary.finished
        ],
        "failures": [
            {"name": one.name, "jobs": one.jobs, "error": str(one)} for one in summary.failures
        ],
        "files": files,
    }


def _report(config: RunConfig, paths: list[Path], quiet: bool) -> list[Path]:
    """Write the table and the figure of this run's results, print the table, name the files."""
    from ssdd_bench.cli._tables import show_table, write_text
    from ssdd_bench.report.figures.speed import draw_speed
    from ssdd_bench.report.figures.style import Palette
    from ssdd_bench.report.frame import default_metric, load_frame
    from ssdd_bench.report.tables.build import build_tables
    from ssdd_bench.report.tables.markdown import to_markdown

    frame = load_frame(paths)
    written = [write_text(config.out / "table.md", to_markdown(build_tables(frame)))]
    metric = default_metric(frame)
    if metric and (figure := draw_speed(frame, metric, Palette.of(frame))):
        written.append(figure.save(config.out / f"{figure.name}.png"))
    if quiet:
        return written
    show_table(frame)
    pictures = ["samples/"] if config.pictures else []
    for name in [*(path.name for path in written), *pictures, f"{len(paths)} result files"]:
        click.echo(f"{config.out}: {name}", err=True)
    return written
