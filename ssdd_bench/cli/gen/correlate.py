"""``ssdd-bench gen correlate``: rank correlation of reconstruction and generation scores."""

from __future__ import annotations

from pathlib import Path

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._json import json_option, print_json
from ssdd_bench.cli._tables import print_columns


@click.command("correlate", short_help="Correlate reconstruction with generation scores.")
@click.argument("results", nargs=-1, required=True, type=options.PATH)
@click.option(
    "--reconstruction",
    default="fd_effnet",
    show_default=True,
    metavar="KEY",
    help="Metric of `run`.",
)
@click.option(
    "--generation",
    default="fd_effnet",
    show_default=True,
    metavar="KEY",
    help="Metric of `gen score`.",
)
@json_option
def command(results: tuple[Path, ...], reconstruction: str, generation: str, as_json: bool) -> None:
    """Correlate reconstruction and generation scores in RESULTS, files or folders.

    The rank correlation over tokenizers is positive where a better reconstruction goes with a
    better generation.
    """
    from ssdd_bench.report.correlate import correlate
    from ssdd_bench.results.store import load_results

    found = correlate(load_results(results), reconstruction, generation)
    if as_json:
        print_json(found)
        return
    print_columns(
        ("settings", "tokenizers", f"{reconstruction} and {generation}"),
        [(one.settings, str(len(one.labels)), f"{one.value:+.2f}") for one in found],
    )
