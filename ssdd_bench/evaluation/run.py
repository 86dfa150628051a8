"""Run a grid of jobs: each is evaluated unless its result is on disk, and saved at once."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING

from ssdd_bench.data.memory import Images, as_source
from ssdd_bench.errors import DataError, OutputError, UnknownNameError, UserError
from ssdd_bench.evaluation.environment import choose_device, describe_environment
from ssdd_bench.evaluation.evaluate import (
    BatchSize,
    Settings,
    check_resolution,
    evaluate_loaded,
    job_fingerprint,
    job_label,
)
from ssdd_bench.evaluation.execution import DEFAULT_EXECUTION, ExecutionSettings, LayoutChoice
from ssdd_bench.evaluation.interleave import compare_by_turns, first_images
from ssdd_bench.evaluation.job import Failure, Finished, Job, data_fingerprint
from ssdd_bench.evaluation.loading import LoadedTokenizer, load
from ssdd_bench.evaluation.memory import keep_freed_memory
from ssdd_bench.evaluation.progress import Callbacks, progress_bar
from ssdd_bench.metrics.catalog import find_metrics, metric_keys
from ssdd_bench.metrics.frechet import FrechetDistance
from ssdd_bench.metrics.intervals import GROUPS, JACKKNIFE
from ssdd_bench.plugins.registry import TOKENIZERS, parse_requests
from ssdd_bench.plugins.spec import TokenizerRequest
from ssdd_bench.protocols.registry import get_protocol
from ssdd_bench.protocols.schema import Protocol
from ssdd_bench.results.schema import Compilation, NumberFormat, Result, SpeedComparison
from ssdd_bench.results.store import load_results, load_saved, result_path, save_result
from ssdd_bench.weights.assets import cached_path

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run depends on.

    See :func:`run` for the meaning of each; ``command`` is what the user typed, for the record.
    """

    requests: tuple[TokenizerRequest, ...]
    resolutions: tuple[int, ...]
    out: Path
    metrics: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ("default-v1",)
    data: Images | None = None
    limit: int | None = None
    seeds: tuple[int, ...] = (0,)
    batch_size: BatchSize = None
    device: str = "auto"
    execution: ExecutionSettings = DEFAULT_EXECUTION
    speed: bool = True
    pictures: bool = True
    strict: bool = False
    workers: int | None = None
    intervals: bool = False
    force: bool = False
    interleave: bool = False
    baseline: str = ""
    command: str = ""

    def jobs(self) -> tuple[Job, ...]:
        """Return the grid in the order of evaluation, repeated jobs once.

        Raises:
            UnknownNameError: no such protocol.
            UserError: a protocol is not about reconstructions.
        """
        protocols = [get_protocol(protocol_id) for protocol_id in self.protocols]
        jobs = {
            (request.label, resolution, protocol.id, seed): Job(request, resolution, protocol, seed)
            for request in self.requests
            for resolution in self.resolutions
            for protocol in protocols
            for seed in (self.seeds if _is_random(request, protocol) else self.seeds[:1])
        }
        return tuple(jobs.values())

    def baseline_label(self) -> str:
        """Return the label of the tokenizer that others are timed against; "" for none.

        Raises:
            UserError: it is not among the tokenizers, there is no other, or nothing is timed.
        """
        labels = list(dict.fromkeys(request.label for request in self.requests))
        if not self.interleave:
            if self.baseline:
                raise UserError("a baseline is for timing by turns: add interleave")
            return ""
        if not self.speed or len(labels) < 2:
            raise UserError("timing by turns needs speed and two or more tokenizers")
        wanted = parse_requests(self.baseline)[0].label if self.baseline else labels[0]
        if wanted not in labels:
            raise UnknownNameError("baseline", wanted, labels)
        return wanted

    def metric_keys(self, protocol: Protocol) -> tuple[str, ...]:
        """Return the metrics that are evaluated under a protocol."""
        return self.metrics or protocol.metric_keys


