"""``ssdd-bench run``: measure tokenizers at resolutions and show the table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ssdd_bench.cli._complete import (
    complete_data,
    complete_metrics,
    complete_protocols,
    complete_suite,
    complete_tokenizers,
)
from ssdd_bench.cli._config import as_flags, save_config, take_config, take_suite
from ssdd_bench.cli._json import describe_result, json_option, print_json
from ssdd_bench.cli._typed import typed

if TYPE_CHECKING:
    from ssdd_bench.evaluation.job import Cell
    from ssdd_bench.evaluation.run import Outcome, RunPlan


def _integers(ctx: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        values = tuple(int(part) for part in text.replace(",", " ").split())
    except ValueError:
        raise click.BadParameter(f"'{text}' is not a list of sizes such as 256,512") from None
    if not values or min(values) < 1:
        raise click.BadParameter("give at least one size of 1 px or more")
    return values


def _seeds(ctx: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        return tuple(click.IntRange(min=0)(part) for part in text.replace(",", " ").split()) or (0,)
    except click.BadParameter as error:
        raise click.BadParameter(f"{error.message} Give seeds such as 0,1,2") from None


def _names(ctx: click.Context, option: click.Parameter, text: str | None) -> tuple[str, ...]:
    return tuple((text or "").replace(",", " ").split())


@click.command("run", short_help="Measure tokenizers and show the table.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
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
@click.option(
    "--tokenizers",
    required=True,
    shell_complete=complete_tokenizers,
    help="Ids with options: ssdd:steps=1,2,klvae",
)
@click.option(
    "--res", default="256", show_default=True, callback=_integers, help="Sides in pixels: 256,512"
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    shell_complete=complete_data,
    help="Name (list data), folder, .tar, .npz or .parquet.  [default: sample]",
)
@click.option("--limit", type=click.IntRange(min=1), help="Use so many images of it.")
@click.option("--seed", default="0", show_default=True, callback=_seeds, help="One or more: 0,1,2")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Images a call on a GPU; a CPU takes one.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option(
    "--metrics",
    callback=_names,
    shell_complete=complete_metrics,
    help="Keys.  [default: the protocol's]",
)
@click.option(
    "--protocol",
    callback=_names,
    shell_complete=complete_protocols,
    default="default-v1",
    show_default=True,
    help="One or more: default-v1,ssdd-paper-v1",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder of the results.",
)
@click.option("--speed/--no-speed", default=True, help="Time encoding and decoding, or not.")
@click.option("--pictures/--no-pictures", default=True, help="Save reconstructions, or not.")
@click.option(
    "--intervals/--no-intervals", help="Intervals and the limit of Fréchet distances: slower."
)
@click.option("--strict/--no-strict", help="An unreadable image or absent metric is an error.")
@click.option("--offline/--no-offline", help="Fetch no weights: fail at once if one is missing.")
@click.option("--force", is_flag=True, help="Measure again what is there already.")
@click.option("--dry-run", is_flag=True, help="Show the cells and leave.")
@click.option("--quiet", is_flag=True, help="Neither progress nor table.")
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
    from ssdd_bench.errors import CellsFailedError
    from ssdd_bench.evaluation.run import RunPlan, run
    from ssdd_bench.plugins.registry import parse_requests

    plan = RunPlan(
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
        print_json({"cells": [_describe(cell) for cell in plan.cells()]})
        return
    if dry_run:
        for cell in plan.cells():
            click.echo(cell.name)
        return

    require_named(data)
    fetch_weights(metrics, offline, strict, Console(stderr=True, quiet=quiet))
    save_config(ctx, out / "run.toml")
    with follow(plan, Console(stderr=True, quiet=quiet)) as listener:
        outcome = run(plan, listener)
    files: list[Path] = []
    if outcome.finished:
        paths = [finished.path for finished in outcome.finished]
        files = _report(plan, paths, quiet or as_json)
    if as_json:
        print_json(_document(outcome, files))
    for failure in outcome.failures:
        if "--debug" in sys.argv:
            raise failure.error
        click.echo(f"failed: {failure}", err=True)
    if outcome.failures:
        failed = sum(failure.cells for failure in outcome.failures)
        raise CellsFailedError(f"{failed} of {len(plan.cells())} cells failed, see above")


def _describe(cell: Cell) -> dict[str, Any]:
    return {
        "tokenizer": cell.request.label,
        "resolution": cell.resolution,
        "protocol": cell.protocol.id,
        "seed": cell.seed,
    }


def _document(outcome: Outcome, files: list[Path]) -> dict[str, Any]:
    """What ``--json`` prints of a run."""
    return {
        "cells": [
            describe_result(one.result, one.path) | {"reused": one.reused}
            for one in outcome.finished
        ],
        "failures": [
            {"name": one.name, "cells": one.cells, "error": str(one)} for one in outcome.failures
        ],
        "files": files,
    }


def _report(plan: RunPlan, paths: list[Path], quiet: bool) -> list[Path]:
    """Write the table and the figure of this run's results, print the table, name the files."""
    from ssdd_bench.cli._tables import default_metric, has_speed, show_table, write_text
    from ssdd_bench.report.frame import load_frame
    from ssdd_bench.report.plots import quality_speed_plot
    from ssdd_bench.report.tables import to_markdown

    frame = load_frame(paths)
    written = [write_text(plan.out / "table.md", to_markdown(frame))]
    metric = default_metric(frame)
    if metric and has_speed(frame):
        written.append(plan.out / "quality-vs-speed.png")
        quality_speed_plot(frame, metric, written[-1])
    if quiet:
        return written
    show_table(frame)
    pictures = ["samples/"] if plan.pictures else []
    for name in [*(path.name for path in written), *pictures, f"{len(paths)} result files"]:
        click.echo(f"{plan.out}: {name}", err=True)
    return written
