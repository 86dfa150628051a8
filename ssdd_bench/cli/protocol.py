"""``ssdd-bench protocol``: the settings of a protocol, and those in which two differ."""

from __future__ import annotations

from typing import Annotated, Any

import click

from ssdd_bench.cli._output import print_columns, print_json
from ssdd_bench.cli._values import one_of
from ssdd_bench.cli._verbs import argument, debug_option, verb
from ssdd_bench.protocols.registry import PROTOCOLS, find_protocol

Protocol = Annotated[str, argument(complete=one_of(PROTOCOLS.all))]


@verb
def show(protocol: Protocol) -> None:
    """Show every setting of a protocol, and its hash."""
    from ssdd_bench.protocols.descriptions import describe

    found = find_protocol(protocol)
    record = found.record()
    if print_json(record | {"superseded": found.superseded}):
        return
    sha256 = record.pop("sha256")
    print_columns(
        [
            {"setting": name, "value": _text(value), "meaning": describe(name, value)}
            for name, value in record.items()
        ]
    )
    click.echo(f"sha256: {sha256}")
    for former in found.superseded:
        click.echo(f"former version {former.sha256}: {former.change}")


@verb
def diff(first: Protocol, second: Protocol) -> None:
    """Show the settings in which two protocols differ."""
    from ssdd_bench.protocols.schema import differences

    found = differences(find_protocol(first), find_protocol(second))
    rows = [
        {"setting": name, first: _text(one), second: _text(other)}
        for name, (one, other) in found.items()
    ]
    if print_json({"protocols": [first, second], "settings": found}):
        return
    if rows:
        print_columns(rows)
    else:
        click.echo(f"{first} and {second} differ in no setting", err=True)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value) or "the default ones"
    return str(value)


command = click.Group(
    "protocol",
    commands=[show, diff],
    params=[debug_option],
    help="Show the settings of a protocol, or how two differ.",
)