def _is_random(request: TokenizerRequest, protocol: Protocol) -> bool:
    return TOKENIZERS.get(request.id).stochastic or protocol.posterior == "sample"


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
    config = RunConfig(
        requests=tuple(requests),
        resolutions=tuple(resolutions),
        out=Path(out),
        metrics=metric_keys(metrics),
        protocols=tuple(protocols),
        data=source,
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
        return run_jobs(config, bar)


def run_jobs(config: RunConfig, callbacks: Callbacks | None = None) -> RunSummary:
    """Evaluate every job that is not on disk yet.

    A result is on disk as soon as its job is done, so that a run that was stopped, for whatever
    reason, continues where it was when it is started again.

    Raises:
        UserError: see :func:`run`.
    """
    return _Run(config, callbacks or Callbacks()).run()


class _Run:
    def __init__(self, config: RunConfig, callbacks: Callbacks) -> None:
        self._config = config
        self._callbacks = callbacks
        self._jobs = config.jobs()
        self._metrics = find_metrics("pairs")
        for key in chain.from_iterable(config.metric_keys(job.protocol) for job in self._jobs):
            if key not in self._metrics:
                raise UnknownNameError("metric", key, self._metrics)
        self._device = choose_device(config.device)
        config.execution.check(self._device)
        keep_freed_memory()
        _check_writable(config.out)
        self._source = as_source(config.data, config.limit)
        self._data_hash = data_fingerprint(self._source)
        self._environment = describe_environment(self._device)
        self._baseline = config.baseline_label()
        self._done: list[Job] = []  # in the order of what is finished
        self._finished: list[Finished] = []
        self._failures: list[Failure] = []
        self._started = 0

    def run(self) -> RunSummary:
        for _, group in groupby(self._jobs, key=lambda job: job.request.label):
            self._run_tokenizer(list(group))
        if self._baseline:
            self._compare_speeds()
        return RunSummary(tuple(self._finished), tuple(self._failures))

    def _run_tokenizer(self, jobs: Sequence[Job]) -> None:
        """Load a tokenizer once and run all its jobs."""
        request = jobs[0].request
        try:
            loaded = load(request, self._device)
        except Exception as error:
            self._started += len(jobs)
            self._fail(Failure(request.label, len(jobs), error))
            return
        for job in jobs:
            self._started += 1
            try:
                self._run_job(job, loaded)
            except (DataError, OutputError):  # not specific to this job: abort the run
                raise
            except Exception as error:
                self._fail(Failure(job.name, 1, error))

    def _run_job(self, job: Job, loaded: LoadedTokenizer) -> None:
        check_resolution(loaded.tokenizer, job.resolution)
        config = self._config
        wanted = config.metric_keys(job.protocol)
        settings = self._settings(job)
        identity = job_fingerprint(loaded, settings, self._data_hash)
        label = job_label(loaded, settings)
        path = result_path(config.out, label, job.resolution, job.protocol.id, identity)
        old = load_saved(path, identity)
        if old is not None and not config.force and self._is_complete(old, wanted):
            self._finish(job, Finished(old, path, reused=True))
            return
        if old is not None:
            settings = self._extend(settings, old)
        self._callbacks.job_started(job, self._started, len(self._jobs), len(self._source))
        evaluation = evaluate_loaded(
            loaded,
            self._source,
            settings,
            data_hash=self._data_hash,
            environment=self._environment,
            command=config.command,
            callbacks=self._callbacks,
        )
        path = evaluation.save(config.out, config.pictures)
        (saved,) = load_results([path])
        self._finish(job, Finished(saved, path, reused=False))

    def _settings(self, job: Job) -> Settings:
        config = self._config
        return Settings(
            resolution=job.resolution,
            protocol=job.protocol,
            metrics=config.metric_keys(job.protocol),
            device=self._device,
            seed=job.seed,
            batch_size=config.batch_size,
            speed=config.speed,
            intervals=config.intervals,
            strict=config.strict,
            execution=config.execution,
            workers=config.workers,
        )

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
            settings = self._settings(first[self._baseline])
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

    def _extend(self, settings: Settings, old: Result) -> Settings:
        """Add what an earlier result holds, so that nothing is lost when it is replaced."""
        kept = [key for key in old.metrics if key in self._metrics]
        had_intervals = any(one.interval_method == JACKKNIFE for one in old.metrics.values())
        return replace(
            settings,
            metrics=tuple(dict.fromkeys((*settings.metrics, *kept))),
            speed=settings.speed or old.speed is not None,
            intervals=settings.intervals or had_intervals,
        )

    def _is_complete(self, old: Result, wanted: Sequence[str]) -> bool:
        return (
            not any(self._is_missing(old, key) for key in wanted)
            and (self._has_speed(old) or not self._config.speed)
            and not (self._config.strict and old.data.skipped)
        )

    def _has_speed(self, old: Result) -> bool:
        """Return True if the batches that were asked for are timed, or ran out of memory."""
        asked = self._config.batch_size
        if old.speed is None or asked is None or not old.speed.batches:
            return old.speed is not None
        if asked == "auto":
            return len(old.speed.batches) > 1
        sizes = (asked,) if isinstance(asked, int) else asked
        return max(old.speed.batches) >= max(sizes) or bool(old.speed.warning)

    def _is_missing(self, old: Result, key: str) -> bool:
        """Return True if the metric is missing, or was unavailable and can be computed now."""
        value = old.metrics.get(key)
        if value is None:
            return True
        info = self._metrics[key]
        if not value.unavailable:
            has_interval = issubclass(info.load(), FrechetDistance)
            enough = value.n >= GROUPS and not value.interval_method
            return self._config.intervals and has_interval and enough
        if info.source != "built-in":  # its author may have fixed it
            return True
        return self._config.strict or (bool(info.assets) and all(map(cached_path, info.assets)))

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
