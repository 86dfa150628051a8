"""Groups that need no more than to be done: their results, wherever a launch computes them.

Whoever has a share leaves its chunks on disk; the same command without a share goes on from there
and finishes the jobs. Of several ranks the first one does that, when all are done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic

import torch

from ssdd_bench.errors import JobsFailedError
from ssdd_bench.evaluation.launch_settings import Launch
from ssdd_bench.evaluation.memory import keep_freed_memory
from ssdd_bench.evaluation.progress import progress_bar
from ssdd_bench.launch.lock import locked
from ssdd_bench.launch.ranks import Ranks
from ssdd_bench.launch.scheduler import Scheduler, Task, Watcher
from ssdd_bench.launch.tasks import Group, Opened, Problem, R

IN_PROCESS = Launch(in_process=True)


@dataclass(frozen=True)
class Files:
    """Files that workers leave for each other.

    Attributes:
        folder: that they are in; one launch at a time writes there.
        pattern: of their names, for ranks that do not see each other's folder.
        lock: name of the folder's lock.
    """

    folder: Path
    pattern: str = "**/*"
    lock: str = "run"


def launch_groups(
    groups: Sequence[Group[R]],
    files: Sequence[Files],
    costs: Callable[[], Mapping[Task, Sequence[float]]],
    device: torch.device,
    launch: Launch = IN_PROCESS,
    title: str = "",
    total: int | None = None,
    quiet: bool = True,
) -> dict[Task, R]:
    """Do groups of jobs and return what is finished.

    Args:
        groups: in the order in which they start.
        files: of all jobs.
        costs: returns the costs of each chunk of each job, for shares.
        device: of workers; ``cuda`` without a number is every GPU.
        launch: how.
        title: of the bar.
        total: number of images, if it is known.
        quiet: True shows no bar.

    Returns:
        The result of each job. Of a share, those that were complete before; of several ranks, all
        at the first one and none at the others.

    Raises:
        UserError: the first job that failed, when all others are done; or the folder is in use.
    """
    keep_freed_memory()
    share = launch.own_share
    shares = share.of(costs()) if share else None
    suffix = f"-share-{share.index}-of-{share.count}" if share else ""
    with ExitStack() as stack:
        stack.enter_context(launch.connected())
        for one in files:
            stack.enter_context(locked(one.folder, one.lock + suffix))
        ranks = None
        if launch.rank is not None:
            ranks = stack.enter_context(Ranks(launch.rank, launch.wait).connected())
        bar = stack.enter_context(progress_bar(title, total, quiet=quiet))
        watcher: Collector[R] = Collector(groups, bar.images_done)
        if ranks is None:
            Scheduler(groups, launch.slots(device), watcher, launch.timeout, shares).run()
        else:
            with ranks.in_turn(device.type == "cpu") as wait:  # for clocks
                slots = launch.slots(device)
                Scheduler(groups, slots, watcher, launch.timeout, shares, wait).run()
            watcher.failures = [one for found in ranks.gather(watcher.failures) for one in found]
            for one in files:
                ranks.collect(one.folder, ".", one.pattern)
            if ranks.own.rank == 0 and not watcher.failures:
                watcher = Collector(groups)
                alone = replace(launch, rank=None, jobs=1)
                Scheduler(groups, alone.slots(device), watcher, launch.timeout).run()
            watcher.failures = ranks.gather(watcher.failures)[0]
    if watcher.failures:
        job, problem = watcher.failures[0]
        if error := problem.user_error:
            raise error
        raise JobsFailedError(f"{job}: {problem}") from RuntimeError(problem.trace)
    return watcher.results


class Collector(Watcher[R], Generic[R]):
    """Collects the results and failures of groups.

    Args:
        groups: that are done.
        images_done: is told of each number of images that are done.
    """

    def __init__(
        self,
        groups: Sequence[Group[R]],
        images_done: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._groups = groups
        self._images_done = images_done
        self.results: dict[Task, R] = {}
        self.failures: list[tuple[str, Problem]] = []

    def started(self, task: Task, opened: Opened[R]) -> None:
        """Count the images that were done before."""
        self._images_done(opened.done)

    def images_done(self, task: Task, count: int) -> None:
        """Count images."""
        self._images_done(count)

    def finished(self, task: Task, result: R) -> None:
        """Keep the result of a job."""
        self.results[task] = result

    def failed(self, group: int, jobs: Sequence[int], problem: Problem) -> None:
        """Keep the problem, with the first job that it ended."""
        self.failures.append((self._groups[group].jobs[jobs[0]], problem))
