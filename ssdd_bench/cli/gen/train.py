"""``ssdd-bench gen train``: train a model of latents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._output import print_json
from ssdd_bench.cli._training import check_installed, run_trainer
from ssdd_bench.cli._verbs import option, typed, verb
from ssdd_bench.tracking.trackers import check_trackers


@verb
def command(
    *,
    latents: Annotated[Path, option("Read this folder of `gen encode`.")],
    recipe: options.DiTRecipe = "nano",
    out: Annotated[Path, option("Write the run to this folder.")],
    iterations: options.Iterations | None = None,
    minutes: options.Minutes | None = None,
    threads: options.Threads | None = None,
    device: options.Device = "auto",
    restart: options.Restart = False,
    track: options.Track = (),
    quiet: options.Quiet = False,
) -> None:
    """Train a DiT on latents.

    Stopping it (Ctrl-C) writes a checkpoint; the same command goes on from there. OUT holds
    last.safetensors, which `ssdd-bench gen sample --dit` takes, beside a card in JSON. On several
    GPUs: accelerate launch -m ssdd_bench gen train ...
    """
    from ssdd_bench.data.latents import LatentSet
    from ssdd_bench.evaluation.environment import choose_device
    from ssdd_bench.train.pipeline import make_dit_trainer
    from ssdd_bench.train.recipe import DiTRecipe, load_recipe

    check_installed()
    check_trackers(track)
    options.set_threads(threads)
    trainer = make_dit_trainer(
        LatentSet(latents),
        load_recipe(recipe, DiTRecipe),
        out,
        choose_device(device),
        recipe_name=recipe,
        command=typed(),
    )
    run_trainer(trainer, iterations, minutes, restart, quiet, track)
    if trainer.accelerator.is_main_process:
        path = trainer.weights_path
        print_json({"weights": path, "card": path.with_suffix(".json")})
