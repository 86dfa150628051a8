"""``ssdd-bench gen train``: train a model of latents."""

from __future__ import annotations

from pathlib import Path

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._json import json_option, print_json
from ssdd_bench.cli._training import check_installed, run_trainer
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
    last.safetensors, which `ssdd-bench gen sample --dit` takes, beside a card in JSON. On several
    GPUs: accelerate launch -m ssdd_bench gen train ...
    """
    from ssdd_bench.data.latents import LatentSet
    from ssdd_bench.evaluation.environment import choose_device, hide_home
    from ssdd_bench.evaluation.memory import keep_freed_memory
    from ssdd_bench.train.pipeline import make_dit_trainer
    from ssdd_bench.train.recipe import DiTRecipe, load_recipe

    check_installed()
    keep_freed_memory()
    trainer = make_dit_trainer(
        LatentSet(latents),
        load_recipe(recipe, DiTRecipe),
        out,
        choose_device(device),
        recipe_name=recipe,
        command=hide_home(typed()),
    )
    run_trainer(trainer, iterations or trainer.schedule.iterations, minutes, restart, quiet)
    if as_json and trainer.accelerator.is_main_process:
        path = trainer.weights_path
        print_json({"weights": path, "card": path.with_suffix(".json")})
