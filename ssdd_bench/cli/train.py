"""``ssdd-bench train``: train one of the stages of a recipe on a folder of images."""

from __future__ import annotations

import sys
from pathlib import Path

import click

STAGES = ("klvae", "diffusion", "ssdd")


@click.command("train")
@click.argument("stage", type=click.Choice(STAGES))
@click.option("--recipe", "recipe_name", default="mini", show_default=True, help="name or .toml")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="training images")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="folder of the run")
@click.option("--teacher", type=click.Path(path_type=Path), help="weights that `ssdd` distils")
@click.option("--iterations", type=click.IntRange(min=1), help="instead of the recipe's")
@click.option("--minutes", type=click.FloatRange(min=0), help="stop after this long in all")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads  [default: all]")
@click.option("--restart", is_flag=True, help="start again instead of resuming")
@click.option("--quiet", is_flag=True, help="no progress bar")
def command(
    stage: str,
    recipe_name: str,
    data: Path,
    out: Path,
    teacher: Path | None,
    iterations: int | None,
    minutes: float | None,
    threads: int | None,
    restart: bool,
    quiet: bool,
) -> None:
    """Train STAGE: klvae, diffusion (the multi-step decoder) or ssdd (its distillation).

    Stopping it (Ctrl-C) writes a checkpoint; the same command goes on from there. OUT holds
    STAGE.safetensors, which `ssdd-bench run --tokenizers ssdd:checkpoint=FILE` takes, or
    `klvae:path=FILE` for the KL-VAE, beside a card in JSON.
    """
    import torch
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from ssdd_bench.data.images import open_images
    from ssdd_bench.errors import OptionError
    from ssdd_bench.train.crops import CropStream
    from ssdd_bench.train.loop import Trainer
    from ssdd_bench.train.recipe import load_recipe
    from ssdd_bench.train.stage import Stage

    if threads:
        torch.set_num_threads(threads)
    recipe = load_recipe(recipe_name)
    source = open_images(data)
    torch.manual_seed(recipe.optimiser.seed)
    made: Stage
    if stage == "klvae":
        from ssdd_bench.train.klvae import KLVAEStage

        made = KLVAEStage(recipe.klvae)
    elif stage == "diffusion":
        from ssdd_bench.train.diffusion import DiffusionStage

        made = DiffusionStage(recipe.diffusion)
    else:
        from ssdd_bench.train.ssdd import DistillationStage

        if teacher is None:
            raise OptionError("ssdd is distilled from a diffusion decoder: give --teacher FILE")
        made = DistillationStage(recipe.ssdd, teacher)

    stream = CropStream(source, recipe.data, recipe.optimiser.batch_size, recipe.optimiser.seed)
    card = {
        "stage": stage,
        "recipe": recipe.to_json(stage),  # type: ignore[arg-type]
        "command": " ".join(["ssdd-bench", *sys.argv[1:]]),
        "data": {"name": source.name, "trained_on": len(stream.ids), "images": len(source)},
        "parameters": sum(p.numel() for p in made.networks.parameters()),
        "threads": torch.get_num_threads(),
        "licence": "Apache-2.0",
    }
    trainer = Trainer(made, recipe.optimiser, stream, out, card)
    if not restart:
        trainer.resume()
    total = iterations or made.iterations
    seconds = float("inf") if minutes is None else 60 * minutes
    console = Console(stderr=True, quiet=quiet)
    with Progress(
        TextColumn(stage),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
        console=console,
    ) as progress:
        task = progress.add_task(stage, total=total, completed=trainer.iteration, state="")
        for state in trainer.run(total, seconds):
            speed = state.iteration * recipe.optimiser.batch_size / state.seconds
            terms = " ".join(f"{term} {loss:.4f}" for term, loss in state.losses.items())
            progress.update(task, completed=state.iteration, state=f"{terms} {speed:.1f} img/s")
    console.print(f"{out / stage}.safetensors after {trainer.iteration} iterations")
