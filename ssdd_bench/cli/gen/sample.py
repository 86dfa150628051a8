"""``ssdd-bench gen sample``: sample images with a model of latents and a tokenizer's decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._output import print_json
from ssdd_bench.cli._slurm import submit_verb
from ssdd_bench.cli._verbs import option, typed, verb
from ssdd_bench.plugins.registry import parse_request


@verb
def command(
    *,
    tokenizer: options.Tokenizer,
    dit: options.DiT | None = None,
    out: Annotated[Path, option("Write the samples to this folder.")],
    samples: options.Samples = 40,
    labels: options.Labels = "equal",
    sampler: options.Sampler | None = None,
    steps: options.Steps = 50,
    cfg: options.Guidance = 1.0,
    cfg_interval: options.GuidanceInterval = (0.0, 1.0),
    cfg_channels: options.GuidedChannels | None = None,
    seed: options.Seed = 0,
    objective: Annotated[
        Literal["flow", "ddpm"] | None,
        option("Tell what a published checkpoint predicts: ddpm for DiT, flow for SiT."),
    ] = None,
    shared: Annotated[Path | None, option("Keep sampled latents here for other decoders.")] = None,
    batch_size: options.BatchSize = 64,
    dtype: options.NetworkDtype = "float32",
    device: options.Device = "auto",
    launching: options.Launching,
    shard: options.Shard | None = None,
    quiet: options.Quiet = False,
) -> None:
    """Sample images with a model of latents and a decoder.

    OUT gets samples.npz (arr_0, labels in arr_1), samples.png and a record. Batches that are there
    are kept. Each GPU has a worker process, or the CPU has one; ranks of torchrun share the work
    too.
    """
    parse_request(tokenizer)  # a mistake is told before anything is imported or begun
    if submit_verb(launching, device, out, shard is not None):
        return
    from ssdd_bench.generation.batches import SamplesConfig
    from ssdd_bench.generation.sampler import SamplerSettings
    from ssdd_bench.generation.samples import SamplingPlan, generate_samples

    config = SamplesConfig(
        out=out,
        samples=samples,
        seed=seed,
        labels=labels,
        settings=SamplerSettings(sampler or "euler", steps, cfg, cfg_interval, cfg_channels),
        batch_size=batch_size,
        dtype=dtype,
        shared=shared,
        command=typed(),
    )
    plan = SamplingPlan(tokenizer, (config,), dit, objective, default_sampler=sampler is None)
    launch = launching.make(device, shard=shard)
    found = generate_samples([plan], launch.choose_device(device), launch, progress=not quiet)
    if launch.rank is not None and launch.rank.rank:
        return
    made = found.get(out)
    document = {"path": out, "shard": shard, "finished": bool(made), "record": made}
    if print_json(document) or made is None:
        return
    for warning in made.warnings:
        click.echo(f"warning: {warning}", err=True)
    if not quiet:
        click.echo(f"{out}: samples.npz, samples.png and generated.json", err=True)
