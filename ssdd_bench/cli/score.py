"""``ssdd-bench score``: score reconstructions that were made elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from ssdd_bench.cli._complete import complete_metrics, complete_protocol
from ssdd_bench.cli._json import describe_result, json_option, print_json
from ssdd_bench.cli._typed import typed


@click.command("score")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("reconstruction", type=click.Path(path_type=Path))
@click.option("--res", type=click.IntRange(min=1), help="Crop the originals to this side.")
@click.option(
    "--protocol", default="default-v1", show_default=True, shell_complete=complete_protocol
)
@click.option(
    "--metrics",
    default="",
    shell_complete=complete_metrics,
    help="Keys, comma-separated.  [default: the protocol's]",
)
@click.option("--label", default="", help="Name in tables.  [default: RECONSTRUCTION's]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder of the result.",
)
@click.option(
    "--intervals", is_flag=True, help="Intervals and the limit of Fréchet distances: slower."
)
@click.option("--strict", is_flag=True, help="A metric that cannot be had is an error.")
@click.option("--offline", is_flag=True, help="Fetch no weights: fail at once if one is missing.")
@click.option("--quiet", is_flag=True, help="Neither progress nor table.")
@json_option
def command(
    reference: Path,
    reconstruction: Path,
    res: int | None,
    protocol: str,
    metrics: str,
    label: str,
    device: str,
    out: Path,
    intervals: bool,
    strict: bool,
    offline: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Score RECONSTRUCTION against REFERENCE: folders, tar shards, Parquet, or npz with arr_0.

    Images are paired by name; arrays by position. The result is a file as `run` writes it.
    Generated images are not paired: `ssdd-bench gen score` takes them.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from ssdd_bench.cli._downloads import fetch_weights
    from ssdd_bench.cli._tables import show_table
    from ssdd_bench.evaluation.pairs import ScorePlan, score
    from ssdd_bench.report.frame import to_frame

    keys = tuple(key.strip() for key in metrics.split(",") if key.strip())
    console = Console(stderr=True, quiet=quiet)
    fetch_weights(keys, offline, strict, console)
    plan = ScorePlan(
        reference=reference,
        reconstruction=reconstruction,
        out=out,
        resolution=res,
        protocol=protocol,
        metrics=keys,
        label=label,
        device=device,
        strict=strict,
        intervals=intervals,
        command=typed(),
    )
    with Progress(
        BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    ) as progress:
        task = progress.add_task("", total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        result, path = score(plan, show)
    if as_json:
        print_json(describe_result(result, path))
    elif not quiet:
        show_table(to_frame([result]))
        click.echo(path, err=True)
