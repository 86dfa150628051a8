"""``ssdd-bench protocol``: the settings of a protocol, and those in which two differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from ssdd_bench.cli._complete import complete_protocol
from ssdd_bench.cli._json import json_option, print_json
from ssdd_bench.cli._tables import print_columns


@click.group("protocol", short_help="Show the settings of a protocol, or how two differ.")
def command() -> None:
    """Show the settings of a protocol, or how two differ."""


@command.command(short_help="Show every setting of a protocol, and its hash.")
@click.argument("protocol", shell_complete=complete_protocol)
@json_option
def show(protocol: str, as_json: bool) -> None:
    """Show every setting of PROTOCOL, and the hash that pins them."""
    from ssdd_bench.protocols.descriptions import describe
    from ssdd_bench.protocols.registry import find_protocol

    record = find_protocol(protocol).record()
    if as_json:
        print_json(record)
    else:
        sha256 = record.pop("sha256")
        rows = [(name, _text(value), describe(name, value)) for name, value in record.items()]
        print_columns(("setting", "value", "meaning"), rows)
        click.echo(f"sha256: {sha256}")


@command.command(short_help="Show the settings in which two protocols differ.")
@click.argument("first", shell_complete=complete_protocol)
@click.argument("second", shell_complete=complete_protocol)
@json_option
def diff(first: str, second: str, as_json: bool) -> None:
    """Show the settings in which the protocols FIRST and SECOND differ."""
    from ssdd_bench.protocols.registry import find_protocol
    from ssdd_bench.protocols.schema import differences

    found: Mapping[str, Sequence[Any]] = differences(find_protocol(first), find_protocol(second))
    if as_json:
        print_json({"protocols": [first, second], "settings": found})
    elif found:
        rows = [(name, *map(_text, values)) for name, values in found.items()]
        print_columns(("setting", first, second), rows)
    else:
        click.echo(f"{first} and {second} differ in no setting", err=True)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value) or "the default ones"
    return str(value)
