"""``ssdd-bench card``: write a model card with the results of a tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._output import print_json
from ssdd_bench.cli._verbs import argument, flag, option, verb


@verb
def command(
    results: Annotated[tuple[Path, ...], argument(-1)],
    *,
    tokenizer: options.Tokenizer,
    out: Annotated[Path, option("Write this file.")] = Path("README.md"),
    push: Annotated[str | None, option("Upload the card to this model repository.", "REPO")] = None,
    pull_request: Annotated[bool, flag("Open a pull request with --push.")] = False,
) -> None:
    """Write a model card for the Hugging Face Hub.

    RESULTS are result files or folders of them. The card has a table, and every score in its
    model-index, with resolution, number of images, protocol, hash and command. With --push the Hub
    checks the card, and it becomes the README.md of REPO, unless that has one of its own: then add
    --pull-request.
    """
    from ssdd_bench.hub.card import make_card, push_card, select_results, write_card
    from ssdd_bench.plugins.paths import is_path
    from ssdd_bench.plugins.registry import parse_request
    from ssdd_bench.report.frame import to_frame
    from ssdd_bench.report.tables.build import build_tables
    from ssdd_bench.report.tables.markdown import to_markdown
    from ssdd_bench.results.store import load_results

    found = load_results(results)
    labels = {one.tokenizer.label for one in found}
    if tokenizer not in labels and is_path(tokenizer):
        tokenizer = parse_request(tokenizer).label
    chosen = select_results(found, tokenizer)
    card = make_card(chosen, to_markdown(build_tables(to_frame(chosen))))
    written = write_card(card, out)
    url = push_card(card, push, pull_request) if push else None
    if not print_json({"path": written, "results": len(chosen), "url": url}):
        click.echo(url or written)
