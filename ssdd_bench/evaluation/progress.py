"""Progress bars on standard error, or in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


def new_progress(console: Console) -> Progress:
    """Return bars with a title, a count, a text ``state`` and the time left.

    Args:
        console: for standard error.
    """
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


class Bar:
    """One bar that is on the screen."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, count: int) -> None:
        """Move forward by a number of images."""
        self._progress.advance(self._task, count)

    def show(self, done: int, total: int | None = None, state: str = "") -> None:
        """Move to a position; without a total it stays as it is."""
        self._progress.update(self._task, completed=done, total=total, state=state)


@contextmanager
def progress_bar(
    title: str, total: int | None = None, done: int = 0, quiet: bool = False
) -> Iterator[Bar]:
    """Show a bar on standard error.

    Args:
        title: text in front of the bar.
        total: of images or iterations; None while it is not known.
        done: where the bar starts.
        quiet: show nothing.
    """
    from rich.console import Console

    with new_progress(Console(stderr=True, quiet=quiet)) as progress:
        yield Bar(progress, progress.add_task(title, total=total, completed=done, state=""))
