"""``ssdd-bench check-tokenizer``: check a plugin against the contract of tokenizers."""

from __future__ import annotations

from typing import Annotated

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._output import print_json
from ssdd_bench.cli._values import complete_tokenizers
from ssdd_bench.cli._verbs import argument, verb
from ssdd_bench.plugins.registry import parse_request


@verb
def command(
    tokenizer: Annotated[str, argument(complete=complete_tokenizers)],
    res: options.Resolution = 64,
) -> None:
    """Check that a tokenizer keeps the contract.

    TOKENIZER, an id with options, encodes and decodes small images. Shapes, ranges, noise and the
    manifest are checked. Exits with 1 if there is a problem.
    """
    parse_request(tokenizer)  # an unknown id or option is a mistake of the user, not a problem

    from ssdd_bench.evaluation.conformance import check_tokenizer

    problems = check_tokenizer(tokenizer, res)
    if not print_json({"tokenizer": tokenizer, "resolution": res, "problems": problems}):
        for problem in problems:
            click.echo(f"{tokenizer}: {problem}")
        if not problems:
            click.echo(f"{tokenizer} keeps the contract")
    click.get_current_context().exit(int(bool(problems)))
