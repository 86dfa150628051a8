"""``ssdd-bench gen correlate``: whether reconstruction scores predict generation scores."""

from __future__ import annotations

from pathlib import Path

import click

from ssdd_bench.cli._json import json_option, print_json
from ssdd_bench.cli._tables import print_columns


@click.command("correlate", short_help="Whether reconstruction scores predict generation scores.")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--reconstruction", default="fd_effnet", show_default=True, help="Score of `run`.")
@click.option("--generation", default="fd_effnet", show_default=True, help="Score of `gen score`.")
@json_option
def command(results: tuple[Path, ...], reconstruction: str, generation: str, as_json: bool) -> None:
    """Rank correlation over tokenizers between scores in RESULTS, files or folders.

    Positive where a better reconstruction goes with a better generation.
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
