"""Checks and progress of the verbs of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ssdd_bench.errors import PluginError
from ssdd_bench.evaluation.progress import progress_bar

if TYPE_CHECKING:
    from ssdd_bench.train.loop import Trainer


def check_installed() -> None:
    """Refuse to train without the packages of the extra ``train``."""
    try:
        import accelerate  # noqa: F401
        import schedulefree  # noqa: F401
    except ImportError as error:
        raise PluginError(
            f"training needs the package '{error.name}': pip install 'ssdd-bench[train]'"
        ) from error


def run_trainer(
    trainer: Trainer, iterations: int | None, minutes: float | None, restart: bool, quiet: bool
) -> None:
    """Train under a bar with the loss terms, images per second and the time left.

    The trainer is resumed, unless ``restart``. ``iterations`` (by default the recipe's) and
    ``minutes`` count the earlier ones in; training ends with the first of the two.
    """
    if not restart:
        trainer.resume()
    iterations = iterations or trainer.schedule.iterations
    quiet = quiet or not trainer.accelerator.is_main_process
    seconds = float("inf") if minutes is None else 60 * minutes
    with progress_bar(trainer.stage.name, iterations, trainer.iteration, quiet) as bar:
        for state in trainer.run(iterations, seconds):
            terms = " ".join(f"{term} {loss:.3g}" for term, loss in state.losses.items())
            bar.show(state.iteration, state=f"{state.images_per_s:.1f} images/s {terms}")
    if not quiet:
        click.echo(f"{trainer.weights_path}: {trainer.iteration} iterations", err=True)
