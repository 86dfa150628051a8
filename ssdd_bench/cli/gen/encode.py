"""``ssdd-bench gen encode``: encode a data set once, for training a model of its latents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._output import print_json
from ssdd_bench.cli._slurm import submit_verb
from ssdd_bench.cli._verbs import option, switch, typed, verb
from ssdd_bench.errors import counted
from ssdd_bench.plugins.registry import parse_request


@verb
def command(
    *,
    tokenizer: options.Tokenizer,
    data: options.Data,
    res: options.Resolution,
    out: Annotated[Path, option("Write the shards to this folder.")],
    limit: options.Limit | None = None,
    max_image_mb: options.MaxImageMB = 256,
    flips: Annotated[bool, switch("Encode mirror images.")] = True,
    posterior: Annotated[
        Literal["mode", "sample"], option("Take the posterior's mode, or one sample per image.")
    ] = "mode",
    seed: options.Seed = 0,
    batch_size: options.BatchSize = 64,
    device: options.Device = "auto",
    launching: options.Launching,
    shard: options.Shard | None = None,
    quiet: options.Quiet = False,
) -> None:
    """Encode a data set into latents with labels and statistics.

    A class is the folder that an image lies in. Shards that are there are kept. Each GPU has a
    worker process, or the CPU has one; ranks of torchrun share the work too.
    """
    parse_request(tokenizer)  # a mistake is told before anything is imported or begun
    if submit_verb(launching, device, out, shard is not None):
        return
    from ssdd_bench.generation.latents import LatentsPlan, encode_latents

    plan = LatentsPlan(
        tokenizer,
        data,
        res,
        out,
        limit,
        flips,
        posterior,
        seed,
        batch_size,
        max_image_mb=max_image_mb,
        command=typed(),
    )
    launch = launching.make(device, shard=shard)
    record = encode_latents(plan, launch.choose_device(device), launch, progress=not quiet)
    if launch.rank is not None and launch.rank.rank:
        return
    config = record and record.config
    document = {"path": out, "shard": shard, "config": config}
    if not print_json(document) and not quiet and config:
        classes = counted(len(config.classes), "class", "es")
        click.echo(
            f"{out}: {counted(config.n, 'image')} of {classes}, "
            f"latents {config.channels} x {config.side} x {config.side}",
            err=True,
        )
