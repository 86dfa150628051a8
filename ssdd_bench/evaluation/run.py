"""Run a grid of jobs: each is evaluated unless its result is on disk, and saved at once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from html import escape
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ssdd_bench.arguments import texts, whole, whole_numbers
from ssdd_bench.data.decode import MAX_IMAGE_MB
from ssdd_bench.data.memory import Images, is_paths
from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import DataError, OutputError, UnknownNameError, UserError, counted
from ssdd_bench.evaluation.comparison import ComparisonGroup
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.execution import ExecutionSettings, LayoutChoice, format_name
from ssdd_bench.evaluation.folder import (
    PARTS,
    JobRecord,
    Plan,
    PlannedImages,
    delete_merged,
    find_jobs,
    load_plans,
    read_job,
    reduce_plans,
    save_plan,
)
from ssdd_bench.evaluation.job import Failure, Finished, name_job
from ssdd_bench.evaluation.launch_groups import IN_PROCESS, Collector
from ssdd_bench.evaluation.launch_settings import Launch, count_gpus
from ssdd_bench.evaluation.progress import Callbacks, RunBar, progress_bar
from ssdd_bench.evaluation.result import show_html, show_text
from ssdd_bench.evaluation.settings import BatchSize, parse_batch_size
from ssdd_bench.evaluation.work import job_grid
from ssdd_bench.evaluation.worker import make_groups, merge_folder
from ssdd_bench.launch.lock import clocks_in_turn, locked
from ssdd_bench.launch.ranks import Ranks
from ssdd_bench.launch.scheduler import Scheduler, Task, Watcher
from ssdd_bench.launch.tasks import Opened, Problem
from ssdd_bench.metrics.catalog import find_metrics, metric_keys
from ssdd_bench.plugins.registry import parse_requests
from ssdd_bench.plugins.spec import TokenizerRequest
from ssdd_bench.results.pictures import LOSSLESS
from ssdd_bench.results.places import OWN_NAME, results_in
from ssdd_bench.results.schema import Compilation, NumberFormat, Result
from ssdd_bench.results.store import load_result, load_results

if TYPE_CHECKING:
    import pandas as pd
    import torch

LAUNCHERS: Final = ("local", "ray")
"""Launchers that :func:`run` knows."""


@dataclass(frozen=True, repr=False)
class RunSummary:
    """The result or the failure of every job.

    ``print`` and the prompt show a line for each failure and a table, a notebook an HTML one. The
    traceback of a failure is ``summary.failures[0].problem.trace``.
    """

    finished: tuple[Finished, ...]
    failures: tuple[Failure, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return a data frame with a row per result; see :func:`ssdd_bench.load_results`."""
        from ssdd_bench.report.loading import load_source

        return load_source([finished.path for finished in self.finished]).frame

    def __repr__(self) -> str:
        lines, frame = self._shown()
        return "\n".join([*lines, *([] if frame is None else [show_text(frame)])])

    def _repr_html_(self) -> str:
        lines, frame = self._shown()
        paragraphs = [f"<p>{escape(line)}</p>" for line in lines]
        return "\n".join([*paragraphs, *([] if frame is None else [show_html(frame)])])

    def _shown(self) -> tuple[list[str], pd.DataFrame | None]:
        """Return lines of text, and the frame of the table if there are results."""
        lines = [failure.line for failure in self.failures]
        if not self.finished:
            return [*lines, "no results"], None
        try:
            return lines, self.to_frame()
        except UserError as error:  # such as a file that was deleted since
            return [*lines, str(error)], None


