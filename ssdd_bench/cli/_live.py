"""Live display of ``run``: a line for each finished job, and a progress bar of each current one.

Lines are printed above the bar and never drawn again: they outlive an interrupt and may be more
than a screen holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.text import Text

from ssdd_bench.cli._verbs import wants_traceback
from ssdd_bench.errors import printable
from ssdd_bench.evaluation.job import Failure, Finished, Job, name_job
from ssdd_bench.evaluation.progress import Callbacks, new_progress
from ssdd_bench.results.schema import Result


@contextmanager
def follow(
    console: Console, on_result: Callable[[Result], None] = lambda result: None
) -> Iterator[Lines]:
    """Show the progress of a run on standard error; the lines stay, even after an interrupt."""
    with new_progress(console) as progress:
        yield Lines(progress, on_result)


class Lines(Callbacks):
    """A line for each finished job.

    The bar of a current job shows images done, images per second, then the stage that follows.

    Args:
        progress: shows the bars.
        on_result: is called with each result.

    Attributes:
        failures: that a line has told of; none on a quiet console.
    """

    def __init__(self, progress: Progress, on_result: Callable[[Result], None]) -> None:
        self.progress = progress
        self.on_result = on_result
        self.failures: list[Failure] = []
        self.tasks: dict[str, TaskID] = {}  # by name of the job

    def job_started(self, job: Job, number: int, total: int, images: int, done: int) -> None:
        """Add a bar."""
        name = f"[{number}/{total}] {job.name}"
        self.tasks[job.name] = self.progress.add_task(name, total=images, completed=done, state="")

    def images_done(self, job: Job, count: int) -> None:
        """Move the bar and show the speed."""
        bar = self.tasks[job.name]
        self.progress.advance(bar, count)
        (speed,) = (task.speed for task in self.progress.tasks if task.id == bar)
        self.progress.update(bar, state=f"{speed:.2f} images/s" if speed else "")

    def stage(self, job: Job, name: str) -> None:
        """Show the stage that follows the images."""
        self.progress.update(self.tasks[job.name], state=name)

    def job_finished(self, job: Job | None, finished: Finished) -> None:
        """Replace the bar, if there is one, by a line with the scores."""
        self.on_result(finished.result)
        end = "kept" if finished.reused else f"{finished.result.seconds:.0f} s"
        line = Text(printable(f"{_describe(finished.result)}, {end}"))
        self._print(line, [job] if job else [])

    def jobs_failed(self, jobs: Sequence[Job], failure: Failure) -> None:
        """Replace the bars by the failure."""
        self._print(Text(describe_failure(failure), "red"), jobs)
        if not self.progress.console.quiet:
            self.failures.append(failure)

    def _print(self, line: Text, over: Sequence[Job]) -> None:
        self.progress.console.print(line, soft_wrap=True)
        for job in over:
            if job.name in self.tasks:
                self.progress.remove_task(self.tasks.pop(job.name))


def describe_failure(failure: Failure) -> str:
    """Return the line of a failure, with ``--debug`` under its traceback."""
    line = f"failed: {failure}"
    return f"{failure.problem.trace}\n{line}" if wants_traceback() else line


def _describe(result: Result) -> str:
    # Imported at the first result: pandas would delay the first image.
    from ssdd_bench.report.frame import metric_directions, to_frame
    from ssdd_bench.report.tables.columns import format_short, scores

    frame = to_frame([result])
    row = frame.iloc[0]
    protocol = str(result.protocol["id"])
    name = name_job(result.tokenizer.label, result.resolution, protocol, result.seed)
    numbers = [f"{one.key} {one.cell(row).text}" for one in scores(metric_directions(frame))]
    if result.speed:
        numbers.append(f"decode {format_short(row['decode_ips'])} images/s")
    return f"{name}: {', '.join(numbers)}"
