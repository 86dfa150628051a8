"""Tables of results, and columns of plain text, on standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ssdd_bench.cli._json import describe_result, print_json

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from ssdd_bench.results.schema import Result

# Of tables in files and pipes, which have no width of their own.
WIDTH = 120
LIST_WIDTH = 100
NAMES = ("id", "key", "setting", "latent", "options", "scores")  # columns that are never broken


def write_table(frame: pd.DataFrame, path: Path) -> Path:
    """Write the tables of results as Markdown; return the path."""
    from ssdd_bench.report.tables.build import build_tables
    from ssdd_bench.report.tables.markdown import to_markdown
    from ssdd_bench.results.files import write_text

    write_text(path, to_markdown(build_tables(frame)))
    return path


def show_table(frame: pd.DataFrame) -> None:
    """Print the tables of results, as wide as the terminal."""
    from ssdd_bench.report.tables.build import build_tables
    from ssdd_bench.report.tables.terminal import print_tables

    print_tables(build_tables(frame), _console(WIDTH))


def show_result(result: Result, path: Path | None, quiet: bool) -> None:
    """Show one result: as a document, as a table with the name of its file, or not at all."""
    if not print_json(describe_result(result, path)) and not quiet:
        from ssdd_bench.report.frame import to_frame

        show_table(to_frame([result]))
        click.echo(path, err=True)


def print_columns(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows, each by heading, as columns; names are never broken."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading in rows[0]:
        table.add_column(heading, no_wrap=heading in NAMES)
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row.values()))  # brackets are no markup
    _console(LIST_WIDTH).print(table)


def _console(width: int) -> Console:
    from rich.console import Console

    fixed = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=width if fixed else None)
