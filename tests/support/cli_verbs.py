"""Every verb of the command line."""

from __future__ import annotations

from collections.abc import Iterator

import click

from ssdd_bench.cli.main import cli


def commands(command: click.Command = cli, *names: str) -> Iterator[tuple[str, click.Command]]:
    """Yield groups and verbs by their full names; that of the program is empty."""
    yield " ".join(names), command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, *names, name)


VERBS = {name: one for name, one in commands() if not isinstance(one, click.Group)}
