"""``ssdd-bench check-tokenizer``: does a plugin keep the contract that the harness relies on?"""

from __future__ import annotations

import click

from ssdd_bench.cli._complete import complete_tokenizers
from ssdd_bench.cli._json import json_option, print_json


@click.command("check-tokenizer", short_help="Try out a tokenizer's contract.")
@click.argument("tokenizer", shell_complete=complete_tokenizers)
@click.option("--res", default=64, show_default=True, help="side of the test images in pixels")
@json_option
@click.pass_context
def command(context: click.Context, tokenizer: str, res: int, as_json: bool) -> None:
    """Encode and decode small images with TOKENIZER, an id with options, and say what is wrong.

    Exits with 1 where something is: shapes, ranges, noise that depends on the batch, a manifest
    that tells otherwise.
    """
    from ssdd_bench.evaluation.conformance import check_tokenizer

    problems = check_tokenizer(tokenizer, res)
    if as_json:
        print_json({"tokenizer": tokenizer, "resolution": res, "problems": problems})
        context.exit(int(bool(problems)))
    for problem in problems:
        click.echo(f"{tokenizer}: {problem}")
    if not problems:
        click.echo(f"{tokenizer} keeps the contract")
    context.exit(int(bool(problems)))
