"""``ssdd-bench gen sample``: sample images with a model of latents and a tokenizer's decoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._json import json_option, print_json
from ssdd_bench.cli._typed import typed
from ssdd_bench.evaluation.progress import progress_bar

if TYPE_CHECKING:
    from ssdd_bench.generation.sampler import Method


@click.command("sample", short_help="Sample images with a model of latents.")
@options.tokenizer
@options.dit
@options.out("Folder of the samples.")
@options.samples(40)
@options.labels
@options.sampler
@options.steps(50)
@options.cfg
@options.cfg_interval
@options.cfg_channels
@options.seed
@click.option(
    "--objective",
    type=click.Choice(["flow", "ddpm"]),
    help="Of a published checkpoint: ddpm for DiT, flow for SiT.",
)
@click.option("--f", type=options.COUNT, metavar="F", help="Of a published checkpoint's latents.")
@click.option("--shared", type=options.PATH, help="Keep sampled latents here for other decoders.")
@options.batch_size(64, on_cpu="16")
@options.device
@options.shard
@options.quiet
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

    Batches that are there are kept. After processes with --shard, run it once more without.
    """
    from ssdd_bench.evaluation.environment import choose_device
    from ssdd_bench.evaluation.loading import load
    from ssdd_bench.generation.batches import SamplesConfig
    from ssdd_bench.generation.identity import encoder_sha256
    from ssdd_bench.generation.model import load_latent_model, shipped_for
    from ssdd_bench.generation.sampler import SamplerSettings, default_method
    from ssdd_bench.generation.samples import generate_samples

    chosen = choose_device(device)
    loaded = load(tokenizer, chosen)
    path = shipped_for(encoder_sha256(loaded)) if dit is None else dit
    model = load_latent_model(path, objective, f)
    method = sampler or default_method(model.facts.objective)
    config = SamplesConfig(
        out=out,
        samples=samples,
        seed=seed,
        labels=labels,
        settings=SamplerSettings(method, steps, cfg, cfg_interval, cfg_channels),
        batch_size=batch_size,
        shard=shard,
        shared=shared,
        command=typed(),
    )
    with progress_bar("samples", samples // shard[1], quiet=quiet) as bar:
        made = generate_samples(model, loaded, config, chosen, bar.images_done)
    if as_json:
        print_json({"path": out, "shard": shard, "finished": made is not None, "record": made})
        return
    if made is None:
        return
    for warning in made.warnings:
        click.echo(f"warning: {warning}", err=True)
    if not quiet:
        click.echo(f"{out}: samples.npz, samples.png and generated.json", err=True)
