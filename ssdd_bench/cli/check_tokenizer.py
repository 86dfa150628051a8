"""``ssdd-bench check-tokenizer``: check a plugin against the contract of tokenizers."""

from __future__ import annotations

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._complete import complete_tokenizers
from ssdd_bench.cli._json import json_option, print_json


@click.command("check-tokenizer", short_help="Check that a tokenizer keeps the contract.")
@click.argument("tokenizer", shell_complete=complete_tokenizers)
@options.resolution(default=64)
@json_option
@click.pass_context
def command(context: click.Context, tokenizer: str, res: int, as_json: bool) -> None:
    """Encode and decode small images with TOKENIZER, an id with options, and report problems.

    Shapes, ranges, noise and the manifest are checked. Exits with 1 if there is a problem.
    """
    from ssdd_bench.evaluation.conformance import check_tokenizer
    from ssdd_bench.plugins.registry import parse_requests

    parse_requests(tokenizer)  # an unknown id or option is a mistake of the user, not a problem
    problems = check_tokenizer(tokenizer, res)
    if as_json:
        print_json({"tokenizer": tokenizer, "resolution": res, "problems": problems})
        context.exit(int(bool(problems)))
    for problem in problems:
        click.echo(f"{tokenizer}: {problem}")
    if not problems:
        click.echo(f"{tokenizer} keeps the contract")
    context.exit(int(bool(problems)))
