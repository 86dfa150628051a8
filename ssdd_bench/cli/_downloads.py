"""Downloads with a progress bar for each file, before anything is measured."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID


def fetch_with_bars(names: Iterable[str], console: Console) -> list[Path]:
    """Fetch assets one after another.

    Args:
        names: of assets.
        console: for the progress bars.

    Returns:
        Paths of verified files, in order.

    Raises:
        UserError: see :func:`ssdd_bench.weights.download.fetch`.
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from ssdd_bench.weights.download import fetch

    paths = []
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), console=console, transient=True) as bars:
        for name in names:
            task = bars.add_task(name, total=None)

            def progress(done: int, total: int, task: TaskID = task) -> None:
                bars.update(task, completed=done, total=total)

            paths.append(fetch(name, progress))
    return paths


def fetch_weights(metrics: Iterable[str], offline: bool, strict: bool, console: Console) -> None:
    """Fetch the weights of metrics that the user named; default metrics start no download.

    Args:
        metrics: keys; unknown ones are ignored here.
        offline: forbid the network, here and later.
        strict: raise where a download fails; otherwise warn that its metric will be absent.
        console: for the progress bars and the warning.

    Raises:
        UnavailableError: a file is missing and the network is forbidden, or ``strict``.
    """
    from ssdd_bench.errors import UnavailableError
    from ssdd_bench.metrics.catalog import METRICS
    from ssdd_bench.weights.cache import cached_path, require
    from ssdd_bench.weights.download import is_offline

    if offline:
        os.environ["SSDD_BENCH_OFFLINE"] = "1"
    known = METRICS.all()
    names = {name: key for key in metrics if key in known for name in known[key].assets}
    missing = [name for name in names if cached_path(name) is None]
    for name in missing:
        if is_offline():
            require(name)
        try:
            fetch_with_bars([name], console)
        except UnavailableError as error:
            if strict:
                raise
            console.print(f"{names[name]} will be absent: {error}", soft_wrap=True, markup=False)
