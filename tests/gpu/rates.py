"""Rates on one GPU that rules and recipes of the package rest on.

    python tests/gpu/rates.py attention
    python tests/gpu/rates.py training --data photos --recipe mini-f8c4-long

`attention` times the kernels of a neighbourhood, forward and backward, by turns, at sizes of grid
on both sides of the rule of `choose_kernel`. `training` times the first step of each stage, with
its compilation, and the steps after it, in crops a second; each stage starts from random weights.
Every line is written as soon as it is known, also to --out. Try it first: --device cpu --tiny.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from ssdd_bench.api.memory import is_out_of_memory, release_memory
from ssdd_bench.data.images import open_images
from ssdd_bench.evaluation.environment import choose_device, describe_environment, device_name
from ssdd_bench.evaluation.timing import time_by_turns, time_call
from ssdd_bench.nn.attention import (
    Kernel,
    RelativePositionBias,
    choose_kernel,
    neighbourhood_attention,
)
from ssdd_bench.nn.decoder import SIZES
from ssdd_bench.results.files import write_json
from ssdd_bench.train.loop import Trainer
from ssdd_bench.train.pipeline import make_trainer, start_file
from ssdd_bench.train.recipe import STAGES, Recipe, load_recipe

SIDES = (16, 32, 48, 64, 128)  # cells; 32 x 32 is the largest grid of the dense kernel
BATCH = 8
HEAD_WIDTH = 40  # of S
TURNS = 11
STEPS = 20  # of training that are timed, after as many untimed ones

Row = dict[str, Any]


def attention(device: torch.device, tiny: bool) -> Iterator[Row]:
    """Time every kernel on each grid, in bfloat16 with S's number of heads."""
    heads = 2 if tiny else SIZES["S"].heads
    for side in (4, 12) if tiny else SIDES:
        for backward in (False, True):
            calls = {}
            for kernel in Kernel:
                call = _attention_call(kernel, side, heads, backward, device)
                reason = _why_not(call)
                if reason:
                    yield {"side": side, "backward": backward, "kernel": kernel, "failure": reason}
                else:
                    calls[kernel] = call
            seconds = np.median(time_by_turns([*calls.values()], device, TURNS), axis=0)
            chosen = choose_kernel(device, side**2)
            for kernel, one in zip(calls, seconds, strict=True):
                yield {
                    **{"side": side, "backward": backward, "kernel": kernel},
                    **{"ms": 1000 * float(one), "chosen": kernel == chosen},
                }
            calls.clear()
            release_memory(device)


def _attention_call(
    kernel: Kernel, side: int, heads: int, backward: bool, device: torch.device
) -> Callable[[], object]:
    torch.manual_seed(0)
    bias = RelativePositionBias(heads).to(device, torch.bfloat16)
    shape = 3, BATCH, heads, side**2, HEAD_WIDTH
    inputs = torch.randn(shape, device=device, dtype=torch.bfloat16).unbind(0)

    def forward() -> Tensor:
        with torch.inference_mode():
            return neighbourhood_attention(*inputs, (side, side), bias, kernel)

    def both() -> object:
        leaves = [x.detach().requires_grad_() for x in inputs]
        out = neighbourhood_attention(*leaves, (side, side), bias, kernel)
        return torch.autograd.grad(out.sum(), [*leaves, *bias.parameters()])

    return both if backward else forward


def _why_not(call: Callable[[], object]) -> str:
    """Return why a call fails; it also warms up and compiles."""
    try:
        call()
    except (RuntimeError, MemoryError, NotImplementedError) as error:
        if is_out_of_memory(error):
            return "out of memory"
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"
    return ""


def training(recipe: Recipe, data: str, device: torch.device, steps: int) -> Iterator[Row]:
    """Time the stages of a recipe, each from random weights of the one before."""
    source = open_images(data)
    recipe = replace(recipe, evaluation=replace(recipe.evaluation, images=0))
    with TemporaryDirectory() as folder:
        out = Path(folder)
        for name in STAGES:
            if not recipe.stage(name).iterations:
                continue
            start = start_file(name, recipe, out)
            run = make_trainer(name, recipe, source, out, start, command="rates")
            run.save_weights("last")  # what the next stage starts from
            run.start()
            batches = run.batches()
            row: Row = {"stage": name, "batch": run.schedule.batch_size}
            try:
                row["first_step_s"] = time_call(partial(_train, run, batches, 1), device)
                several = partial(_train, run, batches, steps)
                time_call(several, device)  # warms up
                crops = steps * run.schedule.batch_size
                row["crops_per_s"] = crops / time_call(several, device)
                run.losses.read()  # raises where one is not finite
            finally:
                batches.close()
            yield row
            del run
            torch._dynamo.reset()
            release_memory(device)


def _train(run: Trainer, batches: Iterator[Any], steps: int) -> None:
    for _ in range(steps):
        run.step(batches)


def main(arguments: list[str] | None = None) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("attention", "training"))
    parser.add_argument("--data", default="sample", help="photos to train on")
    parser.add_argument("--recipe", default="mini-f8c4-long", help="recipe to train by")
    parser.add_argument("--eager", action="store_true", help="train without compilation")
    parser.add_argument("--out", type=Path, help="JSON file, written after every row")
    parser.add_argument("--device", default="cuda", help="as torch names it")
    parser.add_argument("--tiny", action="store_true", help="narrow networks, to try it on a CPU")
    options = parser.parse_args(arguments)
    device = choose_device(options.device)
    if options.what == "attention":
        begin = partial(attention, device, options.tiny)
    else:
        recipe = load_recipe(options.recipe, Recipe)
        if options.eager:
            recipe = replace(recipe, optimiser=replace(recipe.optimiser, compile=False))
        if options.tiny:
            sys.path.append(str(Path(__file__).parents[1] / "support"))
            from small_recipe import narrow

            recipe = narrow(recipe)
        begin = partial(training, recipe, options.data, device, 2 if options.tiny else STEPS)
    rows: list[Row] = []
    origin = {"card": device_name(device), "environment": describe_environment(device)}
    for row in begin():
        rows.append(row)
        click.echo("  ".join(f"{key} {_text(value)}" for key, value in row.items()))
        if options.out:
            write_json(options.out, {**origin, "what": options.what, "rows": rows})
    return rows


def _text(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
