"""``ssdd-bench gen train``: train a model of latents."""

from __future__ import annotations

from pathlib import Path

import click

from ssdd_bench.cli._json import json_option, print_json
from ssdd_bench.cli._typed import typed


@click.command("train")
@click.option(
    "--latents", type=click.Path(path_type=Path), required=True, help="Folder of `gen encode`."
)
@click.option("--recipe", default="nano", show_default=True, help="nano, nano-1, xl-2, or a .toml")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option("--iterations", type=click.IntRange(min=1), help="Instead of the recipe's.")
@click.option("--minutes", type=click.FloatRange(min=0), help="Stop after this long in all.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option("--restart", is_flag=True, help="Start again instead of resuming.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@json_option
def command(
    latents: Path,
    recipe: str,
    out: Path,
    iterations: int | None,
    minutes: float | None,
    threads: int | None,
    device: str,
    restart: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train a DiT on latents.

    Stopping it (Ctrl-C) writes a checkpoint; the same command goes on from there. OUT holds
    dit.safetensors, which `ssdd-bench gen sample --dit` takes, beside a card in JSON.
    """
    path = train(latents, recipe, out, iterations, minutes, threads, device, restart, quiet)
    if as_json:
        print_json({"weights": path, "card": path.with_suffix(".json")})


def train(
    latents: Path,
    recipe: str,
    out: Path,
    iterations: int | None,
    minutes: float | None,
    threads: int | None,
    device: str,
    restart: bool,
    quiet: bool,
) -> Path:
    """Train with a bar; returns the weights file."""
    import torch
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from ssdd_bench.data.latents import LatentSet
    from ssdd_bench.evaluation.environment import choose_device
    from ssdd_bench.train.dit_recipe import load_dit_recipe
    from ssdd_bench.train.stages.dit import DiTTrainer

    if threads:
        torch.set_num_threads(threads)
    trainer = DiTTrainer(
        LatentSet(latents), load_dit_recipe(recipe), out, choose_device(device), typed()
    )
    if not restart:
        trainer.resume()
    total = iterations or trainer.recipe.iterations
    seconds = float("inf") if minutes is None else 60 * minutes
    console = Console(stderr=True, quiet=quiet)
    with Progress(
        TextColumn(trainer.config.name),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
        console=console,
    ) as bar:
        task = bar.add_task("", total=total, completed=trainer.iteration, state="")
        for state in trainer.run(total, seconds):
            speed = state.seconds / state.iteration
            bar.update(
                task, completed=state.iteration, state=f"loss {state.loss:.4f} {speed:.3f} s/it"
            )
    console.print(f"{trainer.weights_path} after {trainer.iteration} iterations", soft_wrap=True)
    return trainer.weights_path
