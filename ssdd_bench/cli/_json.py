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
    help="One JSON document on standard output.",
)


def wants_json() -> bool:
    """Return True if the verb was given ``--json``."""
    return __name__ in click.get_current_context().meta


def print_json(data: object) -> bool:
    """Print a document if the verb was given ``--json``; return True if so.

    NaN and infinity are no JSON and become null, as in result files.
    """
    if wants_json():
        text = json.dumps(_plain(data), indent=2, allow_nan=False)
        click.echo(text, file=click.get_current_context().meta[__name__])
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
