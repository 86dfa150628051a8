"""Weights that verbs need: fetched before the first image, and imported before the workers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from ssdd_bench.errors import UnavailableError
from ssdd_bench.metrics.catalog import METRICS


def fetch_with_bars(names: Iterable[str], quiet: bool = False) -> list[Path]:
    """Fetch assets one after another, with progress bars on standard error; return their paths."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from ssdd_bench.weights.download import fetch

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = Console(stderr=True, quiet=quiet)
    with Progress(*columns, TransferSpeedColumn(), console=console, transient=True) as bars:

        def fetch_one(name: str) -> Path:
            task = bars.add_task(name, total=None)
            return fetch(
                name,
                lambda done, total: bars.update(task, completed=done, total=total),
                lambda: console.print(f"{name}: waiting for another process that downloads it"),
            )

        return [fetch_one(name) for name in names]


def fetch_weights(metrics: Iterable[str], offline: bool, strict: bool, quiet: bool) -> None:
    """Fetch the weights of metrics that the user named; default metrics start no download.

    Unknown keys are ignored here. With ``offline`` the network is forbidden, here and later.

    Raises:
        UnavailableError: a file is missing and the network is forbidden, or ``strict``.
    """
    from ssdd_bench.weights.assets import cached_path, require
    from ssdd_bench.weights.download import go_offline, is_offline

    if offline:
        go_offline()
    known = METRICS.all()
    keys = {name: key for key in metrics if key in known for name in known[key].assets}
    for name in [name for name in keys if cached_path(name) is None]:
        if is_offline():
            require(name)
        try:
            fetch_with_bars([name], quiet)
        except UnavailableError as error:
            if strict:
                raise
            if not quiet:
                click.echo(f"{keys[name]} will be absent: {error}", err=True)


def preloaded(metrics: Iterable[str]) -> tuple[str, ...]:
    """Return modules for the server of worker processes: each worker would import them anew.

    Args:
        metrics: keys; none for those of protocols.
    """
    from ssdd_bench.weights.assets import cached_path

    known = METRICS.all()
    asked = [known[key] for key in metrics if key in known] or known.values()
    infos = [info for info in asked if all(map(cached_path, info.assets))]
    large = ("torch_fidelity", "lpips")
    used = {
        "torch_fidelity": any(info.network == "inception" for info in infos),
        "lpips": any(info.metric.startswith("lpips:") for info in infos),
    }
    return ("torch", "ssdd_bench.evaluation.worker", *(name for name in large if used[name]))