def run(
    tokenizers: str | TokenizerRequest | Sequence[str | TokenizerRequest],
    *,
    resolutions: int | Sequence[int] = (256,),
    out: Path | str = "runs",
    metrics: str | Sequence[str] | None = None,
    protocols: str | Path | Sequence[str | Path] = ("default-v1",),
    data: Images | None = None,
    limit: int | None = None,
    sample: int | None = None,
    sample_seed: int = 0,
    max_image_mb: int = MAX_IMAGE_MB,
    seeds: int | Sequence[int] = (0,),
    batch_size: BatchSize = None,
    device: str = "auto",
    dtype: NumberFormat | torch.dtype | None = None,
    compile: Compilation = "off",
    memory_format: LayoutChoice = "auto",
    cuda_graphs: bool = False,
    speed: bool = True,
    pictures: bool = True,
    picture_quality: int = LOSSLESS,
    strict: bool = False,
    load_threads: int | None = None,
    intervals: bool = False,
    force: bool = False,
    interleave: bool = False,
    baseline: str = "",
    jobs: int | None = None,
    timeout: float | None = None,
    launcher: str = "local",
    gpus_per_job: int | None = None,
    progress: bool = True,
) -> RunSummary:
    """Evaluate a grid of tokenizers and resolutions, as ``ssdd-bench run`` does.

    Results that are on disk are kept, and one that is missing is saved as soon as it is there.

    Args:
        tokenizers: ids with options, such as ``["ssdd:steps=1", "klvae"]``.
        resolutions: side of the square crops in pixels, or several.
        out: folder of the results.
        metrics: keys; by default those of each protocol.
        protocols: id of a protocol of reconstructions, path of a protocol file, or several.
        data: see :func:`ssdd_bench.data.memory.as_source`; by default the sample photos.
        limit: use only that many images.
        sample: draw that many before ``limit`` is applied.
        sample_seed: of the draw: each seed has other images, and 0 those of ``limit``.
        max_image_mb: largest image file that is decoded, in MB as 8-bit RGB.
        seeds: of the noise of encoders and decoders, one or several; where there is none, only
            the first counts.
        batch_size: images per call; a list or ``auto`` for timings, see
            :func:`ssdd_bench.evaluate`.
        device: ``auto``, or as torch names it.
        dtype: of the networks' weights, by name or of torch; by default that of each protocol.
        compile: ``off``, or a mode of ``torch.compile``: ``default`` or ``max-autotune``.
        memory_format: ``channels_last`` or ``contiguous`` of the networks; ``auto`` is the faster.
        cuda_graphs: replay compiled networks as CUDA graphs.
        speed: True times encoding and decoding too.
        pictures: True saves sample reconstructions.
        picture_quality: of these as WebP: 100 is lossless, and 65 a fifteenth of the bytes.
        strict: an image that cannot be decoded or an unavailable metric is an error.
        load_threads: threads that load images, see :func:`ssdd_bench.evaluate`.
        intervals: True adds intervals of Fréchet distances, at twenty times their cost.
        force: True repeats jobs whose results are on disk.
        interleave: True times the decoders of all tokenizers by turns, adds to each result the
            ratio of its speed to that of ``baseline``, and takes its decoding rate from there.
        baseline: id with options of one of the tokenizers, by default the first.
        jobs: number of worker processes, by turns on the GPUs that are visible, or on the CPU. By
            default everything is computed in this process, one job after another. No score depends
            on it, but on a CPU they share the threads, which changes last digits.
        timeout: seconds without progress after which a job of a worker process has failed.
        launcher: ``local``, or ``ray`` for worker processes on a Ray cluster, by default one for
            each GPU of it. On SLURM a program runs ``ssdd-bench run`` instead, whose command the
            jobs repeat.
        gpus_per_job: GPUs that each worker reserves on Ray; by default 1, and 0 on the CPU.
        progress: True shows a bar on standard error, and a line for each failure.

    Raises:
        UserError: something concerns every job: the device, a name, the images, the output
            folder, a JSON file in it that is no result. A failure of a single job is in the
            summary.
    """
    parse_batch_size(batch_size)
    config = RunConfig(
        requests=tuple(_requests(tokenizers)),
        resolutions=whole_numbers("resolutions", resolutions),
        out=Path(out),
        metrics=metric_keys(metrics),
        protocols=texts("protocols", protocols),
        data=data,
        limit=limit,
        sample=sample,
        sample_seed=sample_seed,
        max_image_mb=max_image_mb,
        seeds=whole_numbers("seeds", seeds),
        batch_size=batch_size,
        device=device,
        execution=ExecutionSettings(format_name(dtype), compile, memory_format, cuda_graphs),
        speed=speed,
        pictures=pictures,
        picture_quality=picture_quality,
        strict=strict,
        load_threads=None if load_threads is None else whole("load_threads", load_threads, 0),
        intervals=intervals,
        force=force,
        interleave=interleave,
        baseline=baseline,
    )
    source = config.source()
    if not is_paths(data):  # An iterable is read once, and processes cannot open it themselves.
        config = replace(config, data=source, limit=None, sample=None)
    if launcher not in LAUNCHERS:
        raise UnknownNameError("launcher", launcher, LAUNCHERS)
    gpus = count_gpus(device, gpus_per_job) if launcher == "ray" else None
    in_process = gpus is None and jobs is None
    launch = Launch(in_process, jobs, timeout=timeout, ray_gpus=gpus)
    planned = len(config.jobs())
    title, total = counted(planned, "job"), planned * len(source)
    with progress_bar(title, total, quiet=not progress) as bar:
        return run_jobs(config, RunBar(bar), launch, source)


