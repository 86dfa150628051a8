"""Entry point of the command line, which turns every error into one line."""

from __future__ import annotations

import logging
import signal
import sys
from typing import Final, NoReturn

import click

from ssdd_bench import __version__
from ssdd_bench.cli._verbs import SectionedGroup, debug_option, verbs_in, wants_traceback
from ssdd_bench.errors import UserError, one_line
from ssdd_bench.launch.signals import Terminated, termination_interrupts

SECTIONS: Final = {
    "Measure": ("run", "score", "merge", "report"),
    "Look up": ("list", "protocol", "weights", "doctor"),
    "Guard": ("compare", "noise"),
    "Extend": ("new-tokenizer", "check-tokenizer", "export"),
    "Train and generate": ("train", "gen"),
    "Share": ("card", "publish", "pull", "validate"),
}
"""Verbs by what one wants to do, in the order of the help."""


@click.group(
    cls=SectionedGroup,
    sections=SECTIONS,
    commands=verbs_in("ssdd_bench.cli"),
    context_settings={"help_option_names": ["-h", "--help"]},
    params=[debug_option],
)
@click.version_option(__version__, prog_name="ssdd-bench")
def cli() -> None:
    """Benchmark image tokenizers: quality, speed and compression."""


def main() -> NoReturn:
    """Run the command line and exit.

    The code is 0 for success, 2 for a usage error, 3 for failed jobs, 130 after Ctrl-C and 143
    after SIGTERM.
    """
    notes = logging.getLogger("ssdd_bench")
    notes.addHandler(logging.StreamHandler())  # plain lines on standard error
    notes.setLevel(logging.DEBUG if wants_traceback() else logging.INFO)
    try:
        with termination_interrupts():
            sys.exit(cli.main(prog_name="ssdd-bench", standalone_mode=False))
    except click.MissingParameter as error:
        command = error.ctx.command_path if error.ctx else "ssdd-bench"
        _fail(f"{error.format_message()} See: {command} --help", error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except UserError as error:
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort) as error:
        ended = isinstance(error.__cause__ or error, Terminated)  # click puts its own in front
        code = 128 + (signal.SIGTERM if ended else signal.SIGINT)
        _fail("interrupted: what is finished is on disk; run the same command to resume", code)


def _fail(message: str, code: int) -> NoReturn:
    if wants_traceback():
        raise  # the error being handled by our caller
    click.echo(f"error: {one_line(message)}", err=True)
    sys.exit(code)
