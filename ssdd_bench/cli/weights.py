"""``ssdd-bench weights``: the external files of metrics, listed, fetched and verified."""

from __future__ import annotations

import json

import click

from ssdd_bench.cli._tables import print_columns


@click.group("weights", short_help="List, fetch or verify the weights that metrics need.")
def command() -> None:
    """List, fetch or verify the weights that metrics need."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="machine-readable")
def list_(as_json: bool) -> None:
    """List every file: its size, licence, checksum, who needs it and where it was found."""
    from ssdd_bench.assets import table
    from ssdd_bench.assets.locate import find
    from ssdd_bench.metrics.base import needed_by

    rows = {
        name: {
            "file": asset.file,
            "url": asset.url,
            "bytes": asset.bytes,
            "sha256": asset.sha256,
            "licence": asset.licence,
            "needed_by": list(needed_by(name)),
            "found": str(find(name) or ""),
        }
        for name, asset in table.assets().items()
    }
    if as_json:
        click.echo(json.dumps({"weights": rows}, indent=2))
        return
    print_columns(
        ("id", "MB", "sha256", "licence", "for", "found"),
        [
            (
                name,
                f"{asset.bytes / 1e6:.0f}" if asset.bytes else "?",
                asset.sha256[:8] or "unpinned",
                asset.licence,
                "\n".join(needed_by(name)),
                str(rows[name]["found"]) or "no",
            )
            for name, asset in table.assets().items()
        ],
    )


@command.command()
@click.argument("names", nargs=-1, required=True)
def fetch(names: tuple[str, ...]) -> None:
    """Download NAMES: of weights, of metrics, or `all`; what is here already is verified."""
    from rich.console import Console

    from ssdd_bench.cli._downloads import fetch_with_bars

    for path in fetch_with_bars(_expand(names), Console(stderr=True)):
        click.echo(path)


@command.command()
def verify() -> None:
    """Compare the checksum of every file that is here with the table."""
    from ssdd_bench.assets import table
    from ssdd_bench.assets.locate import find
    from ssdd_bench.assets.locate import verify as check
    from ssdd_bench.errors import WeightsError

    wrong = []
    for name in table.assets():
        path = find(name)
        if path is None:
            continue
        try:
            click.echo(f"{name}: {check(name, path)[:12]} {path}")
        except WeightsError as error:
            wrong.append(str(error))
            click.echo(f"{name}: WRONG {path}")
    if wrong:
        raise WeightsError("; ".join(wrong))


def _expand(names: tuple[str, ...]) -> list[str]:
    """Names of weights, in place of those of metrics and of ``all``."""
    from ssdd_bench.assets import table
    from ssdd_bench.errors import UnknownNameError
    from ssdd_bench.metrics.base import METRICS

    found: list[str] = []
    for name in names:
        if name == "all":
            found += table.assets()
        elif name in METRICS:
            found += METRICS[name].assets
        elif name in table.assets():
            found.append(name)
        else:
            raise UnknownNameError("weights", name, [*table.assets(), *METRICS, "all"])
    return list(dict.fromkeys(found))
