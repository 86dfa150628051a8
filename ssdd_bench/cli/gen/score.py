"""``ssdd-bench gen score``: score generated images against a reference set."""

from __future__ import annotations

from pathlib import Path

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._complete import complete_generation_metrics
from ssdd_bench.cli._json import json_option, show_result
from ssdd_bench.cli._typed import typed


@click.command("score", short_help="Score generated images against a reference set.")
@click.argument("reference", type=options.PATH)
@click.argument("samples", type=options.PATH)
@options.protocol("gfid-v1")
@options.metrics(complete_generation_metrics)
@options.reference_limit
@options.label
@options.device
@options.out("Folder of the result.", "runs")
@options.strict
@options.offline
@options.quiet
@json_option
def command(
    reference: Path,
    samples: Path,
    protocol: str,
    metrics: tuple[str, ...],
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

    from ssdd_bench.cli._downloads import fetch_weights
    from ssdd_bench.evaluation.samples import evaluate_samples

    fetch_weights(metrics, offline, strict, Console(stderr=True, quiet=quiet))
    evaluation = evaluate_samples(
        samples,
        reference,
        protocol=protocol,
        metrics=metrics,
        limit=reference_limit,
        label=label,
        device=device,
        strict=strict,
        progress=not quiet,
        out=out,
        command=typed(),
    )
    assert evaluation.path is not None
    show_result(evaluation, evaluation.path, quiet, as_json)
