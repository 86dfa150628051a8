"""What ``run`` and ``report`` both do with the rows of results: choose, write and show."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 120  # of tables in files and pipes, which have no width of their own


def default_metric(frame: pd.DataFrame) -> str | None:
    """The quality to draw where none was asked for; None if the rows hold no metric."""
    from ssdd_bench.report.rows import metric_directions

    measured = list(metric_directions(frame))
    return "fd_effnet" if "fd_effnet" in measured else next(iter(measured), None)


def has_speed(frame: pd.DataFrame) -> bool:
    """Whether any row was timed."""
    return bool((frame["decode_ips"] > 0).any())


def write_text(path: Path, text: str) -> Path:
    """Write a table; ``OutputError`` where the folder cannot be written."""
    from ssdd_bench.files import write_atomically

    write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"))
    return path


def show_table(frame: pd.DataFrame) -> None:
    """Print the table on standard output, as wide as the terminal."""
    from rich.console import Console

    from ssdd_bench.report.tables import print_table

    fixed = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    print_table(frame, Console(width=WIDTH if fixed else None))
