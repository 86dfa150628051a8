"""Standard output: a document for ``--json``, or tables of results and columns of text."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ssdd_bench.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

    from ssdd_bench.report.tables.model import Table
    from ssdd_bench.results.schema import Result

# Of tables in files and pipes, which have no width of their own.
WIDTH = 120
LIST_WIDTH = 100
NAMES = ("id", "key", "setting", "latent", "options", "scores")  # columns that are never broken


def _keep_stdout(ctx: click.Context, option: click.Parameter, as_json: bool) -> None:
    """Redirect what libraries print to standard error while the verb runs."""
    if as_json and not ctx.resilient_parsing:
        ctx.meta[__name__] = sys.stdout
        ctx.with_resource(redirect_stdout(sys.stderr))


json_option: Final = click.Option(
    ["--json"],
    is_flag=True,
    expose_value=False,
    callback=_keep_stdout,
    help="Print one JSON document on standard output.",
)


def wants_json() -> bool:
    """Return True if the verb was given ``--json``."""
    return __name__ in click.get_current_context().meta


def print_json(data: object) -> bool:
    """Print a document if the verb was given ``--json``; return True if so.

    NaN and infinity are no JSON and become null, as in result files.
    """
    if wants_json():
        text = json.dumps(data, default=_plain)
        plain = json.loads(text, parse_constant=lambda name: None)
        click.echo(json.dumps(plain, indent=2), file=click.get_current_context().meta[__name__])
    return wants_json()


def describe_result(result: Result, path: Path | None) -> dict[str, Any]:
    """Return the document of a result: its job, scores, speed and file."""
    return {
        "tokenizer": result.tokenizer.label,
        "resolution": result.resolution,
        "protocol": result.protocol["id"],
        "seed": result.seed,
        "path": path,
        "seconds": result.seconds,
        "metrics": result.metrics,
        "speed": result.speed,
        "warnings": result.warnings,
    }


def show_tables(tables: Sequence[Table]) -> None:
    """Print tables of results, as wide as the terminal."""
    from ssdd_bench.report.tables.terminal import print_tables

    print_tables(tables, _console(WIDTH))


def show_result(result: Result, path: Path | None, quiet: bool) -> None:
    """Show one result: as a document, as a table with the name of its file, or not at all."""
    if not print_json(describe_result(result, path)) and not quiet:
        from ssdd_bench.report.frame import to_frame
        from ssdd_bench.report.tables.build import build_tables

        show_tables(build_tables(to_frame([result])))
        click.echo(path, err=True)


def print_columns(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows, each by heading, as columns; names are never broken. None becomes a dash."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading in rows[0]:
        table.add_column(heading, no_wrap=heading in NAMES)
    for row in rows:
        table.add_row(
            *(Text("–" if value is None else printable(str(value))) for value in row.values())
        )  # brackets are no markup
    _console(LIST_WIDTH).print(table)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)


def _console(width: int) -> Console:
    from rich.console import Console

    fixed = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=width if fixed else None)
