"""Live display of ``run``: rows of finished jobs, and a progress bar of the current one.

Rows are printed one by one above the bar and never drawn again: they outlive an interrupt and may
be more than a screen holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table
from rich.text import Text

from ssdd_bench.evaluation.job import Failure, Finished, Job
from ssdd_bench.evaluation.progress import Callbacks, new_progress
from ssdd_bench.evaluation.run import RunConfig
from ssdd_bench.metrics.catalog import sort_metrics
from ssdd_bench.report.frame import metric_directions, to_frame
from ssdd_bench.report.tables.columns import scores
from ssdd_bench.report.tables.model import MISSING
from ssdd_bench.report.tables.numbers import format_short
from ssdd_bench.results.schema import Result

GAP: Final = 2
LABEL: Final = 40  # a longer tokenizer goes on in the next line
NUMBER: Final = 8  # characters of a score
SPEED: Final = "decode images/s"
DONE: Final = "seconds"


@contextmanager
def follow(config: RunConfig, console: Console) -> Iterator[Callbacks]:
    """Show the progress of a run on standard error; the rows stay, even after an interrupt."""
    with new_progress(console) as progress:
        yield Rows(progress, config)


class Rows(Callbacks):
    """A row for each finished job, under headings that are repeated on every screen.

    The bar of the current job shows images done, images per second, then the stage that follows.
    """

    def __init__(self, progress: Progress, config: RunConfig) -> None:
        self.progress = progress
        self.task = TaskID(0)
        self._widths = _widths(config, progress.console.width)
        self._printed = 0

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
        """Replace the bar by a row."""
        texts = _texts(finished.result)
        texts[DONE] = "kept" if finished.reused else f"{finished.result.seconds:.0f}"
        if self._printed % max(self.progress.console.height - 3, 5) == 0:
            self._print({column: column for column in self._widths}, "bold")
        self._print(texts)
        self._printed += 1
        self._remove_bar()

    def job_failed(self, failure: Failure) -> None:
        """Print the failure among the rows."""
        self.progress.console.print(Text(f"failed: {failure}", "red"), soft_wrap=True)
        self._remove_bar()

    def _print(self, texts: Mapping[str, str], style: str = "") -> None:
        line = Table.grid(padding=(0, GAP, 0, 0))
        for column, width in self._widths.items():
            left = column in ("tokenizer", "protocol")
            line.add_column(width=width, justify="left" if left else "right", overflow="fold")
        line.add_row(*(Text(texts.get(column, MISSING), style) for column in self._widths))
        self.progress.console.print(line)

    def _remove_bar(self) -> None:
        for task in self.progress.task_ids:
            self.progress.remove_task(task)


def _widths(config: RunConfig, width: int) -> dict[str, int]:
    """Choose columns and widths: as many metrics as a line of ``width`` characters holds."""
    jobs = config.jobs()
    labels = max(len(job.request.label) for job in jobs)
    columns = {"tokenizer": max(len("tokenizer"), min(labels, LABEL, width // 3)), "px": 4}
    protocols = {job.protocol.id: job.protocol for job in jobs}
    if len(protocols) > 1:
        columns["protocol"] = max(map(len, protocols))
    if len({job.seed for job in jobs}) > 1:
        columns["seed"] = 4
    ends = {SPEED: len(SPEED)} if config.speed else {}
    ends[DONE] = len(DONE)
    for key in sort_metrics({key for one in protocols.values() for key in config.metric_keys(one)}):
        wanted = columns | {key: max(NUMBER, len(key))}
        if sum(size + GAP for size in (*wanted.values(), *ends.values())) <= width + GAP:
            columns = wanted
    return columns | ends


def _texts(result: Result) -> dict[str, str]:
    """Write the texts of a row by column."""
    frame = to_frame([result])
    row = frame.iloc[0]
    columns = {"tokenizer": "label", "px": "resolution", "protocol": "protocol", "seed": "seed"}
    texts = {heading: str(row[column]) for heading, column in columns.items()}
    texts |= {one.key: one.show(row) for one in scores(metric_directions(frame))}
    return texts | {SPEED: format_short(row["decode_ips"])}
