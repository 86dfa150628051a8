"""Timing by turns of the tokenizers of a run, as launchers run it: a job for each setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.interleave import Turns, compare_by_turns
from ssdd_bench.evaluation.job import Finished, Job
from ssdd_bench.evaluation.loading import load
from ssdd_bench.evaluation.memory import keep_freed_memory
from ssdd_bench.evaluation.work import first_images
from ssdd_bench.launch.tasks import Group, Opened, Progress, Worker
from ssdd_bench.results.store import save_result

Done = Sequence[tuple[Job, Finished]]


class ComparisonGroup(Group[tuple[Finished, ...]]):
    """Results that lack the ratio of their speed to the baseline's, by resolution and protocol.

    Args:
        config: of the run.
        baseline: label of the tokenizer that others are compared with.
        done: all jobs of the run that have a result.
    """

    def __init__(self, config: RunConfig, baseline: str, done: Done) -> None:
        settings: dict[tuple[int, str], list[tuple[Job, Finished]]] = {}
        for job, finished in done:
            settings.setdefault((job.resolution, job.protocol.id), []).append((job, finished))
        self.name = "timing by turns"
        self.config, self.baseline = config, baseline
        self.plan = [rows for rows in settings.values() if self._lacks_ratios(rows)]
        self.jobs = tuple(
            f"timing by turns at {rows[0][0].resolution} px, {rows[0][0].protocol.id}"
            for rows in self.plan
        )

    def _lacks_ratios(self, rows: Done) -> bool:
        labels = {job.request.label for job, _ in rows}
        complete = all(self._has_ratio(job, finished) for job, finished in rows)
        return len(labels) > 1 and self.baseline in labels and not complete

    def _has_ratio(self, job: Job, finished: Finished) -> bool:
        """Return True if a result is the baseline's, or was there with its ratio already."""
        speed = finished.result.speed
        against = speed.comparison.baseline if speed and speed.comparison else ""
        of_baseline = against.partition(" (")[0] == self.baseline.partition(" (")[0]
        return job.request.label == self.baseline or (finished.reused and of_baseline)

    def load(self, device: str) -> ComparisonWorker:
        """Load nothing: each job has other tokenizers."""
        keep_freed_memory()
        return ComparisonWorker(self, torch.device(device))


class ComparisonWorker(Worker[tuple[Finished, ...]]):
    """Times by turns.

    Args:
        group: the jobs.
        device: for networks.
    """

    def __init__(self, group: ComparisonGroup, device: torch.device) -> None:
        self._group, self._device = group, device

    def open(self, job: int) -> Opened[tuple[Finished, ...]]:
        """Leave all to the end: there are no chunks."""
        return Opened()

    def work(self, job: int, chunks: Sequence[int], progress: Progress) -> None:
        """Do nothing: there are no chunks."""

    def finish(self, job: int, progress: Progress) -> tuple[Finished, ...]:
        """Time the decoders by turns, and save each result with its rate and its ratio.

        Nothing else runs meanwhile: a run has one slot for this group.
        """
        progress.stage("speed")
        config, rows = self._group.config, self._group.plan[job]
        first = {one.request.label: one for one, _ in rows[::-1]}
        loaded = {label: load(one.request, self._device) for label, one in first.items()}
        settings = config.settings(first[self._group.baseline], self._device)
        examples = first_images(config.source(), settings)
        found = compare_by_turns(loaded, self._group.baseline, examples, settings)
        return tuple(self._save(finished, found.get(one.request.label)) for one, finished in rows)

    def _save(self, finished: Finished, turns: Turns | None) -> Finished:
        speed = finished.result.speed
        if speed is None:
            return finished
        speed = turns.put_into(speed) if turns else replace(speed, comparison=None)
        result = replace(finished.result, speed=speed)
        save_result(result, self._group.config.out)
        return replace(finished, result=result)
