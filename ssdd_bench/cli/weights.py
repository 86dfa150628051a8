"""``ssdd-bench weights``: the external files of metrics, listed, fetched and verified."""

from __future__ import annotations

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
    """List every file: its size, licence, checksum, who needs it and where it was found."""
    from ssdd_bench.metrics.base import needed_by
    from ssdd_bench.weights import assets as table
    from ssdd_bench.weights.cache import find

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
        print_json({"weights": rows})
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


@command.command(short_help="Download weights, or those that metrics need.")
@click.argument("names", nargs=-1, required=True, shell_complete=complete_weights)
@json_option
def fetch(names: tuple[str, ...], as_json: bool) -> None:
    """Download NAMES: of weights, of metrics, or `all`; what is here already is verified."""
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
    """Compare the checksum of every file that is here with the table."""
    from ssdd_bench.errors import WeightsError
    from ssdd_bench.weights import assets as table
    from ssdd_bench.weights.cache import find
    from ssdd_bench.weights.cache import verify as check

    wrong = []
    found = {}
    for name in table.assets():
        path = find(name)
        if path is None:
            continue
        try:
            sha256 = check(name, path)
        except WeightsError as error:
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
    """Names of weights, in place of those of metrics and of ``all``."""
    from ssdd_bench.errors import UnknownNameError
    from ssdd_bench.metrics.base import METRICS
    from ssdd_bench.weights import assets as table

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
