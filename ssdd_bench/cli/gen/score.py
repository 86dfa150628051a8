"""``ssdd-bench gen score``: score generated images against a reference set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._output import show_result
from ssdd_bench.cli._slurm import submit_verb
from ssdd_bench.cli._verbs import argument, typed, verb
from ssdd_bench.cli._weights import fetch_weights


@verb
def command(
    reference: Annotated[Path, argument()],
    samples: Annotated[Path, argument()],
    protocol: options.Protocol = "gfid-v1",
    metrics: options.SampleMetrics = (),
    reference_limit: options.ReferenceLimit | None = None,
    *,
    scoring: options.Scoring,
    launching: options.Launching,
    shard: options.Shard | None = None,
) -> None:
    """Score generated images against a reference set.

    SAMPLES is a folder of `gen sample`, a folder of images, tar shards, Parquet or an npz with
    arr_0. REFERENCE is the same, or an npz with mu and sigma. The two sets are not paired. Each GPU
    has a worker process, or the CPU has one; ranks of torchrun share the work too.
    """
    if submit_verb(launching, scoring.device, scoring.out, shard is not None):
        return
    from ssdd_bench.evaluation.sample_worker import ScoringPlan
    from ssdd_bench.evaluation.samples import find_generation_protocol, score_samples

    fetch_weights(metrics, scoring.offline, scoring.strict, scoring.quiet)
    plan = ScoringPlan(
        samples=(samples,),
        reference=reference,
        protocol=find_generation_protocol(protocol),
        out=scoring.out,
        metrics=metrics,
        limit=reference_limit,
        label=scoring.label,
        strict=scoring.strict,
        load_threads=scoring.load_threads,
        max_image_mb=scoring.max_image_mb,
        command=typed(),
    )
    launch = launching.make(scoring.device, shard=shard)
    device = launch.choose_device(scoring.device)
    found = score_samples(plan, device, launch, progress=not scoring.quiet)
    for evaluation in found:
        show_result(evaluation, evaluation.path, scoring.quiet)
