"""``ssdd-bench new-tokenizer``: write the files of a plugin to start from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import click

from ssdd_bench.cli._output import print_json
from ssdd_bench.cli._verbs import argument, option, verb
from ssdd_bench.plugins.discovery import VARIABLE


@verb
def command(
    name: Annotated[str, argument()],
    out: Annotated[Path, option("Make NAME in this folder.")] = Path(),
) -> None:
    """Write a plugin to start from.

    It is the distribution of a new tokenizer NAME, such as my-vae, and works as it is: a block
    transform holds the place of your networks.
    """
    from ssdd_bench.plugins.scaffold.write import write_tokenizer

    root = write_tokenizer(name, out)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    if not print_json({"tokenizer": name, "folder": root, "files": files}):
        click.echo("\n".join(map(str, files)))
        click.echo("\nTry it:")
        click.echo(f"  export {VARIABLE}={shlex.quote(str(root.resolve()))}")
        click.echo(f"  ssdd-bench check-tokenizer {name}")
