"""``ssdd-bench gen sample``: sample images with a model of latents and a tokenizer's decoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ssdd_bench.cli._complete import complete_tokenizers
from ssdd_bench.cli._generation import (
    image_bar,
    open_tokenizer,
    parse_interval,
    parse_shard,
)
from ssdd_bench.cli._json import json_option, print_json
from ssdd_bench.cli._typed import typed

if TYPE_CHECKING:
    from ssdd_bench.generation.sampler import Method


@click.command("sample", short_help="Sample images with a model of latents.")
@click.option(
    "--tokenizer",
    required=True,
    shell_complete=complete_tokenizers,
    help="Whose decoder: ssdd, diffusion:steps=4, ...",
)
@click.option(
    "--dit",
    type=click.Path(path_type=Path),
    help="dit.safetensors, its folder, or a DiT or SiT checkpoint.  [default: a shipped one]",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of samples.")
@click.option("--samples", type=click.IntRange(min=1), default=40, show_default=True)
@click.option(
    "--labels",
    type=click.Choice(["equal", "random"]),
    default="equal",
    show_default=True,
    help="As many of each class, or each at random.",
)
@click.option(
    "--sampler",
    type=click.Choice(["euler", "heun", "ddpm"]),
    help="[default: euler for flows, ddpm for DDPM]",
)
@click.option("--steps", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--cfg", type=float, default=1.0, show_default=True, help="Guidance; 1 is none.")
@click.option(
    "--cfg-interval",
    default="0,1",
    show_default=True,
    callback=parse_interval,
    help="Times of guidance: 1 is noise, 0 the image.",
)
@click.option("--cfg-channels", type=click.IntRange(min=1), help="Guided channels.  [default: all]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--objective",
    type=click.Choice(["flow", "ddpm"]),
    help="Of a published checkpoint: ddpm for DiT, flow for SiT.",
)
@click.option("--f", type=click.IntRange(min=1), help="Of a published checkpoint's latents.")
@click.option(
    "--shared", type=click.Path(path_type=Path), help="Keep drawn latents here for other decoders."
)
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option(
    "--shard", default="0/1", callback=parse_shard, help="I/N: this is process I of N; see below."
)
@click.option("--quiet", is_flag=True, help="No progress bar.")
@json_option
def command(
    tokenizer: str,
    dit: Path | None,
    out: Path,
    samples: int,
    labels: Literal["equal", "random"],
    sampler: Method | None,
    steps: int,
    cfg: float,
    cfg_interval: tuple[float, float],
    cfg_channels: int | None,
    seed: int,
    objective: Literal["flow", "ddpm"] | None,
    f: int | None,
    shared: Path | None,
    batch_size: int,
    device: str,
    shard: tuple[int, int],
    quiet: bool,
    as_json: bool,
) -> None:
    """Sample images: OUT gets samples.npz (arr_0, labels in arr_1), samples.png and a record.

    A batch size counts on a GPU; a CPU takes 16. Batches that are there are kept. After processes
    with --shard, run it once more without.
    """
    from ssdd_bench.evaluation.environment import choose_device
    from ssdd_bench.generation.draw import draw_samples
    from ssdd_bench.generation.identity import encoder_sha256
    from ssdd_bench.generation.sampler import SamplerSettings
    from ssdd_bench.generation.samples import DrawPlan
    from ssdd_bench.train.latent_model import load_generator, shipped_for

    chosen = choose_device(device)
    loaded, record = open_tokenizer(tokenizer, chosen)
    path = shipped_for(encoder_sha256(loaded, record)) if dit is None else dit
    generator = load_generator(path, objective, f)
    method = sampler or ("ddpm" if generator.card.objective == "ddpm" else "euler")
    plan = DrawPlan(
        out=out,
        samples=samples,
        seed=seed,
        labels=labels,
        settings=SamplerSettings(method, steps, cfg, cfg_interval, cfg_channels),
        batch_size=batch_size,
        part=shard,
        shared=shared,
        command=typed(),
    )
    with image_bar("samples", samples // shard[1], quiet) as advance:
        made = draw_samples(generator, loaded, record, plan, chosen, advance)
    if as_json:
        print_json({"path": out, "shard": shard, "finished": made is not None, "record": made})
        return
    if made is None:
        return
    for warning in made.warnings:
        click.echo(f"warning: {warning}", err=True)
    if not quiet:
        click.echo(f"{out}: samples.npz, samples.png and generated.json", err=True)
