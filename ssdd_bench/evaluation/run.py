"""Run a grid of jobs: each is evaluated unless its result is on disk, and saved at once."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ssdd_bench.data.memory import Images, as_source
from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import DataError, OutputError, UnknownNameError
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.environment import choose_device
from ssdd_bench.evaluation.evaluate import Forward
from ssdd_bench.evaluation.execution import ExecutionSettings, LayoutChoice
from ssdd_bench.evaluation.interleave import compare_by_turns
from ssdd_bench.evaluation.job import Failure, Finished, Job
from ssdd_bench.evaluation.loading import load
from ssdd_bench.evaluation.memory import keep_freed_memory
from ssdd_bench.evaluation.progress import Callbacks, progress_bar
from ssdd_bench.evaluation.settings import BatchSize
from ssdd_bench.evaluation.work import first_images
from ssdd_bench.evaluation.worker import EvaluationGroup, EvaluationWorker, make_groups
from ssdd_bench.launch.tasks import Problem
from ssdd_bench.metrics.catalog import find_metrics, metric_keys
from ssdd_bench.plugins.registry import parse_requests
from ssdd_bench.plugins.spec import TokenizerRequest
from ssdd_bench.results.schema import Compilation, NumberFormat, SpeedComparison
from ssdd_bench.results.store import save_result

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RunSummary:
    """The result or the failure of every job."""

    finished: tuple[Finished, ...]
    failures: tuple[Failure, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return a data frame with a row per result; see :func:`ssdd_bench.load_results`."""
        from ssdd_bench.report.loading import load_source

        return load_source([finished.path for finished in self.finished]).frame


def run(
    tokenizers: str | Sequence[str | TokenizerRequest],
    *,
    resolutions: Sequence[int] = (256,),
    out: Path | str = "runs",
    metrics: str | Sequence[str] | None = None,
    protocols: Sequence[str] = ("default-v1",),
    data: Images | None = None,
    limit: int | None = None,
    seeds: Sequence[int] = (0,),
    batch_size: BatchSize = None,
    device: str = "auto",
    dtype: NumberFormat | None = None,
    compile: Compilation = "off",
    memory_format: LayoutChoice = "auto",
    cuda_graphs: bool = False,
    speed: bool = True,
    pictures: bool = True,
    strict: bool = False,
    workers: int | None = None,
    intervals: bool = False,
    force: bool = False,
    interleave: bool = False,
    baseline: str = "",
    progress: bool = True,
) -> RunSummary:
    """Evaluate a grid of tokenizers and resolutions, as ``ssdd-bench run`` does.

    Results that are on disk are kept, and one that is missing is saved as soon as it is there.

    Args:
        tokenizers: ids with options, such as ``["ssdd:steps=1", "klvae"]``.
        resolutions: sides of the square crops in pixels.
        out: folder of the results.
        metrics: keys; by default those of each protocol.
        protocols: ids of protocols of reconstructions, or paths of protocol files.
        data: see :func:`ssdd_bench.data.memory.as_source`; by default the sample photos.
        limit: use only that many images.
        seeds: of the noise of encoders and decoders; where there is none, only the first counts.
        batch_size: images per call; a list or ``auto`` for the clock, see
            :func:`ssdd_bench.evaluate`.
        device: ``auto``, or as torch names it.
        dtype: of the networks' weights; by default that of each protocol.
        compile: ``off``, or a mode of ``torch.compile``: ``default`` or ``max-autotune``.
        memory_format: ``channels_last`` or ``contiguous`` of the networks; ``auto`` is the faster.
        cuda_graphs: replay compiled networks as CUDA graphs.
        speed: True times encoding and decoding too.
        pictures: True saves sample reconstructions.
        strict: an image that cannot be decoded or an unavailable metric is an error.
        workers: threads that load images, see :func:`ssdd_bench.evaluate`.
        intervals: True adds intervals of Fréchet distances, at twenty times their cost.
        force: True repeats jobs whose results are on disk.
        interleave: True also times the decoders of all tokenizers by turns, and adds to each
            result the ratio of its speed to that of ``baseline``.
        baseline: id with options of one of the tokenizers, by default the first.
        progress: True shows a bar on standard error.

    Raises:
        UserError: something concerns every job: the device, a name, the images, the output
            folder. A failure of a single job is in the summary.
    """
    texts = [tokenizers] if isinstance(tokenizers, str) else tokenizers
    requests = [
        request
        for text in texts
        for request in (parse_requests(text) if isinstance(text, str) else [text])
    ]
    source = as_source(data, limit)
    is_path = data is None or isinstance(data, str | Path)  # other processes open it themselves
    config = RunConfig(
        requests=tuple(requests),
        resolutions=tuple(resolutions),
        out=Path(out),
        metrics=metric_keys(metrics),
        protocols=tuple(protocols),
        data=data if is_path else source,
        limit=limit if is_path else None,
        seeds=tuple(seeds),
        batch_size=batch_size,
        device=device,
        execution=ExecutionSettings(dtype, compile, memory_format, cuda_graphs),
        speed=speed,
        pictures=pictures,
        strict=strict,
        workers=workers,
        intervals=intervals,
        force=force,
        interleave=interleave,
        baseline=baseline,
    )
    jobs = len(config.jobs())
    with progress_bar(f"{jobs} jobs", jobs * len(source), quiet=not progress) as bar:
        return run_jobs(config, bar, source)


