"""``ssdd-bench gen all``: from folders of images to rows of generation scores."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Annotated

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._output import describe_result, print_json, show_tables
from ssdd_bench.cli._training import check_installed, run_trainer
from ssdd_bench.cli._values import CommaList
from ssdd_bench.cli._verbs import option, typed, verb
from ssdd_bench.cli._weights import fetch_weights
from ssdd_bench.errors import counted


@verb
def command(
    *,
    tokenizer: options.Tokenizer,
    decoders: options.Tokenizers | None = None,
    data: options.Data | None = None,
    dit: options.DiT | None = None,
    limit: options.Limit | None = None,
    max_image_mb: options.MaxImageMB = 256,
    reference: Annotated[Path, option("Compare with these images, or an npz with mu and sigma.")],
    reference_limit: options.ReferenceLimit | None = None,
    res: options.Resolution | None = None,
    out: Annotated[Path, option("Write everything to this folder.")],
    recipe: options.DiTRecipe = "nano",
    iterations: options.Iterations | None = None,
    minutes: options.Minutes | None = None,
    samples: options.Samples = 50_000,
    labels: options.Labels = "equal",
    sampler: options.Sampler | None = None,
    steps: options.Steps = 250,
    cfg: Annotated[
        tuple[float, ...],
        option("Guide with these scales; 1 is none.", "SCALE,...", CommaList(float, "1,1.5")),
    ] = (1.0,),
    cfg_interval: options.GuidanceInterval = (0.0, 1.0),
    cfg_channels: options.GuidedChannels | None = None,
    seed: options.Seeds = (0,),
    protocol: options.Protocol = "gfid-v1",
    metrics: options.SampleMetrics = (),
    batch_size: options.BatchSize = 64,
    threads: options.Threads | None = None,
    device: options.Device = "auto",
    launching: options.Launching,
    offline: options.Offline = False,
    quiet: options.Quiet = False,
) -> None:
    """Encode, train, sample and score in one go.

    Samples are made with every decoder, guidance scale and seed. --decoders are tokenizers that
    share the encoder, by default TOKENIZER alone. OUT gets latents, dit, samples and results. What
    is there is kept: the same command resumes. Without --data nothing is encoded or trained: a
    trained DiT (--dit) samples for other decoders, guidance or seeds. Each GPU has a worker
    process, or the CPU has one; ranks of torchrun share the work too, training included.
    """
    from ssdd_bench.data.latents import LatentSet
    from ssdd_bench.evaluation.sample_worker import ScoringPlan
    from ssdd_bench.evaluation.samples import find_generation_protocol, score_samples
    from ssdd_bench.generation.batches import SamplesConfig
    from ssdd_bench.generation.identity import check_shared_encoder
    from ssdd_bench.generation.latents import LatentsPlan, encode_latents
    from ssdd_bench.generation.model import shipped_for
    from ssdd_bench.generation.sampler import SamplerSettings
    from ssdd_bench.generation.samples import SamplingPlan, generate_samples
    from ssdd_bench.plugins.registry import parse_requests
    from ssdd_bench.report.frame import to_frame
    from ssdd_bench.report.loading import load_source
    from ssdd_bench.report.tables.build import build_tables
    from ssdd_bench.report.tables.markdown import to_markdown
    from ssdd_bench.results.files import write_text
    from ssdd_bench.train.recipe import DiTRecipe, load_recipe

    if data and (dit or not res):
        raise click.UsageError("--data needs --res, and trains a DiT: leave --dit out")
    if not data and (res or limit or iterations or minutes):
        raise click.UsageError(
            "without --data nothing is trained: leave --res, --limit, --iterations, --minutes out"
        )
    if launching.on_slurm:
        raise click.UsageError("each step needs the one before: give SLURM the four verbs")
    training = load_recipe(recipe, DiTRecipe)
    if data and res:  # What cannot be trained is refused before anything is loaded or encoded.
        check_installed()
        from ssdd_bench.train.stages.dit import check_enough_images

        latents = LatentsPlan(
            tokenizer,
            data,
            res,
            out / "latents",
            limit,
            batch_size=batch_size,
            max_image_mb=max_image_mb,
            command=typed(),
        )
        images = latents.open()
        check_enough_images(training.dit.batch_size, len(images))
        latents = replace(latents, data=images, limit=None)  # which are not listed again
    options.set_threads(threads)
    launch = launching.make(device, threads)
    connection = click.get_current_context().with_resource(ExitStack())
    connection.enter_context(launch.connected())  # once for all steps
    is_first = launch.rank is None or launch.rank.rank == 0
    quiet = quiet or not is_first
    fetch_weights(metrics, offline, False, quiet)
    chosen = launch.choose_device(device)
    requests = parse_requests(decoders or tokenizer)
    # Before hours of training.
    encoder, decoding = check_shared_encoder(tokenizer, requests)
    if data and res:
        from ssdd_bench.train.pipeline import make_dit_trainer

        encode_latents(latents, chosen, launch, progress=not quiet)
        trainer = make_dit_trainer(
            LatentSet(out / "latents"),
            training,
            out / "dit",
            chosen,
            recipe_name=recipe,
            command=typed(),
        )
        run_trainer(trainer, iterations, minutes, restart=False, quiet=quiet)
        trainer.accelerator.end_training()  # ranks meet anew to sample
        dit = trainer.weights_path
    dit = dit or shipped_for(encoder)

    def describe(decoder: str, scale: float, number: int) -> SamplesConfig:
        name = f"{decoder} cfg {scale:g} seed {number}"
        return SamplesConfig(
            out=out / "samples" / re.sub(r"[^A-Za-z0-9.]+", "-", name),
            samples=samples,
            seed=number,
            labels=labels,
            settings=SamplerSettings(sampler or "euler", steps, scale, cfg_interval, cfg_channels),
            batch_size=batch_size,
            shared=out / "sampled",
            command=typed(),
        )

    plans = [
        SamplingPlan(
            request,
            tuple(describe(label, scale, number) for scale, number in product(cfg, seed)),
            dit,
            default_sampler=sampler is None,
        )
        for request, label in zip(requests, decoding, strict=True)
    ]
    scoring = ScoringPlan(
        samples=tuple(config.out for plan in plans for config in plan.configs),
        reference=reference,
        protocol=find_generation_protocol(protocol),
        out=out / "results",
        metrics=metrics,
        limit=reference_limit,
        command=typed(),
    )
    generate_samples(plans, chosen, launch, progress=not quiet)
    results = score_samples(scoring, chosen, launch, progress=not quiet)
    connection.close()
    if not is_first:
        return
    frame = to_frame([one.record for one in results])
    whole = load_source([out / "results"])  # those of earlier commands among them
    path = write_text(out / "results" / "table.md", to_markdown(whole.tables))
    jobs = [describe_result(one, one.path) for one in results]
    if not print_json({"dit": dit, "table": path, "jobs": jobs}) and not quiet:
        show_tables(build_tables(frame))
        files = counted(len(whole.results), "result file")
        click.echo(f"{path} and {files} beside it", err=True)
