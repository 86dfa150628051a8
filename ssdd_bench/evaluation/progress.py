"""Progress of evaluations: callbacks, and bars on standard error or in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from ssdd_bench.evaluation.job import Failure, Finished, Job


class Callbacks:
    """Receives the progress of an evaluation or a run; does nothing by itself."""

    def images_done(self, count: int) -> None:
        """Take in that ``count`` more images are done."""

    def stage(self, name: str) -> None:
        """Take in the name of the stage that follows the images."""

    def job_started(self, job: Job, number: int, total: int, images: int) -> None:
        """Take in that job ``number`` of ``total``, from 1, starts to read ``images`` images."""

    def job_finished(self, finished: Finished) -> None:
        """Take in a result that is on disk."""

    def job_failed(self, failure: Failure) -> None:
        """Take in that the run continues without this job."""


def new_progress(console: Console) -> Progress:
    """Return bars with a title, a count, a text ``state`` and the time left."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        TimeRemainingColumn(),
        console=console,
    )


class Bar(Callbacks):
    """One bar that is on the screen, moved by the images of all jobs."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def images_done(self, count: int) -> None:
        """Move forward by a number of images."""
        self._progress.advance(self._task, count)

    def job_finished(self, finished: Finished) -> None:
        """Move over a job that was done before."""
        if finished.reused:
            self.images_done(finished.result.data.n + len(finished.result.data.skipped))

    def show(self, done: int, state: str) -> None:
        """Move to a position, with a text beside the bar."""
        self._progress.update(self._task, completed=done, state=state)


@contextmanager
def progress_bar(
    title: str, total: int | None = None, done: int = 0, quiet: bool = False
) -> Iterator[Bar]:
    """Show a bar on standard error, from ``done`` to ``total``; None for an unknown total."""
    from rich.console import Console

    with new_progress(Console(stderr=True, quiet=quiet)) as progress:
        yield Bar(progress, progress.add_task(title, total=total, completed=done, state=""))
