"""Results of a run in trackers: each score under the name of its job."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ssdd_bench.evaluation.job import Failure, Finished, Job
from ssdd_bench.evaluation.progress import Callbacks
from ssdd_bench.results.schema import Result
from ssdd_bench.tracking.trackers import Trackers


class TrackedRun(Callbacks):
    """Logs every result at the number of its job, and passes everything on.

    Args:
        trackers: that take the numbers.
        inner: callbacks that follow the run.
    """

    def __init__(self, trackers: Trackers, inner: Callbacks) -> None:
        self._trackers = trackers
        self._inner = inner
        self._results = 0

    def job_started(self, job: Job, number: int, total: int, images: int, done: int) -> None:
        """Pass it on."""
        self._inner.job_started(job, number, total, images, done)

    def images_done(self, job: Job, count: int) -> None:
        """Pass it on."""
        self._inner.images_done(job, count)

    def stage(self, job: Job, name: str) -> None:
        """Pass it on."""
        self._inner.stage(job, name)

    def job_finished(self, job: Job, finished: Finished) -> None:
        """Log a result and pass it on."""
        self._log(finished.result)
        self._inner.job_finished(job, finished)

    def merged(self, finished: Finished) -> None:
        """Log a result and pass it on."""
        self._log(finished.result)
        self._inner.merged(finished)

    def jobs_failed(self, jobs: Sequence[Job], failure: Failure) -> None:
        """Pass it on."""
        self._inner.jobs_failed(jobs, failure)

    def _log(self, result: Result) -> None:
        self._results += 1
        self._trackers.log(result_values(result), self._results)


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
