"""``ssdd-bench gen encode``: encode a data set once, for training a model of its latents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._output import print_json
from ssdd_bench.cli._verbs import option, switch, typed, verb


@verb
def command(
    *,
    tokenizer: options.Tokenizer,
    data: options.Data,
    res: options.Resolution,
    out: Annotated[Path, option("Folder of the shards.")],
    limit: options.Limit | None = None,
    max_image_mb: options.MaxImageMB = 256,
    flips: Annotated[bool, switch("Encode mirror images.")] = True,
    posterior: Annotated[
        Literal["mode", "sample"], option("The posterior's mode, or one sample per image.")
    ] = "mode",
    seed: options.Seed = 0,
    batch_size: options.BatchSize = 64,
    device: options.Device = "auto",
    shard: options.Shard = (0, 1),
    quiet: options.Quiet = False,
) -> None:
    """Encode a data set into latents with labels and statistics.

    A class is the folder that an image lies in. Shards that are there are kept. After processes
    with --shard, run it once more without.
    """
    from ssdd_bench.data.images import open_images
    from ssdd_bench.evaluation.environment import choose_device
    from ssdd_bench.evaluation.loading import load
    from ssdd_bench.generation.latents import configure_latents, encode_latents

    chosen = choose_device(device)
    source = open_images(data, limit, max_image_mb=max_image_mb)
    loaded = load(tokenizer, chosen)
    config = configure_latents(source, loaded, res, flips, posterior, seed)
    encode_latents(
        source, loaded.tokenizer, config, out, chosen, batch_size, shard, typed(), not quiet
    )
    if not print_json({"path": out, "shard": shard, "config": config}) and not quiet:
        click.echo(
            f"{out}: {config.n} images of {len(config.classes)} classes, "
            f"latents {config.channels} x {config.side} x {config.side}",
            err=True,
        )
