"""The option ``--json`` of every verb: one document on standard output, and nothing else there."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from ssdd_bench.results.schema import Result


def _keep_stdout(ctx: click.Context, option: click.Parameter, as_json: bool) -> bool:
    """Redirect what libraries print to standard error while the verb runs."""
    if as_json and not ctx.resilient_parsing:
        ctx.meta[__name__] = sys.stdout
        ctx.with_resource(redirect_stdout(sys.stderr))
    return as_json


json_option: Final = click.option(
    "--json",
    "as_json",
    is_flag=True,
    callback=_keep_stdout,
    help="One JSON document on standard output.",
)
"""Gives a verb ``--json``, which it takes as ``as_json``."""


def print_json(data: object) -> None:
    """Print a document of dicts, sequences, dataclasses, paths, strings and numbers.

    JSON has no NaN and no infinity: they become null, as in result files.
    """
    text = json.dumps(_plain(data), indent=2, allow_nan=False)
    click.echo(text, file=click.get_current_context().meta[__name__])


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


def show_result(result: Result, path: Path, quiet: bool, as_json: bool) -> None:
    """Show one result: as a document, as a table, or not at all.

    Args:
        result: that was measured.
        path: its file.
        quiet: show no table.
        as_json: print a document, quiet or not.
    """
    if as_json:
        print_json(describe_result(result, path))
    elif not quiet:
        from ssdd_bench.cli._tables import show_table
        from ssdd_bench.report.frame import to_frame

        show_table(to_frame([result]))
        click.echo(path, err=True)


def _plain(data: object) -> Any:
    if is_dataclass(data) and not isinstance(data, type):
        data = asdict(data)
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    return data if data is None or isinstance(data, bool | int | str) else str(data)
