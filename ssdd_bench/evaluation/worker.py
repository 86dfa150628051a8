"""Evaluations as launchers run them: a group of jobs for each tokenizer, and its worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from ssdd_bench.data.source import ImageSource
from ssdd_bench.evaluation.chunk_files import DamagedChunkError
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.environment import describe_environment
from ssdd_bench.evaluation.folder import PARTS, JobFolder, JobRecord, delete_merged, read_job
from ssdd_bench.evaluation.job import Finished, Job, data_fingerprint
from ssdd_bench.evaluation.loading import LoadedTokenizer, load
from ssdd_bench.evaluation.memory import keep_freed_memory
from ssdd_bench.evaluation.merge import merge_job
from ssdd_bench.evaluation.resume import extend, has_scores, has_speed
from ssdd_bench.evaluation.settings import Settings, check_resolution, job_fingerprint, job_label
from ssdd_bench.evaluation.work import JobWork, describe_job
from ssdd_bench.launch.tasks import Group, Opened, Progress, Worker
from ssdd_bench.results.places import result_path
from ssdd_bench.results.store import load_result, load_saved, save_result


def make_groups(
    config: RunConfig, source: ImageSource, device: torch.device
) -> tuple[EvaluationGroup, ...]:
    """Put the jobs of a run into groups, one for each tokenizer.

    Args:
        config: of the run.
        source: its images, open already.
        device: whose driver the records name.
    """
    data_hash, environment = data_fingerprint(source), describe_environment(device)
    return tuple(
        EvaluationGroup(config, tuple(jobs), data_hash, source, environment)
        for _, jobs in groupby(config.jobs(), key=lambda job: job.request.label)
    )


class EvaluationGroup(Group[Finished]):
    """The jobs of one tokenizer.

    Args:
        config: of the run.
        plan: the jobs.
        data_hash: of the images, see :func:`ssdd_bench.evaluation.job.data_fingerprint`.
        source: the images, open already; they go to other processes too.
        environment: of this process and its machine, see
            :func:`ssdd_bench.evaluation.environment.describe_environment`.
    """

    def __init__(
        self,
        config: RunConfig,
        plan: tuple[Job, ...],
        data_hash: str,
        source: ImageSource,
        environment: dict[str, Any] | None = None,
    ) -> None:
        self.config = config
        self.plan = plan
        self.data_hash = data_hash
        self._environment = environment
        self._source = source
        self.name = plan[0].request.label
        self.jobs = tuple(job.name for job in plan)

    def load(self, device: str) -> EvaluationWorker:
        """Load the tokenizer onto a device."""
        keep_freed_memory()
        chosen = torch.device(device)
        environment = self._environment or describe_environment(chosen)
        loaded = load(self.plan[0].request, chosen)
        return EvaluationWorker(self, loaded, self._source, chosen, environment)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is another machine's; the images go along, so that all have the same."""
        return {**vars(self), "_environment": None}


@dataclass(frozen=True)
class _Job:
    """A job that is open.

    Attributes:
        settings: of its evaluation.
        folder: of its chunks.
        record: what is known of it.
        old: result that lacks nothing but its speed; then there are no chunks.
    """

    settings: Settings
    folder: JobFolder
    record: JobRecord
    old: Finished | None


