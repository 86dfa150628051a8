"""``ssdd-bench score``: score reconstructions that were made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._output import show_result
from ssdd_bench.cli._verbs import argument, option, typed, verb
from ssdd_bench.cli._weights import fetch_weights


@verb
def command(
    reference: Annotated[Path, argument()],
    reconstruction: Annotated[Path, argument()],
    res: Annotated[int | None, option("Crop REFERENCE to this side in pixels.", "PX")] = None,
    protocol: options.Protocol = "default-v1",
    metrics: options.Metrics = (),
    intervals: options.Intervals = False,
    *,
    scoring: options.Scoring,
) -> None:
    """Score reconstructions that were made elsewhere.

    REFERENCE and RECONSTRUCTION are folders, tar shards, Parquet, or npz with arr_0. Images are
    paired by name; arrays by position. The result is a file as `run` writes it. Generated images
    are not paired: `ssdd-bench gen score` takes them.
    """
    from ssdd_bench.evaluation.pairs import evaluate_pairs

    fetch_weights(metrics, scoring.offline, scoring.strict, scoring.quiet)
    evaluation = evaluate_pairs(
        reference,
        reconstruction,
        resolution=res,
        protocol=protocol,
        metrics=metrics,
        label=scoring.label,
        device=scoring.device,
        intervals=intervals,
        strict=scoring.strict,
        load_threads=scoring.load_threads,
        max_image_mb=scoring.max_image_mb,
        progress=not scoring.quiet,
        command=typed(),
    )
    show_result(evaluation, evaluation.save(scoring.out, pictures=False), scoring.quiet)
