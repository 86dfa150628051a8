"""Completion of ids in the shell, in lists too. Imports no torch, since it must be quick."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _one(names: Callable[[], Iterable[str]]) -> Complete:
    """Return a completion that offers names."""

    def complete(
        ctx: click.Context, option: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(name) for name in names() if name.startswith(incomplete)]

    return complete


def _several(names: Callable[[], Iterable[str]]) -> Complete:
    """Return a completion that offers names for the last item of a list."""

    def complete(
        ctx: click.Context, option: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",")
        taken = before.split(",")
        return [
            CompletionItem(f"{before}{comma}{name}")
            for name in names()
            if name.startswith(last) and name not in taken
        ]

    return complete


def _tokenizers() -> Iterable[str]:
    from ssdd_bench.plugins.registry import TOKENIZERS

    return TOKENIZERS.all()


def _metrics() -> Iterable[str]:
    from ssdd_bench.metrics.catalog import find_metrics

    return find_metrics("pairs")


def _generation_metrics() -> Iterable[str]:
    from ssdd_bench.metrics.catalog import find_metrics

    return find_metrics("samples")


def _protocols() -> Iterable[str]:
    from ssdd_bench.protocols.registry import PROTOCOLS

    return PROTOCOLS.all()


def _weights() -> Iterable[str]:
    from ssdd_bench.metrics.catalog import find_metrics
    from ssdd_bench.weights.assets import assets

    return [*assets(), *find_metrics(), "all"]


def _suites() -> Iterable[str]:
    from ssdd_bench.cli._config import find_suites

    return find_suites()


def _of_data(ctx: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer named data sets, or else files and folders: bash takes only one of the two."""
    from ssdd_bench.data.named import DATA_SETS

    named = [CompletionItem(name) for name in DATA_SETS.all() if name.startswith(incomplete)]
    return named or [CompletionItem(incomplete, type="file")]


def _of_tokenizers(
    ctx: click.Context, option: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer ids of tokenizers in a list, and after a colon the options of that tokenizer."""
    from ssdd_bench.plugins.registry import TOKENIZERS

    before, comma, last = incomplete.rpartition(",")
    name, colon, typed = last.partition(":")
    if not colon:
        return _several(_tokenizers)(ctx, option, incomplete)
    found = TOKENIZERS.all().get(name)
    return [
        CompletionItem(f"{before}{comma}{name}:{one}=", help=info.help)
        for one, info in (found.options if found else {}).items()
        if one.startswith(typed)
    ]


complete_tokenizers: Complete = _of_tokenizers
complete_metrics: Complete = _several(_metrics)
complete_generation_metrics: Complete = _several(_generation_metrics)
complete_protocol: Complete = _one(_protocols)
complete_protocols: Complete = _several(_protocols)
complete_weights: Complete = _one(_weights)
complete_suite: Complete = _one(_suites)
complete_data: Complete = _of_data