def run_jobs(
    config: RunConfig, callbacks: Callbacks | None = None, source: ImageSource | None = None
) -> RunSummary:
    """Evaluate every job that is not on disk yet.

    A result is on disk as soon as its job is done, and what is found of some hundred images as
    soon as they are: a run that was stopped, for whatever reason, continues where it was when it is
    started again.

    Args:
        config: of the run.
        callbacks: receive the progress.
        source: the images of ``config``, where they are open already.

    Raises:
        UserError: see :func:`run`.
    """
    return _Run(config, callbacks or Callbacks(), source).run()


class _Run:
    def __init__(self, config: RunConfig, callbacks: Callbacks, source: ImageSource | None) -> None:
        self._config = config
        self._callbacks = callbacks
        self._jobs = config.jobs()
        known = find_metrics("pairs")
        for key in chain.from_iterable(config.metric_keys(job.protocol) for job in self._jobs):
            if key not in known:
                raise UnknownNameError("metric", key, known)
        self._device = choose_device(config.device)
        config.execution.check(self._device)
        keep_freed_memory()
        _check_writable(config.out)
        self._source = source or as_source(config.data, config.limit)
        self._baseline = config.baseline_label()
        self._groups = make_groups(config, self._source, self._device)
        self._done: list[Job] = []  # in the order of what is finished
        self._finished: list[Finished] = []
        self._failures: list[Failure] = []

    def run(self) -> RunSummary:
        started = 0
        for group in self._groups:
            self._run_group(group, started)
            started += len(group.jobs)
        if self._baseline:
            self._compare_speeds()
        return RunSummary(tuple(self._finished), tuple(self._failures))

    def _run_group(self, group: EvaluationGroup, started: int) -> None:
        """Load a tokenizer once and do its jobs one after another, in this process."""
        try:
            worker = group.load(str(self._device))
        except Exception as error:
            self._fail(Failure(group.name, len(group.jobs), Problem.of(error)))
            return
        with closing(worker):
            for number, job in enumerate(group.plan):
                try:
                    self._run_job(worker, number, job, started + number + 1)
                except (DataError, OutputError):  # not specific to this job: abort the run
                    raise
                except Exception as error:
                    self._fail(Failure(job.name, 1, Problem.of(error)))

    def _run_job(self, worker: EvaluationWorker, number: int, job: Job, position: int) -> None:
        opened = worker.open(number)
        if opened.result is not None:
            self._finish(job, opened.result)
            return
        images = sum(opened.images)
        progress = Forward(self._callbacks)
        self._callbacks.job_started(job, position, len(self._jobs), images)
        self._callbacks.images_done(images - sum(opened.images[one] for one in opened.missing))
        if opened.missing:
            worker.work(number, opened.missing, progress)
        if opened.untimed:
            worker.time(number, progress)
        self._finish(job, worker.finish(number, progress))

    def _compare_speeds(self) -> None:
        """Time the decoders by turns where some result lacks its ratio, and save it again."""
        groups: dict[tuple[int, str], list[int]] = {}
        for place, job in enumerate(self._done):
            groups.setdefault((job.resolution, job.protocol.id), []).append(place)
        for places in groups.values():
            first = {self._done[place].request.label: self._done[place] for place in places[::-1]}
            if len(first) < 2 or self._baseline not in first or all(map(self._has_ratio, places)):
                continue
            loaded = {label: load(job.request, self._device) for label, job in first.items()}
            settings = self._config.settings(first[self._baseline], self._device)
            examples = first_images(self._source, settings)
            found = compare_by_turns(loaded, self._baseline, examples, settings)
            for place in places:
                self._save_comparison(place, found.get(self._done[place].request.label))

    def _has_ratio(self, place: int) -> bool:
        """Return True if a result is the baseline's, or was there with its ratio already."""
        finished, label = self._finished[place], self._done[place].request.label
        speed = finished.result.speed
        against = speed.comparison.baseline if speed and speed.comparison else ""
        of_baseline = against.partition(" (")[0] == self._baseline.partition(" (")[0]
        return label == self._baseline or (finished.reused and of_baseline)

    def _save_comparison(self, place: int, comparison: SpeedComparison | None) -> None:
        finished = self._finished[place]
        if finished.result.speed is not None:
            speed = replace(finished.result.speed, comparison=comparison)
            result = replace(finished.result, speed=speed)
            save_result(result, self._config.out)
            self._finished[place] = replace(finished, result=result)

    def _finish(self, job: Job, finished: Finished) -> None:
        self._done.append(job)
        self._finished.append(finished)
        self._callbacks.job_finished(finished)

    def _fail(self, failure: Failure) -> None:
        self._failures.append(failure)
        self._callbacks.job_failed(failure)


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write into {folder}: {error.strerror or error}; choose another --out"
        ) from error
