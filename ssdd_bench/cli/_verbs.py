"""Groups of verbs that are found by their files and imported when they are needed."""

from __future__ import annotations

import difflib
import pkgutil
from importlib import import_module
from typing import Any

import click


class Verbs(click.Group):
    """A group whose verbs are the modules of a package.

    A module ``new_verb`` holds the verb ``new-verb`` as ``command``; a package holds a group.

    Args:
        package: name of the package; modules that start with an underscore are no verbs.
        settings: of the group, as click takes them.
    """

    def __init__(self, *, package: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.package = package

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all verbs in alphabetical order."""
        found = pkgutil.iter_modules(import_module(self.package).__path__)
        names = (module.name for module in found if not module.name.startswith("_"))
        return sorted(name.replace("_", "-") for name in names if name != "main")

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import one verb; return None if there is none of that name."""
        if name not in self.list_commands(ctx):
            return None
        module = import_module(f"{self.package}.{name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb that was typed.

        Raises:
            click.UsageError: there is none of that name; names the nearest.
        """
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise click.UsageError(f"unknown command '{args[0]}': {hint}", ctx)
        return super().resolve_command(ctx, args)
