"""``ssdd-bench noise``: thresholds for the gate, learnt from repeated runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import click

from ssdd_bench.cli._output import print_columns, print_json
from ssdd_bench.cli._verbs import argument, option, verb


@verb
def command(
    results: Annotated[tuple[Path, ...], argument(-1)],
    out: Annotated[Path, option("Write the thresholds to this file.")] = Path("noise.toml"),
) -> None:
    """Learn the gate's thresholds from repeated runs.

    RESULTS are files or folders of a run such as ssdd-bench run --tokenizers ssdd --res 256
    --seed 0,1,2,3,4. Two seeds differ by more than a threshold, in any metric of any job, once in
    20 times at most. The worsening found is the smallest that is found with 80% probability.
    `compare --noise` takes OUT.
    """
    from ssdd_bench.gate.load import read_side
    from ssdd_bench.gate.thresholds import detectable, learn, save_learnt

    thresholds = dict(sorted(learn(read_side(results)).items()))
    save_learnt(thresholds, out)
    if not print_json({"path": out, "thresholds": thresholds}):
        rows = [
            {
                "metric": key,
                "threshold": one,
                "worsening found": f"{detectable(one.amount, one.deviation or 0.0):.4g}",
            }
            for key, one in thresholds.items()
        ]
        print_columns(rows)
        click.echo(out, err=True)
