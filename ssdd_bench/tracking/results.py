"""Results of a run in trackers: each score under the name of its job."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count

from ssdd_bench.results.schema import Result
from ssdd_bench.tracking.trackers import Trackers


def result_logger(trackers: Trackers) -> Callable[[Result], None]:
    """Return a function that logs results, each at its number among them, from 1."""
    numbers = count(1)
    return lambda result: trackers.log(result_values(result), next(numbers))


def result_values(result: Result) -> dict[str, float]:
    """Return the finite scores and the speeds of a result by ``JOB/KEY``.

    A job's name has letters, digits, blanks, points and dashes alone, which MLflow demands:
    ``jpeg-quality-50 256 px default-v1``.
    """
    seed = f" seed {result.seed}" if result.seed else ""
    whole = f"{result.tokenizer.label} {result.resolution} px {result.protocol['id']}{seed}"
    job = re.sub(r"[^\w. -]+", "-", whole, flags=re.ASCII)
    values = {key: one.value for key, one in result.metrics.items() if one.value is not None}
    if result.speed is not None:
        values["encode_images_per_s"] = result.speed.encode.images_per_s
        values["decode_images_per_s"] = result.speed.decode.images_per_s
    return {f"{job}/{key}": value for key, value in values.items()}
