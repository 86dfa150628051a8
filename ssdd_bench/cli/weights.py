"""``ssdd-bench weights``: list, fetch and verify external files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import click

from ssdd_bench.cli._output import print_columns, print_json, wants_json
from ssdd_bench.cli._values import one_of
from ssdd_bench.cli._verbs import argument, debug_option, verb
from ssdd_bench.cli._weights import fetch_with_bars
from ssdd_bench.errors import UnavailableError, UnknownNameError, WeightsError
from ssdd_bench.metrics.catalog import find_metrics, needed_by
from ssdd_bench.weights import assets as table
from ssdd_bench.weights.assets import cached_path, inspect, require


def _names() -> dict[str, tuple[str, ...]]:
    """Return the files that each name stands for: of a file, of a metric, or ``all``."""
    assets = table.assets()
    return {
        **{name: (name,) for name in assets},
        **{key: info.assets for key, info in find_metrics().items()},
        "all": tuple(name for name, asset in assets.items() if asset.sha256),
    }


def _uses(row: Mapping[str, Any]) -> list[str]:
    """Return what a file is for: keys of metrics, and a setting of training."""
    training = [f"training: {row['training']}"] if row["training"] else []
    return [*row["needed_by"], *training]


@verb
def list_() -> None:
    """List files, their checksums and where they are."""
    rows = {
        name: {
            **asdict(asset),
            "needed_by": list(needed_by(name)),
            "found": str(cached_path(name) or ""),
        }
        for name, asset in table.assets().items()
    }
    if print_json({"weights": rows}):
        return
    print_columns(
        [
            {
                "id": name,
                "MB": f"{row['bytes'] / 1e6:.0f}" if row["bytes"] else "?",
                "sha256": row["sha256"][:8] or "none",
                "licence": row["licence"],
                "for": "\n".join(_uses(row)),
                "found": row["found"] or "no",
            }
            for name, row in rows.items()
        ]
    )


@verb
def fetch(names: Annotated[tuple[str, ...], argument(-1, complete=one_of(_names))]) -> None:
    """Download weights, or those that metrics need.

    NAMES are of weights or of metrics, or `all`. Files on this machine are verified.
    """
    known = _names()
    for name in names:
        if name not in known:
            raise UnknownNameError("weights", name, known)
    assets = list(dict.fromkeys(asset for name in names for asset in known[name]))
    paths = fetch_with_bars(assets)
    if not print_json({"weights": dict(zip(assets, paths, strict=True))}):
        click.echo("\n".join(map(str, paths)))


@verb
def verify() -> None:
    """Compare the checksums of files with the table."""
    wrong = []
    found = {}
    here = {name: path for name in table.assets() if (path := cached_path(name))}
    for name, path in here.items():
        try:
            require(name)
            sha256 = inspect(name)[1]
        except (UnavailableError, WeightsError) as error:
            wrong.append(str(error))
            sha256 = ""
        found[name] = {"path": path, "sha256": sha256, "right": bool(sha256)}
        if not wants_json():
            click.echo(f"{name}: {sha256[:12] or 'WRONG'} {path}")
    if not print_json({"weights": found}) and not found:
        click.echo("none of the files of `ssdd-bench weights list` is on this machine", err=True)
    if wrong:
        raise WeightsError("; ".join(wrong))


command = click.Group(
    "weights",
    commands=[list_, fetch, verify],
    params=[debug_option],
    help="List, fetch or verify the weights of metrics and training.",
)
