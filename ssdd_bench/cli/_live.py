"""Live display of ``run``: a line for each finished job, and a progress bar of the current one.

Lines are printed above the bar and never drawn again: they outlive an interrupt and may be more
than a screen holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.text import Text

from ssdd_bench.evaluation.job import Failure, Finished, Job
from ssdd_bench.evaluation.progress import Callbacks, new_progress
from ssdd_bench.report.frame import metric_directions, to_frame
from ssdd_bench.report.tables.columns import format_short, scores
from ssdd_bench.results.schema import Result


@contextmanager
def follow(console: Console) -> Iterator[Callbacks]:
    """Show the progress of a run on standard error; the lines stay, even after an interrupt."""
    with new_progress(console) as progress:
        yield Lines(progress)


class Lines(Callbacks):
    """A line for each finished job.

    The bar of the current job shows images done, images per second, then the stage that follows.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task = TaskID(0)

    def job_started(self, job: Job, number: int, total: int, images: int) -> None:
        """Add a bar."""
        name = f"[{number}/{total}] {job.name}"
        self.task = self.progress.add_task(name, total=images, state="")

    def images_done(self, count: int) -> None:
        """Move the bar and show the speed."""
        self.progress.advance(self.task, count)
        speed = self.progress.tasks[-1].speed
        self.progress.update(self.task, state=f"{speed:.2f} images/s" if speed else "")

    def stage(self, name: str) -> None:
        """Show the stage that follows the images."""
        self.progress.update(self.task, state=name)

    def job_finished(self, finished: Finished) -> None:
        """Replace the bar by a line with the scores."""
        end = "kept" if finished.reused else f"{finished.result.seconds:.0f} s"
        self._print(Text(f"{_describe(finished.result)}, {end}"))

    def job_failed(self, failure: Failure) -> None:
        """Replace the bar by the failure."""
        self._print(Text(f"failed: {failure}", "red"))

    def _print(self, line: Text) -> None:
        self.progress.console.print(line, soft_wrap=True)
        for task in self.progress.task_ids:
            self.progress.remove_task(task)


def _describe(result: Result) -> str:
    frame = to_frame([result])
    row = frame.iloc[0]
    seed = f", seed {result.seed}" if result.seed else ""
    name = f"{result.tokenizer.label} at {result.resolution} px, {result.protocol['id']}{seed}"
    numbers = [f"{one.key} {one.show(row)}" for one in scores(metric_directions(frame))]
    if result.speed:
        numbers.append(f"decode {format_short(row['decode_ips'])} images/s")
    return f"{name}: {', '.join(numbers)}"