class EvaluationWorker(Worker[Finished]):
    """Evaluates one tokenizer.

    Args:
        group: the jobs.
        loaded: the tokenizer.
        source: the images.
        device: for networks.
        environment: of this process and its machine.
    """

    def __init__(
        self,
        group: EvaluationGroup,
        loaded: LoadedTokenizer,
        source: ImageSource,
        device: torch.device,
        environment: dict[str, Any],
    ) -> None:
        self._group = group
        self._loaded = loaded
        self._source = source
        self._device = device
        self._environment = environment
        self._jobs: dict[int, _Job] = {}
        self._current: tuple[int, JobWork] | None = None

    def open(self, job: int) -> Opened[Finished]:
        """Look up what is left to do of a job.

        Raises:
            ResolutionError: the tokenizer cannot take the resolution.
        """
        plan, config = self._group.plan[job], self._group.config
        check_resolution(self._loaded.tokenizer, plan.resolution)
        settings = config.settings(plan, self._device)
        identity = job_fingerprint(self._loaded, settings, self._group.data_hash)
        label = job_label(self._loaded, settings)
        path = result_path(config.out, label, plan.resolution, plan.protocol.id, identity)
        old = load_saved(path, identity)
        if old is not None:
            delete_merged(path, old.created)
        complete = None
        if old is not None and not config.force and has_scores(old, settings.metrics, config):
            complete = Finished(old, path, reused=True)
        if complete and has_speed(complete.result, config):
            return Opened(result=complete)
        if complete and complete.result.environment != self._environment:
            complete = None  # A result names one environment, which is that of its speed too.
        if old is not None:
            settings = extend(settings, old)
        record = describe_job(
            self._loaded,
            self._source,
            settings,
            self._group.data_hash,
            self._environment,
            config.command,
            config.pictures,
            config.picture_quality,
        )
        folder = JobFolder(config.out / PARTS / record.identity.folder_name(path), record.identity)
        if complete:
            self._jobs[job] = _Job(settings, folder, record, complete)
            return Opened(untimed=True)
        self._jobs[job] = _Job(settings, folder, folder.claim(record), None)
        untimed = settings.speed and folder.load_clock() is None
        sizes = folder.grid.sizes
        return Opened(sizes, folder.missing(), untimed, folder=folder.path.name)

    def work(self, job: int, chunks: Sequence[int], progress: Progress) -> None:
        """Compute some chunks of an open job, and save each as soon as it is done."""
        with self._work_on(job) as work:
            work.compute(self._jobs[job].folder, chunks, progress)

    def time(self, job: int, progress: Progress) -> None:
        """Read the clock for an open job and save it."""
        progress.stage("speed")
        one = self._jobs[job]
        with self._work_on(job) as work:
            clock = work.time(
                replace(one.record, environment=self._environment), work.examples(one.folder)
            )
        if one.old is None:
            one.folder.save_clock(clock)
            return
        old = one.old.result
        result = replace(
            old,
            speed=clock.speed,
            seconds=old.seconds + clock.seconds,
            command=one.record.command,
        )
        save_result(result, self._group.config.out)

    def finish(self, job: int, progress: Progress) -> Finished:
        """Merge all chunks of a job, save its result and delete its folder.

        A damaged chunk is computed again.

        Raises:
            UserError: a chunk is missing; names the images.
        """
        one, config = self._jobs[job], self._group.config
        if one.old is not None:
            self.close()
            saved = load_result(one.old.path)
            return Finished(saved, one.old.path, reused=False)
        finished = None
        while finished is None:
            progress.stage("scores")
            try:
                finished = save_merged(one.folder, one.record, config.out)
            except DamagedChunkError as error:
                one.folder.refuse(error)
                self.work(job, [error.chunk], Progress())
        self.close()
        return finished

    @contextmanager
    def _work_on(self, job: int) -> Iterator[JobWork]:
        """Return the work on a job, after leaving that on another one; leave it if it fails."""
        if self._current is None or self._current[0] != job:
            self.close()
            work = JobWork(self._loaded, self._source, self._jobs[job].settings)
            self._current = job, work
        try:
            yield self._current[1]
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Leave the networks as they were, and free the metrics."""
        current, self._current = self._current, None
        if current is not None:
            current[1].close()


def merge_folder(path: Path, out: Path) -> Finished:
    """Merge the chunks in a folder of a job, whatever run it is of, and save its result.

    Raises:
        UserError: see :func:`ssdd_bench.evaluation.merge.merge_job`; a damaged chunk is deleted.
    """
    record = read_job(path)
    folder = JobFolder(path, record.identity)
    try:
        return save_merged(folder, record, out)
    except DamagedChunkError as error:
        folder.refuse(error)
        raise


def save_merged(folder: JobFolder, record: JobRecord, out: Path) -> Finished:
    """Merge the chunks of a job, save its result and delete its folder.

    Needs neither the tokenizer nor weights. Speed that was asked for and is not in the folder is
    left out; a run adds it without measuring the images again.

    Args:
        folder: of the job, see :func:`ssdd_bench.evaluation.folder.find_jobs`.
        record: from :func:`ssdd_bench.evaluation.folder.read_job`.
        out: folder of the results.

    Raises:
        UserError: see :func:`ssdd_bench.evaluation.merge.merge_job`.
    """
    evaluation = merge_job(folder, record)
    path = evaluation.save(out, record.pictures, record.picture_quality)
    saved = load_result(path)
    folder.delete()
    return Finished(saved, path, reused=False)
