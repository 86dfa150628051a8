"""``ssdd-bench gen encode``: encode a data set once, for training a model of its latents."""

from __future__ import annotations

from pathlib import Path

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._json import json_option, print_json
from ssdd_bench.cli._typed import typed
from ssdd_bench.evaluation.progress import progress_bar


@click.command("encode", short_help="Encode a data set for a model of latents.")
@options.tokenizer
@options.data(required=True)
@options.resolution(required=True)
@options.out("Folder of the shards.")
@options.limit
@click.option("--flips/--no-flips", default=True, show_default=True, help="Encode mirror images.")
@click.option(
    "--posterior",
    type=click.Choice(["mode", "sample"]),
    default="mode",
    show_default=True,
    help="The posterior's mode, or one sample per image.",
)
@options.seed
@options.batch_size(64, on_cpu="16")
@options.device
@options.shard
@options.quiet
@json_option
def command(
    tokenizer: str,
    data: Path,
    res: int,
    out: Path,
    limit: int | None,
    flips: bool,
    posterior: str,
    seed: int,
    batch_size: int,
    device: str,
    shard: tuple[int, int],
    quiet: bool,
    as_json: bool,
) -> None:
    """Encode images into latents with labels and statistics.

    A class is the folder that an image lies in. Shards that are there are kept. After processes
    with --shard, run it once more without.
    """
    from ssdd_bench.data.images import open_images
    from ssdd_bench.evaluation.environment import choose_device
    from ssdd_bench.evaluation.loading import load
    from ssdd_bench.generation.latents import configure_latents, encode_latents

    chosen = choose_device(device)
    source = open_images(data, limit)
    loaded = load(tokenizer, chosen)
    config = configure_latents(source, loaded, res, flips, posterior, seed)
    with progress_bar("latents", len(source) // shard[1], quiet=quiet) as bar:
        encode_latents(
            source,
            loaded.tokenizer,
            config,
            out,
            chosen,
            batch_size,
            shard,
            typed(),
            bar.images_done,
        )
    if as_json:
        print_json({"path": out, "shard": shard, "config": config})
    elif not quiet:
        click.echo(
            f"{out}: {config.n} images of {len(config.classes)} classes, "
            f"latents {config.channels} x {config.side} x {config.side}",
            err=True,
        )
