"""``ssdd-bench gen``: the verbs of generation, one per file."""

from __future__ import annotations

import click

from ssdd_bench.cli._verbs import Verbs


@click.group("gen", cls=Verbs, package=__name__, short_help="Train and sample models of latents.")
def command() -> None:
    """Train a DiT on a tokenizer's latents, sample it, and score the images.

    `all` does encode, train, sample and score in one go.
    """
