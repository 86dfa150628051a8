"""``ssdd-bench gen score``: score generated images against a reference set."""

from __future__ import annotations

from pathlib import Path

import click

from ssdd_bench.cli._complete import complete_generation_metrics, complete_protocol
from ssdd_bench.cli._generation import weights_of
from ssdd_bench.cli._json import describe_result, json_option, print_json
from ssdd_bench.cli._typed import typed


@click.command("score")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("samples", type=click.Path(path_type=Path))
@click.option("--protocol", default="gfid-v1", show_default=True, shell_complete=complete_protocol)
@click.option(
    "--metrics",
    default="",
    shell_complete=complete_generation_metrics,
    help="Keys, comma-separated.  [default: the protocol's]",
)
@click.option("--reference-limit", type=click.IntRange(min=1), help="Use so many of REFERENCE.")
@click.option("--label", default="", help="Name in tables.  [default: SAMPLES' name]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder of the result.",
)
@click.option("--strict", is_flag=True, help="A metric that cannot be had is an error.")
@click.option("--offline", is_flag=True, help="Fetch no weights: fail at once if one is missing.")
@click.option("--quiet", is_flag=True, help="Neither progress nor table.")
@json_option
def command(
    reference: Path,
    samples: Path,
    protocol: str,
    metrics: str,
    reference_limit: int | None,
    label: str,
    device: str,
    out: Path,
    strict: bool,
    offline: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Score SAMPLES, generated images, against REFERENCE; the two sets are not paired.

    SAMPLES is a folder of `gen sample`, a folder of images, tar shards, Parquet or an npz with
    arr_0. REFERENCE is the same, or an npz with mu and sigma.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from ssdd_bench.cli._downloads import fetch_weights
    from ssdd_bench.cli._tables import show_table
    from ssdd_bench.evaluation.samples import GenerationScorePlan, score_generated
    from ssdd_bench.report.frame import to_frame

    keys = tuple(key.strip() for key in metrics.split(",") if key.strip())
    console = Console(stderr=True, quiet=quiet)
    fetch_weights(weights_of(keys), offline, strict, console)
    plan = GenerationScorePlan(
        samples=samples,
        reference=reference,
        out=out,
        protocol=protocol,
        metrics=keys,
        limit=reference_limit,
        label=label,
        device=device,
        strict=strict,
        command=typed(),
    )
    with Progress(
        BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    ) as progress:
        task = progress.add_task("", total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        result, path = score_generated(plan, show)
    if as_json:
        print_json(describe_result(result, path))
    elif not quiet:
        show_table(to_frame([result]))
        click.echo(path, err=True)
