"""Types of values on the command line, and their completion in the shell.

Imports no torch, since completion must be quick.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from ssdd_bench.cli._verbs import Complete, IntegerRange, NumberRange
from ssdd_bench.data.named import DATA_SETS
from ssdd_bench.errors import counted
from ssdd_bench.plugins.registry import TOKENIZERS

SEED: Final = IntegerRange(min=0)
SECONDS: Final = NumberRange(min=0, min_open=True)


class CommaList(click.ParamType[tuple[Any, ...]]):
    """A list such as ``256,512``, separated by commas or blanks; becomes a tuple.

    Its length is given, or else None for one or more items, 0 for any number of them.
    """

    name = "list"

    def __init__(self, item: Any, example: str, length: int | None = None) -> None:
        self.item = click.types.convert_type(item)
        self.example = example
        self.length = length

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Split a text and convert its items; a default is a tuple of them already."""
        pieces = value if isinstance(value, tuple) else value.replace(",", " ").split()
        try:
            items = tuple(self.item.convert(piece, param, ctx) for piece in pieces)
        except click.BadParameter as error:
            self.fail(f"{error.message} Write a list such as {self.example}.", param, ctx)
        if self.length != 0 and len(items) != (self.length or max(len(items), 1)):
            self.fail(
                f"'{value}' has {counted(len(items), 'item')}. Write {self.example}.", param, ctx
            )
        return items


def read_shard(value: str | tuple[int, int]) -> tuple[int, int]:
    """Read a share of the work such as ``0/2``, the first of two processes, as (index, count)."""
    try:
        index, count = value if isinstance(value, tuple) else map(int, value.split("/"))
    except ValueError:
        raise click.BadParameter(f"'{value}' is no shard. Write 0/2, the first of two.") from None
    if not 0 <= index < count:
        raise click.BadParameter(f"'{value}': {count} shards are 0/{count} to {count - 1}/{count}")
    return index, count


def read_sbatch(value: str | dict[str, str]) -> dict[str, str]:
    """Read options of ``sbatch`` such as ``--partition=gpu --exclusive`` by name."""
    if isinstance(value, dict):
        return value
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise click.BadParameter(f"'{value}': {error}") from None
    found = {}
    for word in words:
        key, _, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not key:
            raise click.BadParameter(f"'{word}': write long options, such as --partition=gpu")
        found[key] = text
    return found


class Batches(CommaList):
    """A list of batch sizes, or ``auto``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Leave ``auto`` as it is."""
        return value if value == "auto" else super().convert(value, param, ctx)


def read_load_threads(value: str | int | None) -> int | None:
    """Read a number of loading threads; ``auto`` is None."""
    if value is None or value == "auto":
        return None
    try:
        count = int(value)
    except ValueError:
        count = -1
    if count < 0:
        raise click.BadParameter(f"'{value}' is no number of threads. Write auto, or 4.")
    return count


def one_of(names: Callable[[], Iterable[str]]) -> Complete:
    """Return a completion that offers names."""
    return lambda typed: [CompletionItem(name) for name in names() if name.startswith(typed)]


def several_of(names: Callable[[], Iterable[str]]) -> Complete:
    """Return a completion that offers names for the last item of a list."""

    def complete(typed: str) -> list[CompletionItem]:
        before, comma, last = typed.rpartition(",")
        free = [name for name in names() if name not in before.split(",")]
        return [CompletionItem(f"{before}{comma}{n}") for n in free if n.startswith(last)]

    return complete


def complete_data(typed: str) -> list[CompletionItem]:
    """Offer named data sets, or else files and folders: bash takes only one of the two."""
    return one_of(DATA_SETS.all)(typed) or [CompletionItem(typed, type="file")]


def complete_tokenizers(typed: str) -> list[CompletionItem]:
    """Offer ids of tokenizers in a list, and after a colon the options of that tokenizer."""
    before, comma, last = typed.rpartition(",")
    name, colon, option = last.partition(":")
    if not colon:
        return several_of(TOKENIZERS.all)(typed)
    found = TOKENIZERS.all().get(name)
    return [
        CompletionItem(f"{before}{comma}{name}:{one}=", help=info.help)
        for one, info in (found.options if found else {}).items()
        if one.startswith(option)
    ]
