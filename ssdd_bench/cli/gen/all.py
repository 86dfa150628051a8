"""``ssdd-bench gen all``: from folders of images to rows of generation scores."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._complete import complete_generation_metrics
from ssdd_bench.cli._generation import choose_sampler, open_tokenizer
from ssdd_bench.cli._json import describe_result, json_option, print_json
from ssdd_bench.cli._progress import progress_bar
from ssdd_bench.cli._typed import typed

if TYPE_CHECKING:
    from ssdd_bench.generation.sampler import Method
    from ssdd_bench.results.schema import Result


@click.command("all", short_help="Encode, train, sample and score in one go.")
@options.tokenizer
@options.decoders
@options.data("none: take --dit")
@options.dit
@options.limit
@options.reference
@options.reference_limit
@options.resolution()
@options.out("Folder of everything.")
@options.recipe("nano", "nano, nano-1, xl-2")
@options.iterations
@options.minutes
@options.samples(50_000)
@options.labels
@options.sampler
@options.steps(250)
@options.cfgs
@options.cfg_interval
@options.cfg_channels
@options.seeds
@options.protocol("gfid-v1")
@options.metrics(complete_generation_metrics)
@options.batch_size(64, on_cpu="16")
@options.threads
@options.device
@options.offline
@options.quiet
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
    sampler: Method | None,
    steps: int,
    cfg: tuple[float, ...],
    cfg_interval: tuple[float, float],
    cfg_channels: int | None,
    seed: tuple[int, ...],
    protocol: str,
    metrics: tuple[str, ...],
    batch_size: int,
    device: str,
    offline: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Encode, train, sample with every decoder, scale and seed, and score.

    OUT gets latents, dit, samples and results. What is there is kept: the same command resumes.
    Without --data nothing is encoded or trained: a trained DiT samples for other decoders,
    guidance or seeds.
    """
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
    from ssdd_bench.generation.model import load_latent_model, shipped_for
    from ssdd_bench.generation.sampler import SamplerSettings
    from ssdd_bench.generation.samples import DrawPlan
    from ssdd_bench.plugins.registry import parse_requests
    from ssdd_bench.report.frame import to_frame
    from ssdd_bench.report.tables.build import build_tables
    from ssdd_bench.report.tables.markdown import to_markdown

    if data and (dit or not res):
        raise click.UsageError("--data needs --res, and trains a DiT: leave --dit out")
    if not data and (res or limit or iterations or minutes):
        raise click.UsageError(
            "without --data nothing is trained: leave --res, --limit, --iterations, --minutes out"
        )
    fetch_weights(metrics, offline, False, Console(stderr=True, quiet=quiet))
    chosen = choose_device(device)
    loaded, record = open_tokenizer(tokenizer, chosen)
    encoder = encoder_sha256(loaded, record)
    pairs = [open_tokenizer(one.label, chosen) for one in parse_requests(decoders or tokenizer)]
    for decoder, described in pairs:  # before hours of training
        check_encoder(decoder, described, encoder, record.label, "--decoders")
    if data and res:
        source = open_images(data, limit)
        plan = plan_latents(source, loaded, record, res)
        folder = out / "latents"
        with progress_bar("latents", len(source), quiet=quiet) as bar:
            encode_set(
                source, loaded, plan, folder, chosen, batch_size, (0, 1), typed(), bar.advance
            )
        dit = train(folder, recipe, out / "dit", iterations, minutes, device, False, quiet)
    elif dit is None:
        dit = shipped_for(encoder)
    model = load_latent_model(dit)
    method = choose_sampler(sampler, model.facts.objective)
    results: list[tuple[Result, Path]] = []
    for (decoder, described), scale, number in product(pairs, cfg, seed):
        name = f"{described.label} cfg {scale:g} seed {number}"
        folder = out / "samples" / re.sub(r"[^A-Za-z0-9.]+", "-", name)
        settings = SamplerSettings(method, steps, scale, cfg_interval, cfg_channels)
        drawn = DrawPlan(
            folder, samples, number, labels, settings, batch_size, (0, 1), out / "drawn", typed()
        )
        with progress_bar(name, samples, quiet=quiet) as bar:
            draw_samples(model, decoder, described, drawn, chosen, bar.advance)
        scored = GenerationScorePlan(
            samples=folder,
            reference=reference,
            out=out / "results",
            protocol=protocol,
            metrics=metrics,
            limit=reference_limit,
            device=device,
            command=typed(),
        )
        results.append(score_generated(scored))
    frame = to_frame([result for result, _ in results])
    path = write_text(out / "results" / "table.md", to_markdown(build_tables(frame)))
    if as_json:
        cells = [describe_result(result, file) for result, file in results]
        print_json({"dit": dit, "table": path, "cells": cells})
    elif not quiet:
        show_table(frame)
        click.echo(f"{path} and {len(results)} result files beside it", err=True)
