"""What the verbs of generation share: options, a loaded tokenizer and progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import torch

    from ssdd_bench.api import Tokenizer
    from ssdd_bench.results.schema import TokenizerRecord


def parse_shard(ctx: click.Context, option: click.Parameter, text: str) -> tuple[int, int]:
    """Read ``0/2``: the first of two processes."""
    try:
        index, count = (int(piece) for piece in text.split("/"))
    except ValueError:
        raise click.BadParameter(f"'{text}': write 0/2 for the first of two processes") from None
    if not 0 <= index < count:
        raise click.BadParameter(
            f"'{text}': shards of {count} are 0/{count} to {count - 1}/{count}"
        )
    return index, count


def parse_interval(ctx: click.Context, option: click.Parameter, text: str) -> tuple[float, float]:
    """Read ``0,0.9``: two times."""
    try:
        low, high = (float(piece) for piece in text.split(","))
    except ValueError:
        raise click.BadParameter(f"'{text}': write two times such as 0,0.9") from None
    return low, high


def parse_numbers(ctx: click.Context, option: click.Parameter, text: str) -> tuple[float, ...]:
    """Read ``1,1.5``."""
    try:
        return tuple(float(piece) for piece in text.replace(",", " ").split())
    except ValueError:
        raise click.BadParameter(f"'{text}': write numbers such as 1,1.5") from None


def open_tokenizer(text: str, device: torch.device) -> tuple[Tokenizer, TokenizerRecord]:
    """Load one tokenizer in evaluation mode, with its description.

    Raises:
        UserError: it does not exist or cannot be loaded, or several are named.
    """
    from ssdd_bench.evaluation.measure import describe_tokenizer
    from ssdd_bench.plugins.registry import find_tokenizers, load_tokenizer, parse_requests

    requests = parse_requests(text)
    if len(requests) != 1:
        raise click.UsageError(f"'{text}' names {len(requests)} tokenizers: give one")
    tokenizer = load_tokenizer(requests[0], device=device)
    for network in tokenizer.networks().values():
        network.eval()
    record = describe_tokenizer(find_tokenizers()[requests[0].id], requests[0], tokenizer)
    return tokenizer, record


@contextmanager
def image_bar(title: str, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar of images on standard error; gives a function that moves it forward."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True, quiet=quiet)) as bar:
        task = bar.add_task(title, total=total)

        def advance(count: int) -> None:
            bar.advance(task, count)

        yield advance


def weights_of(metrics: Iterable[str]) -> list[str]:
    """Metrics of reconstructions that need the same files as these of generated images."""
    from ssdd_bench.metrics.generation import GENERATION_METRICS

    networks = {"inception": "rfid", "dinov2_vitl14": "fd_dinov2"}
    found = (GENERATION_METRICS[key].network for key in metrics if key in GENERATION_METRICS)
    return [networks[network] for network in found if network in networks]
