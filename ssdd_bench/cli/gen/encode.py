"""``ssdd-bench gen encode``: encode a data set once, for training a model of its latents."""

from __future__ import annotations

from pathlib import Path

import click

from ssdd_bench.cli._complete import complete_tokenizers
from ssdd_bench.cli._generation import image_bar, open_tokenizer, parse_shard
from ssdd_bench.cli._json import json_option, print_json
from ssdd_bench.cli._typed import typed


@click.command("encode", short_help="Encode a data set for a model of latents.")
@click.option(
    "--tokenizer",
    required=True,
    shell_complete=complete_tokenizers,
    help="Id with options: ssdd, klvae:path=DIR",
)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Training images.")
@click.option("--res", type=click.IntRange(min=1), required=True, help="Side of the crops.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of shards.")
@click.option("--limit", type=click.IntRange(min=1), help="Use so many images.")
@click.option("--no-flips", is_flag=True, help="Do not encode mirrored images too.")
@click.option(
    "--posterior",
    type=click.Choice(["mode", "sample"]),
    default="mode",
    show_default=True,
    help="Of the encoder: its mode, or one draw per image.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option(
    "--shard", default="0/1", callback=parse_shard, help="I/N: this is process I of N; see below."
)
@click.option("--quiet", is_flag=True, help="No progress bar.")
@json_option
def command(
    tokenizer: str,
    data: Path,
    res: int,
    out: Path,
    limit: int | None,
    no_flips: bool,
    posterior: str,
    seed: int,
    batch_size: int,
    device: str,
    shard: tuple[int, int],
    quiet: bool,
    as_json: bool,
) -> None:
    """Encode images into latents with labels and statistics; classes are the images' folders.

    Shards that are there are kept. After processes with --shard, run it once more without.
    """
    from ssdd_bench.data.images import open_images
    from ssdd_bench.evaluation.environment import choose_device
    from ssdd_bench.generation.latents import encode_set, plan_latents

    chosen = choose_device(device)
    source = open_images(data, limit)
    loaded, record = open_tokenizer(tokenizer, chosen)
    plan = plan_latents(source, loaded, record, res, not no_flips, posterior, seed)
    total = len(source) // shard[1]
    with image_bar("latents", total, quiet) as advance:
        encode_set(source, loaded, plan, out, chosen, batch_size, shard, typed(), advance)
    if as_json:
        print_json({"path": out, "shard": shard, "plan": plan})
    elif not quiet:
        click.echo(
            f"{out}: {plan.n} images of {len(plan.classes)} classes, latents {plan.channels} x "
            f"{plan.side} x {plan.side}",
            err=True,
        )
