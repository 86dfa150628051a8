"""``ssdd-bench train``: train a stage of a recipe, or SSDD's stages one after another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._json import json_option, print_json
from ssdd_bench.cli._training import check_installed, run_trainer
from ssdd_bench.cli._typed import typed
from ssdd_bench.train.recipe import SSDD_STAGES

if TYPE_CHECKING:
    from ssdd_bench.train.recipe import Recipe

WHAT = ("ssdd", "klvae", *SSDD_STAGES)


@click.command("train", short_help="Train SSDD, one of its stages, or a KL-VAE.")
@click.argument("what", metavar="WHAT", type=click.Choice(WHAT))
@options.recipe("mini-f8c4", "mini-f8c4, paper-f8c4-M, ...")
@options.data()
@click.option("--out", type=options.PATH, help="Folder of the run.  [default: train/RECIPE]")
@click.option("--start", type=options.PATH, help="Weights to start a stage from.")
@options.iterations
@options.minutes
@options.threads
@options.restart
@options.quiet
@click.option("--plan", is_flag=True, help="Print the cost of every stage and train nothing.")
@json_option
def command(
    what: str,
    recipe: str,
    data: Path | None,
    out: Path | None,
    start: Path | None,
    iterations: int | None,
    minutes: float | None,
    restart: bool,
    quiet: bool,
    plan: bool,
    as_json: bool,
) -> None:
    """Train WHAT: klvae, or ssdd, whose stages are encoder, pretrain, finetune and distil.

    Stopping it (Ctrl-C) writes a checkpoint; the same command goes on from there. Each stage has a
    folder in OUT with its weights, cards, metrics and pictures; a finished tokenizer lies in OUT
    itself. On several GPUs: accelerate launch -m ssdd_bench train ...
    """
    from ssdd_bench.errors import OptionError
    from ssdd_bench.train.recipe import Recipe, load_recipe

    loaded = load_recipe(recipe, Recipe)
    stages = (
        [name for name in SSDD_STAGES if loaded.stage(name).iterations]
        if what == "ssdd"
        else [what]
    )
    if plan:
        _print_plan(stages, loaded, as_json)
        return
    if data is None:
        raise OptionError("training needs images: give --data DIR")
    if start is not None and len(stages) > 1:
        raise OptionError("--start is for a single stage: ssdd begins with its encoder")
    check_installed()
    folder = out or Path("train") / Path(recipe).stem
    made: list[Stage] = []
    for stage in stages:
        made += _train(
            stage, loaded, recipe, data, folder, start, iterations, minutes, restart, quiet
        )
    if as_json and made:
        print_json({"path": folder, "stages": made})


@dataclass(frozen=True)
class Stage:
    """Summary of a trained stage; ``tokenizer`` is the weights file of a finished one."""

    stage: str
    path: Path
    iterations: int
    tokenizer: Path | None


def _train(
    stage: str,
    recipe: Recipe,
    recipe_name: str,
    data: Path,
    out: Path,
    start: Path | None,
    iterations: int | None,
    minutes: float | None,
    restart: bool,
    quiet: bool,
) -> list[Stage]:
    """Train one stage; return its summary in the main process, and nothing in others."""
    from ssdd_bench.data.images import open_images
    from ssdd_bench.evaluation.environment import hide_home
    from ssdd_bench.evaluation.memory import keep_freed_memory
    from ssdd_bench.train.pipeline import finish, make_trainer, start_file

    keep_freed_memory()
    trainer = make_trainer(
        stage,
        recipe,
        open_images(data),
        out,
        start or start_file(stage, recipe, out),
        recipe_name=recipe_name,
        command=hide_home(typed()),
    )
    run_trainer(trainer, iterations or trainer.schedule.iterations, minutes, restart, quiet)
    if not trainer.accelerator.is_main_process:
        return []
    tokenizer = finish(trainer)
    if tokenizer and not quiet:
        click.echo(f"{tokenizer}: a finished tokenizer, in float16", err=True)
    return [Stage(stage, trainer.out, trainer.iteration, tokenizer)]


def _print_plan(stages: list[str], recipe: Recipe, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from ssdd_bench.train.cost import stage_cost

    costs = [stage_cost(stage, recipe) for stage in stages]
    if as_json:
        print_json({"stages": costs})
        return
    table = Table(box=None, header_style="bold")
    for heading in ("stage", "iterations", "million images", "px", "batch"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for heading in ("trained M", "GMAC/image", "activations MB/image", "state GB"):
        table.add_column(heading, justify="right")
    for found in costs:
        table.add_row(
            found.stage,
            f"{found.iterations:,}",
            f"{found.images / 1e6:.1f}",
            str(found.resolution),
            str(found.batch_size),
            f"{found.parameters / 1e6:.2f}",
            f"{found.gmac_per_image:.1f}",
            f"{found.activation_bytes / 1e6:.0f}",
            f"{found.state_bytes / 1e9:.2f}",
        )
    console = Console(width=max(110, Console().width))  # cut headings help nobody
    console.print(table)
    console.print(
        "GMAC: forward and backward, multiply-accumulates. Without the frozen networks of the "
        "losses and without a discriminator."
    )