def _requests(tokenizers: Any) -> Iterator[TokenizerRequest]:
    """Yield the tokenizers that a user asked for, one or several.

    Raises:
        UserError: one is neither an id nor a request; or see :func:`parse_requests`.
    """
    alone = isinstance(tokenizers, str) or not isinstance(tokenizers, Iterable)
    for one in (tokenizers,) if alone else tokenizers:
        if isinstance(one, str):
            yield from parse_requests(one)
        elif isinstance(one, TokenizerRequest):
            yield one
        else:
            raise UserError(
                f"tokenizers has a {type(one).__name__}: run takes ids with options, as workers "
                "load them anew; give an object to ssdd_bench.evaluate"
            )


def run_jobs(
    config: RunConfig,
    callbacks: Callbacks | None = None,
    launch: Launch = IN_PROCESS,
    source: ImageSource | None = None,
) -> RunSummary:
    """Evaluate every job that is not on disk yet.

    A result is on disk as soon as its job is done, and what is found of some hundred images as
    soon as they are: a run that was stopped, for whatever reason, continues where it was when it is
    started again.

    Args:
        config: what to evaluate.
        callbacks: receive the progress.
        launch: where; by default in this process.
        source: the images of ``config``, where they are open already.

    Returns:
        Results and failures in the order of the jobs. Of a share, only what was finished before or
        has failed: :func:`merge_results` makes the results. Of ranks, rank 0 returns everything,
        and the others nothing.

    Raises:
        UserError: see :func:`run`.
    """
    return _Run(config, callbacks or Callbacks(), launch, source).run()


def merge_results(out: Path, callbacks: Callbacks | None = None) -> RunSummary:
    """Make results of what shares have computed; needs no tokenizer and no weights.

    Args:
        out: folder of the results.
        callbacks: receive what is finished and what has failed: jobs of which images are missing.

    Returns:
        What was merged now, and the jobs that lack something.

    Raises:
        UserError: the folder has neither parts nor results, has a JSON file that is no result, or
            is in use.
        DataError: see :func:`ssdd_bench.evaluation.merge.merge_job`.
    """
    callbacks = callbacks or Callbacks()
    finished: list[Finished] = []
    failures: list[Failure] = []

    def fail(name: str, problem: Problem) -> None:
        failures.append(Failure(name, 1, problem))
        callbacks.jobs_failed([], failures[-1])

    nothing = UserError(f"{out} has nothing to merge: give the folder of a run in shares")
    if not (out.is_dir() and any(out.iterdir())):
        raise nothing  # before there is a folder, or a lock in it
    _check_folder(out)
    with locked(out):
        for file in results_in(out):
            if any((out / PARTS).glob(f"{file.stem}-*")):
                with suppress(UserError):  # It is read, and named, below.
                    delete_merged(file, load_result(file).created)
        folders, plans = find_jobs(out), load_plans(out)
        if not folders and not plans and not results_in(out):
            raise nothing
        for folder in folders:
            if not folder.exists():  # One that was merged before it has all its metrics.
                continue
            merged = _try_to_merge(folder, out)
            if isinstance(merged, Problem):
                fail(folder.name, merged)
            else:
                finished.append(merged)
                callbacks.job_finished(None, merged)
        begun = set(_jobs_begun(out))
        there = [(_job_name(one), one.data) for one in load_results(results_in(out))]

        def is_done(name: str, images: PlannedImages) -> bool:
            return any(name == other and images.match(data) for other, data in there)

        for file, plan in plans.items():
            for name in plan.jobs:
                if (name, plan.images.name) in begun or is_done(name, plan.images):
                    continue
                text = (
                    f"no share has begun it, on {plan.images.name}: run the shares that are "
                    f"missing, then merge; or delete {file} to do without"
                )
                fail(name, Problem("UserError", text))
        reduce_plans(out, is_done)
    return RunSummary(tuple(finished), tuple(failures))


