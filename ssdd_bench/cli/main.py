"""Entry point: finds the verb that was typed, imports it alone, and turns errors into one line."""

from __future__ import annotations

import difflib
import sys
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import click

from ssdd_bench import __version__
from ssdd_bench.errors import UserError

INTERRUPTED = 130


class Verbs(click.Group):
    """The files beside this one, by name: none is imported before it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all verbs."""
        files = Path(__file__).parent.glob("*.py")
        names = (path.stem for path in files if not path.stem.startswith("_"))
        return sorted(name.replace("_", "-") for name in names if name != "main")

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import one verb."""
        if name not in self.list_commands(ctx):
            return None
        module = import_module(f"ssdd_bench.cli.{name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest verb where there is none of that name."""
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise click.UsageError(f"unknown command '{args[0]}': {hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ssdd-bench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Benchmark image tokenizers: quality beside speed beside compression."""


def main() -> NoReturn:
    """Run the command line; leaves with 0 for success, 2 for a usage error, 3 for failed cells."""
    try:
        code = cli.main(prog_name="ssdd-bench", standalone_mode=False)
    except click.exceptions.Exit as leaving:
        sys.exit(leaving.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except UserError as error:
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted: what is finished is on disk; the same command goes on", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> NoReturn:
    if "--debug" in sys.argv[1:]:
        raise  # the error being handled by our caller
    first = " ".join(message.split("\n"))
    click.echo(f"error: {first}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
