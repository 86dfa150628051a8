"""``ssdd-bench noise``: thresholds for the gate, learnt from repeated runs."""

from __future__ import annotations

from pathlib import Path

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._json import json_option, print_json


@click.command("noise", short_help="Learn the gate's thresholds from repeated runs.")
@click.argument("results", nargs=-1, required=True, type=options.PATH)
@options.out("File of thresholds.", "noise.toml")
@json_option
def command(results: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Learn thresholds for `compare --noise` from RESULTS, files or folders.

    A threshold is the difference between two seeds that is exceeded once in 10,000 times. RESULTS
    come from a run such as ssdd-bench run --tokenizers ssdd --res 256 --seed 0,1,2,3,4.
    """
    from ssdd_bench.gate.load import read_side
    from ssdd_bench.gate.thresholds import learn, save_learnt

    thresholds = learn(read_side(results))
    save_learnt(thresholds, out)
    if as_json:
        print_json({"path": out, "thresholds": dict(sorted(thresholds.items()))})
        return
    for key, threshold in sorted(thresholds.items()):
        click.echo(f"{key}\t{threshold}")
    click.echo(f"{out}", err=True)
