"""Commands from functions: the annotations of the parameters declare options and arguments.

Typer is not used, since it takes neither click's parameter types nor ``Annotated[...] | None``, and
reads ``tuple[int, ...]`` as two values instead of a comma-separated list.
"""

from __future__ import annotations

import difflib
import errno
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import partial
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import click
from click.shell_completion import CompletionItem

from ssdd_bench.cli._output import json_option

Complete = Callable[[str], list[CompletionItem]]


class IntegerRange(click.IntRange):
    """Integers in a range; an error calls a wrong text no valid integer, not "integer range"."""

    name = "integer"


class NumberRange(click.FloatRange):
    """Numbers in a range; an error calls a wrong text no valid number, not "float range"."""

    name = "number"


class Choice(click.Choice[str]):
    """One of some texts; an error names the nearest one, as for verbs and options."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Add the nearest text, if there is one."""
        message = super().get_invalid_choice_message(value, ctx)
        near = difflib.get_close_matches(str(value), self.choices, n=1)
        return f"{message} Did you mean '{near[0]}'?" if near else message


COUNT: Final = IntegerRange(min=1)
ValueType = click.ParamType[Any] | Callable[[Any], Any]
"""Type of click, or a function that converts a value or raises :class:`click.BadParameter`."""

debug_option: Final = click.Option(
    ["--debug"], is_flag=True, expose_value=False, help="Show the traceback of an error."
)


class _PathType(click.Path):
    """Path that the system takes, whether or not there is such a file."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            os.lstat(value)
        except ValueError:  # a NUL, from a file of options
            self.fail(f"{str(value)!r} is no path: it has a NUL", param, ctx)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                self.fail(f"'{str(value)[:20]}...' is no path: it is too long", param, ctx)
        return super().convert(value, param, ctx)


_TYPES: Final[dict[Any, ValueType]] = {int: COUNT, Path: _PathType(path_type=Path)}


@dataclass(frozen=True)
class Declaration:
    """Annotation that makes a parameter an option or argument; its default is the parameter's."""

    make: Callable[..., click.Parameter]
    names: str = "--{0}"  # on the command line, from the parameter's
    type: ValueType | None = None  # None: the one that fits the parameter's
    complete: Complete | None = None  # offers values in the shell for what is typed so far


def option(
    help: str,
    metavar: str | None = None,
    type: ValueType | None = None,
    complete: Complete | None = None,
    show_default: bool = True,
    multiple: bool = False,
    eager: Callable[[click.Context, click.Parameter, Any], Any] | None = None,
) -> Declaration:
    """Declare an option with a value; ``eager`` is called before others are read."""
    make = partial(
        click.Option,
        help=help,
        metavar=metavar,
        show_default=show_default,
        multiple=multiple,
        callback=eager,
        is_eager=eager is not None,
    )
    return Declaration(make, type=type, complete=complete)


def flag(help: str) -> Declaration:
    """Declare an option without a value."""
    return Declaration(partial(click.Option, help=help, is_flag=True))


def switch(help: str) -> Declaration:
    """Declare a pair of options, of which one turns off what the other turns on."""
    make = partial(click.Option, help=help, is_flag=True, show_default=True)
    return Declaration(make, "--{0}/--no-{0}")


def argument(
    count: int = 1, type: ValueType | None = None, complete: Complete | None = None
) -> Declaration:
    """Declare an argument; a ``count`` of -1 takes one or more."""
    return Declaration(partial(click.Argument, nargs=count), "{0}", type, complete)


def verb(function: Callable[..., None]) -> click.Command:
    """Make a command of a function, named as the function, or as its module if that is "command".

    Each parameter is annotated by a :class:`Declaration`, or by a dataclass of options that several
    verbs share. The docstring is the help, and its first sentence the summary. The options
    ``--json`` and ``--debug`` are added.
    """
    name = function.__name__
    if name == "command":
        name = function.__module__.rpartition(".")[2]
    own = inspect.signature(function, eval_str=True).parameters
    kinds: dict[str, Callable[..., Any]] = {key: one.annotation for key, one in own.items()}
    groups = {key: kind for key, kind in kinds.items() if is_dataclass(kind)}
    shared = {
        key: inspect.signature(kind, eval_str=True).parameters for key, kind in groups.items()
    }

    def call(**values: Any) -> None:
        for key, kind in groups.items():
            values[key] = kind(**{option: values.pop(option) for option in shared[key]})
        function(**values)

    declared = chain.from_iterable(shared.get(key, {key: one}).values() for key, one in own.items())
    return click.Command(
        name.strip("_").replace("_", "-"),
        callback=call,
        params=[*map(_declared, declared), json_option, debug_option],
        help=function.__doc__,
    )


def _declared(parameter: inspect.Parameter) -> click.Parameter:
    """Make the option or argument of a parameter."""
    parts = list(_parts(parameter.annotation))
    (found,) = (part for part in parts if isinstance(part, Declaration))
    choices = (Choice(get_args(part)) for part in parts if get_origin(part) is Literal)
    known = (_TYPES[part] for part in parts if part in _TYPES)
    required = parameter.default is parameter.empty
    return found.make(
        [found.names.format(parameter.name.replace("_", "-"))],
        type=found.type or next(chain(choices, known), None),
        required=required,
        shell_complete=found.complete and partial(_complete, found.complete),
        **({} if required else {"default": parameter.default}),
    )


def _complete(
    complete: Complete, ctx: click.Context, option: click.Parameter, typed: str
) -> list[CompletionItem]:
    return complete(typed)


def _parts(annotation: Any) -> Iterator[Any]:
    """Go through the pieces of a type such as ``Annotated[int, option("Side.")] | None``."""
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


class SectionedGroup(click.Group):
    """A group whose help lists the verbs in sections.

    Args:
        sections: names of verbs by heading.
        values: of :class:`click.Group`.
    """

    def __init__(self, *, sections: Mapping[str, Sequence[str]], **values: Any) -> None:
        super().__init__(**values)
        self.sections = sections

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs and their summaries."""
        width = max(map(len, self.commands))
        for heading, names in self.sections.items():
            rows = [
                (name.ljust(width), self.commands[name].get_short_help_str(formatter.width))
                for name in names
                if name in self.commands
            ]
            with formatter.section(heading):
                formatter.write_dl(rows)


def verbs_in(package: str) -> list[click.Command]:
    """Import the verbs of a package: each of its files without an underscore has a ``command``."""
    names = (module.name for module in pkgutil.iter_modules(import_module(package).__path__))
    verbs = (name for name in names if not name.startswith("_") and name != "main")
    return [import_module(f"{package}.{name}").command for name in verbs]


def wants_traceback() -> bool:
    """Return True if ``--debug`` was typed, before the verb or after it.

    There is no click context any more where the program handles an error.
    """
    return "--debug" in sys.argv[1:]


def typed() -> str:
    """Return the command as the user typed it."""
    return " ".join(["ssdd-bench", *sys.argv[1:]])
