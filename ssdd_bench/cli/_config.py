"""The options of ``run`` in TOML files: flags override them, and a run writes its own.

A key is an option's name without its dashes, and a value is what the option takes. Options that
take a list on the command line take a list in the file too. A suite is such a file that comes with
the package.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, Final

import click

from ssdd_bench.cli._options import CommaList, Requests
from ssdd_bench.errors import UnknownNameError, UserError
from ssdd_bench.results.files import write_atomically
from ssdd_bench.results.records import read_toml

SUITES: Final = Path(__file__).parents[1] / "evaluation" / "suites"
NOT_IN_FILES: Final = ("config", "suite", "dry_run", "as_json")
NOT_SAVED: Final = ("force", "quiet")  # these do not say what is measured

_WORDS: Final = {str: "a string", int: "an integer", bool: "true or false"}


def find_suites() -> dict[str, Path]:
    """Return the files of all suites by name."""
    return {path.stem: path for path in sorted(SUITES.glob("*.toml"))}


def describe_suite(path: Path) -> str:
    """Return the description of a suite, a comment in its first line."""
    return path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")


def take_suite(ctx: click.Context, option: click.Parameter, name: str | None) -> str | None:
    """Take defaults from a suite; flags and configuration files override them.

    Raises:
        UnknownNameError: there is no such suite; names the nearest.
    """
    if name is not None:
        if name not in find_suites():
            raise UnknownNameError("suite", name, find_suites())
        ctx.default_map = _read(ctx.command, find_suites()[name]) | dict(ctx.default_map or {})
    return name


def take_config(ctx: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    """Take defaults from a file; flags override them.

    Raises:
        UserError: it cannot be read, or a key is unknown or has a value of the wrong type.
    """
    if path is not None:
        ctx.default_map = dict(ctx.default_map or {}) | _read(ctx.command, path)
    return path


def save_config(ctx: click.Context, path: Path) -> None:
    """Write the options in force, such that ``run --config`` repeats the run.

    Raises:
        OutputError: the file cannot be written.
    """
    # A JSON string, number, bool or list is one of TOML too.
    lines = [
        f"{_key(option)} = {json.dumps(value, ensure_ascii=False, default=str)}\n"
        for option, value in _in_force(ctx)
    ]
    text = "# Written by ssdd-bench run; repeat it with --config.\n" + "".join(lines)
    data = text.encode("utf-8", "backslashreplace")
    write_atomically(path, lambda target: target.write_bytes(data))


def as_flags(ctx: click.Context) -> str:
    """Return the options in force that are not defaults, as they would be typed."""
    words = []
    for option, value in _in_force(ctx):
        if _is_default(ctx, option, value):
            continue
        if option.is_flag:
            words += option.opts if value else option.secondary_opts
        else:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += [option.opts[-1], text]
    return shlex.join(words)


def _is_default(ctx: click.Context, option: click.Option, value: Any) -> bool:
    if option.is_flag:
        return bool(value == (option.default is True))
    text = isinstance(option.default, str)
    default = option.process_value(ctx, option.default) if text else option.default
    return bool(value == default)


def _in_force(ctx: click.Context) -> list[tuple[click.Option, Any]]:
    """Return the options that say what is measured and have a value."""
    options = [one for one in _options(ctx.command) if one.name not in NOT_SAVED]
    pairs = [(option, ctx.params[option.name or ""]) for option in options]
    return [(option, value) for option, value in pairs if value not in (None, ())]


def _options(command: click.Command) -> list[click.Option]:
    found = (option for option in command.params if isinstance(option, click.Option))
    return [option for option in found if option.name not in NOT_IN_FILES]


def _key(option: click.Option) -> str:
    return option.opts[-1].lstrip("-")


def _read(command: click.Command, path: Path) -> dict[str, Any]:
    """Read values by parameter."""
    options = {_key(option): option for option in _options(command)}
    values = {}
    for key, value in read_toml(path).items():
        if key not in options:
            raise UnknownNameError(f"key in {path}:", key, options)
        values[options[key].name or ""] = _check(options[key], value, f"{path}: key '{key}'")
    return values


def _check(option: click.Option, value: Any, where: str) -> Any:
    """Refuse a value of another type than the option's."""
    many = isinstance(option.type, CommaList | Requests)
    item = option.type.item if isinstance(option.type, CommaList) else option.type
    whole = isinstance(item, click.types.IntParamType)
    kind = bool if option.is_flag else int if whole else str
    values = value if many and isinstance(value, list) else [value]
    if any(type(one) is not kind for one in values):
        expected = _WORDS[kind] + (" or a list of them" if many else "")
        raise UserError(f"{where} must be {expected}, not {json.dumps(value, default=str)}")
    return value
