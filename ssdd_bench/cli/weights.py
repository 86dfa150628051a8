"""``ssdd-bench weights``: list, fetch and verify the external files of metrics."""

from __future__ import annotations

from dataclasses import asdict

import click

from ssdd_bench.cli._complete import complete_weights
from ssdd_bench.cli._json import json_option, print_json
from ssdd_bench.cli._tables import print_columns


@click.group("weights", short_help="List, fetch or verify the weights that metrics need.")
def command() -> None:
    """List, fetch or verify the weights that metrics need."""


@command.command("list", short_help="List files, their checksums and where they are.")
@json_option
def list_(as_json: bool) -> None:
    """List every file with its size, checksum, licence, metrics and place on this machine."""
    from ssdd_bench.metrics.catalog import needed_by
    from ssdd_bench.weights.assets import assets
    from ssdd_bench.weights.cache import cached_path

    rows = {
        name: {
            **asdict(asset),
            "needed_by": list(needed_by(name)),
            "found": str(cached_path(name) or ""),
        }
        for name, asset in assets().items()
    }
    if as_json:
        print_json({"weights": rows})
        return
    print_columns(
        ("id", "MB", "sha256", "licence", "for", "found"),
        [
            (
                name,
                f"{row['bytes'] / 1e6:.0f}" if row["bytes"] else "?",
                row["sha256"][:8] or "none",
                row["licence"],
                "\n".join(row["needed_by"]),
                row["found"] or "no",
            )
            for name, row in rows.items()
        ],
    )


@command.command(short_help="Download weights, or those that metrics need.")
@click.argument("names", nargs=-1, required=True, shell_complete=complete_weights)
@json_option
def fetch(names: tuple[str, ...], as_json: bool) -> None:
    """Download NAMES of weights or of metrics, or `all`; files on this machine are verified."""
    from rich.console import Console

    from ssdd_bench.cli._downloads import fetch_with_bars

    assets = _expand(names)
    paths = fetch_with_bars(assets, Console(stderr=True))
    if as_json:
        print_json({"weights": dict(zip(assets, paths, strict=True))})
        return
    for path in paths:
        click.echo(path)


@command.command(short_help="Compare the checksum of every file with the table.")
@json_option
def verify(as_json: bool) -> None:
    """Compare the checksum of every file on this machine with the table."""
    from ssdd_bench.errors import UnavailableError, WeightsError
    from ssdd_bench.weights.assets import assets
    from ssdd_bench.weights.cache import cached_path, inspect, require

    wrong = []
    found = {}
    for name in assets():
        path = cached_path(name)
        if path is None:
            continue
        try:
            require(name)
            sha256 = inspect(name)[1]
        except (UnavailableError, WeightsError) as error:
            wrong.append(str(error))
            sha256 = ""
        found[name] = {"path": path, "sha256": sha256, "right": bool(sha256)}
        if not as_json:
            click.echo(f"{name}: {sha256[:12] or 'WRONG'} {path}")
    if as_json:
        print_json({"weights": found})
    if wrong:
        raise WeightsError("; ".join(wrong))


def _expand(names: tuple[str, ...]) -> list[str]:
    """Replace metrics by the weights that they need, and ``all`` by every file with a checksum."""
    from ssdd_bench.errors import UnknownNameError
    from ssdd_bench.metrics.catalog import find_metrics
    from ssdd_bench.weights.assets import assets

    metrics = find_metrics()
    found: list[str] = []
    for name in names:
        if name == "all":
            found += [name for name, asset in assets().items() if asset.sha256]
        elif name in metrics:
            found += metrics[name].assets
        elif name in assets():
            found.append(name)
        else:
            raise UnknownNameError("weights", name, [*assets(), *metrics, "all"])
    return list(dict.fromkeys(found))
