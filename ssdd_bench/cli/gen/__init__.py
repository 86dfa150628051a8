"""``ssdd-bench gen``: the verbs of generation, one per file."""

import click

from ssdd_bench.cli._verbs import debug_option, verbs_in

command = click.Group(
    "gen",
    commands=verbs_in(__name__),
    params=[debug_option],
    help="Train and sample models of latents. `all` does encode, train, sample and score.",
)
