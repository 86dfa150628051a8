"""Completion in the shell. Imports no torch, since it must be quick."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from ssdd_bench.data.named import DATA_SETS
from ssdd_bench.plugins.registry import TOKENIZERS

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def one_of(names: Callable[[], Iterable[str]]) -> Complete:
    """Return a completion that offers names."""
    return lambda ctx, option, incomplete: [
        CompletionItem(name) for name in names() if name.startswith(incomplete)
    ]


def several_of(names: Callable[[], Iterable[str]]) -> Complete:
    """Return a completion that offers names for the last item of a list."""

    def complete(
        ctx: click.Context, option: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",")
        return [
            CompletionItem(f"{before}{comma}{name}")
            for name in names()
            if name.startswith(last) and name not in before.split(",")
        ]

    return complete


def complete_data(
    ctx: click.Context, option: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer named data sets, or else files and folders: bash takes only one of the two."""
    named = one_of(DATA_SETS.all)(ctx, option, incomplete)
    return named or [CompletionItem(incomplete, type="file")]


def complete_tokenizers(
    ctx: click.Context, option: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer ids of tokenizers in a list, and after a colon the options of that tokenizer."""
    before, comma, last = incomplete.rpartition(",")
    name, colon, typed = last.partition(":")
    if not colon:
        return several_of(TOKENIZERS.all)(ctx, option, incomplete)
    found = TOKENIZERS.all().get(name)
    return [
        CompletionItem(f"{before}{comma}{name}:{one}=", help=info.help)
        for one, info in (found.options if found else {}).items()
        if one.startswith(typed)
    ]
