"""``ssdd-bench new-tokenizer``: write the files of a plugin to start from."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._json import json_option, print_json


@click.command("new-tokenizer", short_help="Write a plugin to start from.")
@click.argument("name")
@options.out("Folder in which NAME is made.", ".")
@json_option
def command(name: str, out: Path, as_json: bool) -> None:
    """Write the distribution of a new tokenizer NAME, such as my-vae.

    It works as it is: a block transform holds the place of your networks.
    """
    from ssdd_bench.plugins.discovery import VARIABLE
    from ssdd_bench.plugins.scaffold.write import write_tokenizer

    root = write_tokenizer(name, out)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    if as_json:
        print_json({"tokenizer": name, "folder": root, "files": files})
        return
    for path in files:
        click.echo(path)
    click.echo("\nTry it:")
    click.echo(f"  export {VARIABLE}={shlex.quote(str(root.resolve()))}")
    click.echo(f"  ssdd-bench check-tokenizer {name}")
