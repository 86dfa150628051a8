"""The options of ``run`` in TOML files, by name: flags override them, and a run writes its own.

A suite is such a file that comes with the package.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final

import click

from ssdd_bench.cli._values import one_of
from ssdd_bench.cli._verbs import option
from ssdd_bench.errors import UnknownNameError, UserError
from ssdd_bench.results.files import write_text
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.records import read_toml

SUITES: Final = Path(__file__).parents[1] / "evaluation" / "suites"
NOT_IN_FILES: Final = ("config", "suite", "dry_run", "json", "debug")
# These do not say what is measured.
NOT_SAVED: Final = (
    *("force", "quiet", "jobs", "timeout", "in_process", "shard", "wait"),
    *("launcher", "gpus_per_job", "sbatch"),
)


def find_suites() -> dict[str, Path]:
    """Return the files of all suites by name."""
    return {path.stem: path for path in sorted(SUITES.glob("*.toml"))}


def _suite(name: str) -> Path:
    suites = find_suites()
    if name not in suites:
        raise UnknownNameError("suite", name, suites)
    return suites[name]


def _take(ctx: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    """Take defaults from a file; flags override them, and a configuration file a suite."""
    if path is not None:
        old, new = dict(ctx.default_map or {}), _read(ctx, path)
        ctx.default_map = new | old if option.name == "suite" else old | new
    return path


ConfigFile = Annotated[
    Path, option("Read these options from a TOML file; flags override it.", eager=_take)
]
Suite = Annotated[
    Path,
    option(
        "Read options from a suite of the package, see `list suites`.",
        "ID",
        _suite,
        one_of(find_suites),
        eager=_take,
    ),
]


def save_config(ctx: click.Context, path: Path) -> None:
    """Write the options in force, such that ``run --config`` repeats the run."""
    write_text(path, _text(ctx))


def submitted_config(ctx: click.Context, logs: Path) -> Path:
    """Return the path by which jobs that wait read these options, whatever is run meanwhile."""
    return logs / f"run-{fingerprint(_text(ctx))[:10]}.toml"


def _text(ctx: click.Context) -> str:
    # A JSON string, number, bool or list is one of TOML too.
    lines = [
        f"{one.opts[0].lstrip('-')} = {json.dumps(value, ensure_ascii=False, default=str)}\n"
        for one, value in _in_force(ctx)
    ]
    return "# Written by ssdd-bench run; repeat it with --config.\n" + "".join(lines)


def as_flags(ctx: click.Context) -> list[str]:
    """Return the options in force that are not defaults, as the words that would be typed."""
    words = list[str]()
    for one, value in _in_force(ctx):
        if one.is_flag and value != one.default:
            words += one.opts if value else one.secondary_opts
        elif value != one.default:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += [*one.opts, text]
    return words


def _in_force(ctx: click.Context) -> list[tuple[click.Option, Any]]:
    """Return the options that say what is measured and have a value."""
    options = [one for one in _options(ctx.command).values() if one.name not in NOT_SAVED]
    pairs = [(option, ctx.params[option.name]) for option in options]
    return [(option, value) for option, value in pairs if value not in (None, ())]


def _options(command: click.Command) -> dict[str, click.Option]:
    """Return the options that a file may hold, by key."""
    found = (one for one in command.params if isinstance(one, click.Option))
    return {one.opts[0].lstrip("-"): one for one in found if one.name not in NOT_IN_FILES}


def _read(ctx: click.Context, path: Path) -> dict[str, Any]:
    """Read values by parameter, each converted as if it were typed."""
    options = _options(ctx.command)
    values = {}
    for key, value in read_toml(path).items():
        if key not in options:
            raise UnknownNameError(f"key in {path}:", key, options)
        text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
        try:
            values[options[key].name] = options[key].type_cast_value(ctx, text)
        except click.BadParameter as error:
            raise UserError(f"{path}: key '{key}': {error.message}") from None
    return values
