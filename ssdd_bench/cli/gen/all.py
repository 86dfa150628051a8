"""``ssdd-bench gen all``: from folders of images to rows of generation scores."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ssdd_bench.cli._complete import (
    complete_generation_metrics,
    complete_protocol,
    complete_tokenizers,
)
from ssdd_bench.cli._generation import (
    image_bar,
    open_tokenizer,
    parse_interval,
    parse_numbers,
    weights_of,
)
from ssdd_bench.cli._json import describe_result, json_option, print_json
from ssdd_bench.cli._typed import typed

if TYPE_CHECKING:
    from ssdd_bench.generation.sampler import Method
    from ssdd_bench.results.schema import Result


@click.command("all", short_help="Encode, train, sample and score in one go.")
@click.option(
    "--tokenizer",
    required=True,
    shell_complete=complete_tokenizers,
    help="Whose encoder: ssdd, klvae:path=DIR, ...",
)
@click.option(
    "--decoders",
    default="",
    shell_complete=complete_tokenizers,
    help="That share it: ssdd,diffusion:steps=1,4",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Images to train a DiT on.  [default: take --dit, or a shipped one]",
)
@click.option("--dit", type=click.Path(path_type=Path), help="A trained one, instead of --data.")
@click.option("--limit", type=click.IntRange(min=1), help="Train on so many of them.")
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    required=True,
    help="Images to compare with, or an npz with mu and sigma.",
)
@click.option("--reference-limit", type=click.IntRange(min=1), help="Use so many of those.")
@click.option("--res", type=click.IntRange(min=1), help="Side of the images of --data.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of everything.")
@click.option("--recipe", default="nano", show_default=True, help="nano, nano-1, xl-2, or a .toml")
@click.option("--iterations", type=click.IntRange(min=1), help="Instead of the recipe's.")
@click.option("--minutes", type=click.FloatRange(min=0), help="Train this long at the most.")
@click.option("--samples", type=click.IntRange(min=1), default=50_000, show_default=True)
@click.option(
    "--labels", type=click.Choice(["equal", "random"]), default="equal", show_default=True
)
@click.option(
    "--sampler", type=click.Choice(["euler", "heun", "ddpm"]), default="euler", show_default=True
)
@click.option("--steps", type=click.IntRange(min=1), default=250, show_default=True)
@click.option("--cfg", default="1", show_default=True, callback=parse_numbers, help="As 1,1.5")
@click.option("--cfg-interval", default="0,1", show_default=True, callback=parse_interval)
@click.option("--cfg-channels", type=click.IntRange(min=1), help="Guided channels.  [default: all]")
@click.option("--seed", default="0", show_default=True, callback=parse_numbers, help="As 0,1,2")
@click.option("--protocol", default="gfid-v1", show_default=True, shell_complete=complete_protocol)
@click.option(
    "--metrics",
    default="",
    shell_complete=complete_generation_metrics,
    help="Keys, comma-separated.  [default: the protocol's]",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option("--offline", is_flag=True, help="Fetch no weights: fail at once if one is missing.")
@click.option("--quiet", is_flag=True, help="Neither progress nor table.")
@json_option
def command(
    tokenizer: str,
    decoders: str,
    data: Path | None,
    dit: Path | None,
    limit: int | None,
    reference: Path,
    reference_limit: int | None,
    res: int | None,
    out: Path,
    recipe: str,
    iterations: int | None,
    minutes: float | None,
    samples: int,
    labels: Literal["equal", "random"],
    sampler: Method,
    steps: int,
    cfg: tuple[float, ...],
    cfg_interval: tuple[float, float],
    cfg_channels: int | None,
    seed: tuple[float, ...],
    protocol: str,
    metrics: str,
    batch_size: int,
    threads: int | None,
    device: str,
    offline: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Encode, train, sample with every decoder, scale and seed, and score.

    OUT gets latents, dit, samples and results. What is there is kept: the same command resumes.
    Without --data there is nothing to encode and to train: a DiT that is there draws for other
    decoders, guidance or seeds.
    """
    import torch
    from rich.console import Console

    from ssdd_bench.cli._downloads import fetch_weights
    from ssdd_bench.cli._tables import show_table, write_text
    from ssdd_bench.cli.gen.train import train
    from ssdd_bench.data.images import open_images
    from ssdd_bench.evaluation.environment import choose_device
    from ssdd_bench.evaluation.samples import GenerationScorePlan, score_generated
    from ssdd_bench.generation.draw import draw_samples
    from ssdd_bench.generation.identity import check_encoder, encoder_sha256
    from ssdd_bench.generation.latents import encode_set, plan_latents
    from ssdd_bench.generation.sampler import SamplerSettings
    from ssdd_bench.generation.samples import DrawPlan
    from ssdd_bench.plugins.registry import parse_requests
    from ssdd_bench.report.frame import to_frame
    from ssdd_bench.report.tables import to_markdown
    from ssdd_bench.train.latent_model import load_generator, shipped_for

    if data and (dit or not res):
        raise click.UsageError("--data needs --res, and trains a DiT: leave --dit out")
    if not data and (res or limit or iterations or minutes):
        raise click.UsageError(
            "without --data nothing is trained: leave --res, --limit, --iterations, --minutes out"
        )
    if threads:
        torch.set_num_threads(threads)
    keys = tuple(key.strip() for key in metrics.split(",") if key.strip())
    fetch_weights(weights_of(keys), offline, False, Console(stderr=True, quiet=quiet))
    chosen = choose_device(device)
    loaded, record = open_tokenizer(tokenizer, chosen)
    encoder = encoder_sha256(loaded, record)
    pairs = [open_tokenizer(one.label, chosen) for one in parse_requests(decoders or tokenizer)]
    for decoder, described in pairs:  # before hours of training
        check_encoder(decoder, described, encoder, record.label, "--decoders")
    if data and res:
        source = open_images(data, limit)
        plan = plan_latents(source, loaded, record, res)
        with image_bar("latents", len(source), quiet) as advance:
            encode_set(
                source, loaded, plan, out / "latents", chosen, batch_size, (0, 1), typed(), advance
            )
        dit = train(
            out / "latents", recipe, out / "dit", iterations, minutes, threads, device, False, quiet
        )
    elif dit is None:
        dit = shipped_for(encoder)
    generator = load_generator(dit)
    results: list[tuple[Result, Path]] = []
    for (decoder, described), scale, number in product(pairs, cfg, map(int, seed)):
        name = f"{described.label} cfg {scale:g} seed {number}"
        folder = out / "samples" / re.sub(r"[^A-Za-z0-9.]+", "-", name)
        settings = SamplerSettings(sampler, steps, scale, cfg_interval, cfg_channels)
        drawn = DrawPlan(
            folder, samples, number, labels, settings, batch_size, (0, 1), out / "drawn", typed()
        )
        with image_bar(name, samples, quiet) as advance:
            draw_samples(generator, decoder, described, drawn, chosen, advance)
        scored = GenerationScorePlan(
            samples=folder,
            reference=reference,
            out=out / "results",
            protocol=protocol,
            metrics=keys,
            limit=reference_limit,
            device=device,
            command=typed(),
        )
        results.append(score_generated(scored))
    frame = to_frame([result for result, _ in results])
    path = write_text(out / "results" / "table.md", to_markdown(frame))
    if as_json:
        cells = [describe_result(result, file) for result, file in results]
        print_json({"dit": dit, "table": path, "cells": cells})
    elif not quiet:
        show_table(frame)
        click.echo(f"{path} and {len(results)} result files beside it", err=True)
