"""Parts that the verbs of training share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ssdd_bench.evaluation.progress import progress_bar

if TYPE_CHECKING:
    from ssdd_bench.train.loop import Trainer


def check_installed() -> None:
    """Import the packages of the extra ``train``.

    Raises:
        PluginError: one is not installed.
    """
    try:
        import accelerate  # noqa: F401
        import schedulefree  # noqa: F401
    except ImportError as error:
        from ssdd_bench.errors import PluginError

        raise PluginError(
            f"training needs the package '{error.name}': pip install 'ssdd-bench[train]'"
        ) from error


def run_trainer(
    trainer: Trainer, iterations: int, minutes: float | None, restart: bool, quiet: bool
) -> None:
    """Train under a bar with the loss terms, images per second and the time left.

    Args:
        trainer: resumed first, unless ``restart``.
        iterations: length in all.
        minutes: length in all, if that ends first.
        restart: ignore the checkpoint.
        quiet: show nothing.
    """
    if not restart:
        trainer.resume()
    quiet = quiet or not trainer.accelerator.is_main_process
    seconds = float("inf") if minutes is None else 60 * minutes
    with progress_bar(trainer.stage.name, iterations, trainer.iteration, quiet) as bar:
        for state in trainer.run(iterations, seconds):
            terms = " ".join(f"{term} {loss:.3g}" for term, loss in state.losses.items())
            bar.show(state.iteration, state=f"{state.images_per_s:.1f} images/s {terms}")
    if not quiet:
        click.echo(f"{trainer.weights_path}: {trainer.iteration} iterations", err=True)
