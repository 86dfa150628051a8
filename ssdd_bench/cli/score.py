"""``ssdd-bench score``: score reconstructions that were made elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._json import json_option, show_result
from ssdd_bench.cli._typed import typed


@click.command("score", short_help="Score reconstructions that were made elsewhere.")
@click.argument("reference", type=options.PATH)
@click.argument("reconstruction", type=options.PATH)
@options.resolution(help="Crop REFERENCE to this side in pixels.")
@options.protocol("default-v1")
@options.metrics()
@options.label
@options.device
@options.out("Folder of the result.", "runs")
@options.intervals
@options.strict
@options.offline
@options.quiet
@json_option
def command(
    reference: Path,
    reconstruction: Path,
    res: int | None,
    protocol: str,
    metrics: tuple[str, ...],
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

    from ssdd_bench.cli._downloads import fetch_weights
    from ssdd_bench.evaluation.pairs import evaluate_pairs

    fetch_weights(metrics, offline, strict, Console(stderr=True, quiet=quiet))
    evaluation = evaluate_pairs(
        reference,
        reconstruction,
        resolution=res,
        protocol=protocol,
        metrics=metrics,
        label=label,
        device=device,
        strict=strict,
        intervals=intervals,
        progress=not quiet,
        command=typed(),
    )
    show_result(evaluation, evaluation.save(out, pictures=False), quiet, as_json)
