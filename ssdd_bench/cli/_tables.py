"""Helpers of several verbs: choose, write and show tables of results; print plain columns."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# Of tables in files and pipes, which have no width of their own.
WIDTH = 120
LIST_WIDTH = 100
NAMES = ("id", "key", "setting", "latent", "options", "scores")  # columns that are never broken


def has_speed(frame: pd.DataFrame) -> bool:
    """Return True if any row was timed."""
    return bool((frame["decode_ips"] > 0).any())


def write_text(path: Path, text: str) -> Path:
    """Write a text file.

    Raises:
        OutputError: the folder cannot be written.
    """
    from ssdd_bench.results.files import write_atomically

    write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"))
    return path


def show_table(frame: pd.DataFrame) -> None:
    """Print the tables on standard output, as wide as the terminal."""
    from rich.console import Console

    from ssdd_bench.report.tables.build import build_tables
    from ssdd_bench.report.tables.terminal import print_tables

    fixed = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    print_tables(build_tables(frame), Console(width=WIDTH if fixed else None))


def print_columns(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print plain text in columns on standard output; names are never broken."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column in NAMES)
    for row in rows:
        table.add_row(*map(Text, row))  # Text: brackets in a note are no markup
    fixed = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    Console(width=LIST_WIDTH if fixed else None).print(table)
