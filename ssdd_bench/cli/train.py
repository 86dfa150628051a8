"""``ssdd-bench train``: train a stage of a recipe, or SSDD's stages one after another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._output import print_columns, print_json
from ssdd_bench.cli._training import check_installed, run_trainer
from ssdd_bench.cli._verbs import Choice, argument, flag, option, typed, verb
from ssdd_bench.errors import OptionError
from ssdd_bench.tracking.trackers import check_trackers
from ssdd_bench.train.recipe import LATER_STAGES, SSDD_STAGES, Recipe, load_recipe

WHAT = ("ssdd", "klvae", *SSDD_STAGES)
RUN = {
    "klvae": "run --tokenizers klvae:path=",
    "finetune": "run --tokenizers diffusion:checkpoint=",
    "distil": "run --tokenizers ssdd:checkpoint=",
}  # what evaluates a finished tokenizer, by its stage


@verb
def command(
    what: Annotated[str, argument(type=Choice(WHAT))],
    recipe: Annotated[
        str, option("Follow this recipe: mini-f8c4, paper-f8c4-M, ..., or a .toml.", "NAME")
    ] = "mini-f8c4",
    data: options.Data | None = None,
    max_image_mb: options.MaxImageMB = 256,
    out: Annotated[
        Path | None, option("Write the run to this folder.  [default: train/RECIPE]")
    ] = None,
    start: Annotated[Path | None, option("Start a stage from these weights.")] = None,
    iterations: options.Iterations | None = None,
    minutes: options.Minutes | None = None,
    threads: options.Threads | None = None,
    restart: options.Restart = False,
    track: options.Track = (),
    quiet: options.Quiet = False,
    plan: Annotated[bool, flag("Print the cost of every stage and train nothing.")] = False,
) -> None:
    """Train SSDD, one of its stages, or a KL-VAE.

    The stages of ssdd are encoder, pretrain, finetune and distil. Stopping it (Ctrl-C) writes a
    checkpoint; the same command goes on from there. Each stage has a folder in OUT with its
    weights, cards, metrics and pictures; a finished tokenizer lies in OUT itself. On several GPUs:
    accelerate launch -m ssdd_bench train ...
    """
    loaded = load_recipe(recipe, Recipe)
    chosen = [name for name in SSDD_STAGES if loaded.stage(name).iterations]
    stages = chosen if what == "ssdd" else [what]
    if plan:
        _show_plan(stages, loaded)
        return
    if data is None:
        raise OptionError("training needs images: give --data DIR")
    if start is not None and (len(stages) > 1 or stages[0] not in LATER_STAGES):
        raise OptionError(
            f"--start is for a single stage that has one before it: {', '.join(LATER_STAGES[:-1])} "
            f"or {LATER_STAGES[-1]}"
        )
    check_installed()
    check_trackers(track)
    options.set_threads(threads)

    from ssdd_bench.data.images import open_images
    from ssdd_bench.train.pipeline import finish, make_trainer, start_file

    folder = out or Path("train") / Path(recipe).stem
    made = []
    for stage in stages:
        trainer = make_trainer(
            stage,
            loaded,
            open_images(data, max_image_mb=max_image_mb),
            folder,
            start or start_file(stage, loaded, folder),
            recipe_name=recipe,
            command=typed(),
        )
        run_trainer(trainer, iterations, minutes, restart, quiet, track)
        if not trainer.accelerator.is_main_process:
            continue
        tokenizer = finish(trainer)
        if tokenizer and not quiet:
            click.echo(f"ssdd-bench {RUN[stage]}{tokenizer}", err=True)
        # The tokenizer is None unless the stage finishes one.
        facts = {"path": trainer.out, "iterations": trainer.iteration, "tokenizer": tokenizer}
        made.append({"stage": stage, **facts})
    if made:
        print_json({"path": folder, "stages": made})


def _show_plan(stages: list[str], recipe: Recipe) -> None:
    """Print the cost of stages, and the hours that some GPUs take for them."""
    from ssdd_bench.train.cost import GPUS, UTILISATION, stage_cost

    costs = [stage_cost(stage, recipe) for stage in stages]
    bf16 = recipe.optimiser.bf16
    hours = {gpu.name: {one.stage: gpu.hours(one, bf16) for one in costs} for gpu in GPUS}
    if print_json({"stages": costs, "utilisation": UTILISATION, "hours": hours}):
        return
    print_columns(
        [
            {
                "stage": cost.stage,
                "iterations": f"{cost.iterations:,}",
                "images M": f"{cost.images / 1e6:.3g}",
                "px": cost.resolution,
                "batch": cost.batch_size,
                "trained M": f"{cost.parameters / 1e6:.2f}",
                "GMAC/image": f"{cost.gmac_per_image:.1f}",
                "activations MB/image": f"{cost.activation_bytes / 1e6:.0f}",
                "state GB": f"{cost.state_bytes / 1e9:.2f}",
            }
            for cost in costs
        ]
    )
    click.echo()
    print_columns(
        [
            {"one GPU": gpu.name, "peak TFLOP/s": f"{gpu.bf16 if bf16 else gpu.fp32:g}"}
            | {f"{stage} h": _hours(value) for stage, value in hours[gpu.name].items()}
            | {"all h": _hours(sum(hours[gpu.name].values()))}
            for gpu in GPUS
        ]
    )
    click.echo(
        "GMAC: forward and backward, multiply-accumulates. Without the frozen networks of the "
        "losses and without a discriminator.\n"
        f"Hours: if {UTILISATION:.0%} of the {'bfloat16' if bf16 else 'float32'} peak of the data "
        "sheet is reached, which small networks do not."
    )


def _hours(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