def _try_to_merge(folder: Path, out: Path) -> Finished | Problem:
    """Merge the chunks in a folder; an error that concerns every job is raised."""
    try:
        return merge_folder(folder, out)
    except (DataError, OutputError):
        raise
    except Exception as error:
        return Problem.of(error)


def _jobs_begun(out: Path) -> Iterator[tuple[str, str]]:
    """Yield the names of jobs that have a folder, and of their images, as far as they are read."""
    for folder in find_jobs(out):
        with suppress(UserError):  # The merge has failed with it, and has named the folder.
            record = read_job(folder)
            yield _job_name(record), record.data


def _job_name(found: Result | JobRecord) -> str:
    """Return the name of the job, without the settings of execution in the tokenizer's label."""
    label = found.tokenizer.label.partition(" (")[0]
    return name_job(label, found.resolution, str(found.protocol["id"]), found.seed)


class _Run(Watcher[Finished]):
    def __init__(
        self,
        config: RunConfig,
        callbacks: Callbacks,
        launch: Launch,
        source: ImageSource | None,
    ) -> None:
        self._config = config
        self._callbacks = callbacks
        self._launch = launch
        self._share = launch.own_share
        jobs = config.jobs()
        known = find_metrics("pairs")
        for key in chain.from_iterable(config.metric_keys(job.protocol) for job in jobs):
            if key not in known:
                raise UnknownNameError("metric", key, known)
        self._device = launch.choose_device(config.device)
        config.execution.check(self._device)
        self._baseline = config.baseline_label()
        if self._baseline and launch.share:
            raise UserError("a share has not all tokenizers to time by turns: leave interleave out")
        _check_folder(config.out)
        self._source = source or config.source()
        self._groups = make_groups(config, self._source, self._device)
        self._jobs = {
            (number, place): job
            for number, group in enumerate(self._groups)
            for place, job in enumerate(group.plan)
        }
        self._finished: dict[Task, Finished] = {}
        self._failures: dict[Task, Failure] = {}
        self._comparison_failures: list[Failure] = []
        self._folders: dict[Task, str] = {}  # of what a merge makes results of

    def run(self) -> RunSummary:
        share = self._share
        name = f"share-{share.index}-of-{share.count}" if share else "run"
        with locked(self._config.out, name), self._launch.connected():
            if self._launch.share is not None:
                names = tuple(job.name for job in self._jobs.values())
                save_plan(self._config.out, Plan(PlannedImages.of(self._source), names))
            if self._launch.rank is None:
                with self._quiet(name) as quiet:
                    self._work(quiet)
                self._compare_speeds()
                if share is None:
                    self._reduce_plans()
            else:
                with Ranks(self._launch.rank, self._launch.wait).connected() as ranks:
                    self._work_as(ranks)
        failures = [self._failures[task] for task in self._jobs if task in self._failures]
        # That of a tokenizer stands at all its jobs; those of two ranks may be equal.
        failures = [*{id(one): one for one in failures}.values()]
        return RunSummary(
            tuple(self._finished[task] for task in self._jobs if task in self._finished),
            (*failures, *self._comparison_failures),
        )

    def _reduce_plans(self) -> None:
        """Take the jobs of this run that have results out of earlier plans of shares."""
        images = PlannedImages.of(self._source)
        done = {self._jobs[task].name for task in self._finished}
        reduce_plans(self._config.out, lambda name, found: found == images and name in done)

    def _work(self, quiet: Callable[[], None] | None = None) -> None:
        shares = None if self._share is None else self._share.of(self._costs())
        slots = self._launch.slots(self._device)
        Scheduler(self._groups, slots, self, self._launch.timeout, shares, quiet).run()

    def _quiet(self, share: str) -> AbstractContextManager[Callable[[], None] | None]:
        """Return what waits until no other share on this machine's CPU slows its clocks down."""
        alone = self._launch.share is None or self._device.type != "cpu" or not self._config.speed
        return nullcontext() if alone else clocks_in_turn(self._config.out, share)

    def _costs(self) -> dict[Task, list[float]]:
        """Return the pixels of each chunk of each job."""
        return {
            task: [
                float(images * job.resolution**2)
                for images in job_grid(len(self._source), job.protocol).sizes
            ]
            for task, job in self._jobs.items()
        }

    def _work_as(self, ranks: Ranks) -> None:
        """Work as one of several ranks; rank 0 merges what all have found."""
        with ranks.in_turn(self._device.type == "cpu") as quiet:  # for clocks
            self._work(quiet)
        ranks.collect(self._config.out, PARTS)
        found = ranks.gather((self._finished, self._failures, self._folders))
        self._finished, self._failures = {}, {}
        if ranks.own.rank == 0:
            folders: dict[Task, str] = {}
            for finished, failures, theirs in found:
                self._finished |= finished
                self._failures |= failures
                folders |= theirs
            self._merge(folders)
            self._compare_speeds()
        ranks.meet()

    def _merge(self, folders: dict[Task, str]) -> None:
        for task in self._jobs:
            if task in folders and task not in self._failures:
                path = self._config.out / PARTS / folders[task]
                merged = _try_to_merge(path, self._config.out)
                if isinstance(merged, Problem):
                    self.failed(task[0], [task[1]], merged)
                else:
                    self.finished(task, merged)

    def _compare_speeds(self) -> None:
        """Time the decoders by turns where some result lacks its ratio, and save it again."""
        if not self._baseline:
            return
        done = [(self._jobs[task], self._finished[task]) for task in sorted(self._finished)]
        group = ComparisonGroup(self._config, self._baseline, done)
        watcher: Collector[tuple[Finished, ...]] = Collector([group])
        slots = replace(self._launch, jobs=1).slots(self._device)
        Scheduler([group], slots, watcher, self._launch.timeout).run()
        compared = {one.path: one.result for found in watcher.results.values() for one in found}
        for task, one in self._finished.items():
            self._finished[task] = replace(one, result=compared.get(one.path, one.result))
        for name, problem in watcher.failures:
            failure = Failure(name, 1, problem)
            self._comparison_failures.append(failure)
            self._callbacks.jobs_failed([], failure)

    # What the scheduler tells.

    def started(self, task: Task, opened: Opened[Finished]) -> None:
        position, images = list(self._jobs).index(task) + 1, sum(opened.images)
        if opened.folder:
            self._folders[task] = opened.folder
        self._callbacks.job_started(
            self._jobs[task], position, len(self._jobs), images, opened.done
        )

    def images_done(self, task: Task, count: int) -> None:
        self._callbacks.images_done(self._jobs[task], count)

    def stage(self, task: Task, name: str) -> None:
        self._callbacks.stage(self._jobs[task], name)

    def finished(self, task: Task, result: Finished) -> None:
        self._finished[task] = result
        self._callbacks.job_finished(self._jobs[task], result)

    def failed(self, group: int, jobs: Sequence[int], problem: Problem) -> None:
        tasks = [(group, job) for job in jobs]
        several = len(jobs) > 1
        name = self._groups[group].name if several else self._jobs[tasks[0]].name
        failure = Failure(name, len(jobs), problem)
        self._failures |= dict.fromkeys(tasks, failure)
        self._callbacks.jobs_failed([self._jobs[task] for task in tasks], failure)


def _check_folder(folder: Path) -> None:
    """Refuse a folder of results that cannot be written, or that a table cannot be made of.

    Files that are named as results may be replaced: damaged ones and those of an older version.
    """
    for file in results_in(folder):
        if not OWN_NAME.fullmatch(file.name):
            load_result(file)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write into {folder}: {error.strerror or error}; choose another --out"
        ) from error
