"""``ssdd-bench gen train``: train a model of latents."""

from __future__ import annotations

from pathlib import Path

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._json import json_option, print_json
from ssdd_bench.cli._progress import progress_bar
from ssdd_bench.cli._typed import typed


@click.command("train")
@click.option("--latents", type=options.PATH, required=True, help="Folder of `gen encode`.")
@options.recipe("nano", "nano, nano-1, xl-2")
@options.out("Folder of the run.")
@options.iterations
@options.minutes
@options.threads
@options.device
@options.restart
@options.quiet
@json_option
def command(
    latents: Path,
    recipe: str,
    out: Path,
    iterations: int | None,
    minutes: float | None,
    device: str,
    restart: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train a DiT on latents.

    Stopping it (Ctrl-C) writes a checkpoint; the same command goes on from there. OUT holds
    dit.safetensors, which `ssdd-bench gen sample --dit` takes, beside a card in JSON.
    """
    path = train(latents, recipe, out, iterations, minutes, device, restart, quiet)
    if as_json:
        print_json({"weights": path, "card": path.with_suffix(".json")})


def train(
    latents: Path,
    recipe: str,
    out: Path,
    iterations: int | None,
    minutes: float | None,
    device: str,
    restart: bool,
    quiet: bool,
) -> Path:
    """Train with a bar; returns the weights file."""
    from ssdd_bench.data.latents import LatentSet
    from ssdd_bench.evaluation.environment import choose_device
    from ssdd_bench.train.dit_recipe import load_dit_recipe
    from ssdd_bench.train.stages.dit import DiTTrainer

    trainer = DiTTrainer(
        LatentSet(latents), load_dit_recipe(recipe), out, choose_device(device), typed()
    )
    if not restart:
        trainer.resume()
    total = iterations or trainer.recipe.iterations
    seconds = float("inf") if minutes is None else 60 * minutes
    with progress_bar(trainer.config.name, total, trainer.iteration, quiet) as bar:
        for state in trainer.run(total, seconds):
            speed = state.seconds / state.iteration
            bar.show(state.iteration, state=f"loss {state.loss:.4f} {speed:.3f} s/it")
    if not quiet:
        click.echo(f"{trainer.weights_path} after {trainer.iteration} iterations", err=True)
    return trainer.weights_path
