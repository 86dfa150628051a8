"""``ssdd-bench gen score``: score generated images against a reference set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._output import show_result
from ssdd_bench.cli._progress import fetch_weights
from ssdd_bench.cli._verbs import argument, typed, verb


@verb
def command(
    reference: Annotated[Path, argument()],
    samples: Annotated[Path, argument()],
    protocol: options.Protocol = "gfid-v1",
    metrics: options.SampleMetrics = (),
    reference_limit: options.ReferenceLimit | None = None,
    *,
    scoring: options.Scoring,
) -> None:
    """Score generated images against a reference set.

    SAMPLES is a folder of `gen sample`, a folder of images, tar shards, Parquet or an npz with
    arr_0. REFERENCE is the same, or an npz with mu and sigma. The two sets are not paired.
    """
    from ssdd_bench.evaluation.samples import evaluate_samples

    fetch_weights(metrics, scoring.offline, scoring.strict, scoring.quiet)
    evaluation = evaluate_samples(
        samples,
        reference,
        protocol=protocol,
        metrics=metrics,
        limit=reference_limit,
        label=scoring.label,
        device=scoring.device,
        strict=scoring.strict,
        workers=scoring.workers,
        progress=not scoring.quiet,
        out=scoring.out,
        command=typed(),
    )
    show_result(evaluation, evaluation.path, scoring.quiet)
