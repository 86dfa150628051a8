"""Progress of evaluations: callbacks of runs, and bars on standard error or in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ssdd_bench.launch.tasks import Progress as WorkProgress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, Task, TaskID

    from ssdd_bench.evaluation.job import Failure, Finished, Job


class Callbacks:
    """Receives the progress of a run, in which jobs may go on beside each other; does nothing."""

    def job_started(self, job: Job, number: int, total: int, images: int, done: int) -> None:
        """Take in that a job starts.

        Args:
            job: the job.
            number: of the job, from 1.
            total: number of jobs.
            images: number of its images.
            done: those of them that an earlier run has done.
        """

    def images_done(self, job: Job, count: int) -> None:
        """Take in that ``count`` more images of a job are done; fewer are if it is negative."""

    def stage(self, job: Job, name: str) -> None:
        """Take in the name of the stage that follows the images."""

    def job_finished(self, job: Job | None, finished: Finished) -> None:
        """Take in a result that is on disk; a merge knows no job."""

    def jobs_failed(self, jobs: Sequence[Job], failure: Failure) -> None:
        """Take in that the run continues without these jobs."""


def new_progress(console: Console) -> Progress:
    """Return bars with a title, a count, a text ``state`` and the time left, a line each.

    On a narrow terminal the bars are short, and the texts are cut, the longest first.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column
    from rich.text import Text

    class Line(TextColumn):
        """Text that is cut where it does not fit: the other columns do not give way."""

        def render(self, task: Task) -> Text:
            text = super().render(task)
            text.no_wrap, text.overflow = True, "ellipsis"
            return text

    def fixed() -> Column:
        return Column(no_wrap=True)

    return Progress(
        Line("{task.description}", markup=False, table_column=Column()),
        BarColumn(max(10, min(40, console.width - 80)), table_column=fixed()),
        MofNCompleteColumn(table_column=fixed()),
        Line("{task.fields[state]}", markup=False, table_column=Column()),
        TimeRemainingColumn(table_column=fixed()),
        console=console,
    )


class Bar(WorkProgress):
    """One bar, which is on the screen from the first call on: a refusal before leaves no bar."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def images_done(self, count: int) -> None:
        """Move forward by a number of images."""
        self._progress.start()
        self._progress.advance(self._task, count)

    def show(self, done: int, state: str) -> None:
        """Move to a position, with a text beside the bar."""
        self._progress.start()
        self._progress.update(self._task, completed=done, state=state)

    def print(self, line: str) -> None:
        """Print a line above the bar, which stays."""
        from rich.text import Text

        self._progress.start()
        self._progress.console.print(Text(line), soft_wrap=True)


class RunBar(Callbacks):
    """One bar, moved by the images of all jobs, under a line for each failure."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar

    def job_started(self, job: Job, number: int, total: int, images: int, done: int) -> None:
        """Move over the images of an earlier run."""
        self._bar.images_done(done)

    def images_done(self, job: Job, count: int) -> None:
        """Move forward."""
        self._bar.images_done(count)

    def job_finished(self, job: Job | None, finished: Finished) -> None:
        """Move over a job that was done before."""
        if finished.reused:
            self._bar.images_done(finished.result.data.n + len(finished.result.data.skipped))

    def jobs_failed(self, jobs: Sequence[Job], failure: Failure) -> None:
        """Print the failure."""
        self._bar.print(failure.line)


@contextmanager
def progress_bar(title: str, total: int | None = None, quiet: bool = False) -> Iterator[Bar]:
    """Make a bar for standard error, up to ``total``; None for an unknown total."""
    from rich.console import Console

    progress = new_progress(Console(stderr=True, quiet=quiet))
    try:
        yield Bar(progress, progress.add_task(title, total=total, state=""))
    finally:
        if progress.live.is_started:
            progress.stop()
