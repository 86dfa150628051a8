"""``ssdd-bench gen all``: from folders of images to rows of generation scores."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Annotated

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._output import describe_result, print_json, show_table, write_table
from ssdd_bench.cli._progress import check_installed, fetch_weights, run_trainer
from ssdd_bench.cli._verbs import option, typed, verb


@verb
def command(
    *,
    tokenizer: options.Tokenizer,
    decoders: options.Tokenizers | None = None,
    data: options.Data | None = None,
    dit: options.DiT | None = None,
    limit: options.Limit | None = None,
    max_image_mb: options.MaxImageMB = 256,
    reference: Annotated[Path, option("Images to compare with, or an npz with mu and sigma.")],
    reference_limit: options.ReferenceLimit | None = None,
    res: options.Resolution | None = None,
    out: Annotated[Path, option("Folder of everything.")],
    recipe: options.DiTRecipe = "nano",
    iterations: options.Iterations | None = None,
    minutes: options.Minutes | None = None,
    samples: options.Samples = 50_000,
    labels: options.Labels = "equal",
    sampler: options.Sampler | None = None,
    steps: options.Steps = 250,
    cfg: Annotated[
        tuple[float, ...],
        option("Guidance scales; 1 is none.", "SCALE,...", options.CommaList(float, "1,1.5")),
    ] = (1.0,),
    cfg_interval: options.GuidanceInterval = (0.0, 1.0),
    cfg_channels: options.GuidedChannels | None = None,
    seed: options.Seeds = (0,),
    protocol: options.Protocol = "gfid-v1",
    metrics: options.SampleMetrics = (),
    batch_size: options.BatchSize = 64,
    threads: options.Threads | None = None,
    device: options.Device = "auto",
    offline: options.Offline = False,
    quiet: options.Quiet = False,
) -> None:
    """Encode, train, sample and score in one go.

    Samples are made with every decoder, guidance scale and seed. --decoders are tokenizers that
    share the encoder, by default TOKENIZER alone. OUT gets latents, dit, samples and results. What
    is there is kept: the same command resumes. Without --data nothing is encoded or trained: a
    trained DiT (--dit) samples for other decoders, guidance or seeds.
    """
    from ssdd_bench.data.images import open_images
    from ssdd_bench.data.latents import LatentSet
    from ssdd_bench.evaluation.environment import choose_device
    from ssdd_bench.evaluation.loading import load
    from ssdd_bench.evaluation.samples import evaluate_samples
    from ssdd_bench.generation.batches import SamplesConfig
    from ssdd_bench.generation.identity import check_encoder, encoder_sha256
    from ssdd_bench.generation.latents import configure_latents, encode_latents
    from ssdd_bench.generation.model import load_latent_model, shipped_for
    from ssdd_bench.generation.sampler import SamplerSettings, default_method
    from ssdd_bench.generation.samples import generate_samples
    from ssdd_bench.plugins.registry import parse_requests
    from ssdd_bench.report.frame import to_frame
    from ssdd_bench.train.recipe import DiTRecipe, load_recipe

    if data and (dit or not res):
        raise click.UsageError("--data needs --res, and trains a DiT: leave --dit out")
    if not data and (res or limit or iterations or minutes):
        raise click.UsageError(
            "without --data nothing is trained: leave --res, --limit, --iterations, --minutes out"
        )
    options.set_threads(threads)
    fetch_weights(metrics, offline, False, quiet)
    chosen = choose_device(device)
    encoder = load(tokenizer, chosen)
    sha256 = encoder_sha256(encoder)
    decoding = [load(request, chosen) for request in parse_requests(decoders or tokenizer)]
    for decoder in decoding:  # before hours of training
        check_encoder(decoder, sha256, encoder.record.label, "--decoders")
    if data and res:
        check_installed()
        from ssdd_bench.train.pipeline import make_dit_trainer

        source = open_images(data, limit, max_image_mb=max_image_mb)
        encode_latents(
            source,
            encoder.tokenizer,
            configure_latents(source, encoder, res),
            out / "latents",
            chosen,
            batch_size,
            command=typed(),
            progress=not quiet,
        )
        trainer = make_dit_trainer(
            LatentSet(out / "latents"),
            load_recipe(recipe, DiTRecipe),
            out / "dit",
            chosen,
            recipe_name=recipe,
            command=typed(),
        )
        run_trainer(trainer, iterations, minutes, restart=False, quiet=quiet)
        dit = trainer.weights_path
    dit = dit or shipped_for(sha256)
    model = load_latent_model(dit, encoder.tokenizer.latent.f)
    method = sampler or default_method(model.facts.objective)
    results = []
    for decoder, scale, number in product(decoding, cfg, seed):
        name = f"{decoder.record.label} cfg {scale:g} seed {number}"
        folder = out / "samples" / re.sub(r"[^A-Za-z0-9.]+", "-", name)
        config = SamplesConfig(
            out=folder,
            samples=samples,
            seed=number,
            labels=labels,
            settings=SamplerSettings(method, steps, scale, cfg_interval, cfg_channels),
            batch_size=batch_size,
            shared=out / "sampled",
            command=typed(),
        )
        generate_samples(model, decoder, config, chosen, progress=not quiet)
        results.append(
            evaluate_samples(
                folder,
                reference,
                protocol=protocol,
                metrics=metrics,
                limit=reference_limit,
                device=chosen,
                progress=not quiet,
                out=out / "results",
                command=typed(),
            )
        )
    frame = to_frame([one.record for one in results])
    path = write_table(frame, out / "results" / "table.md")
    jobs = [describe_result(one, one.path) for one in results]
    if not print_json({"dit": dit, "table": path, "jobs": jobs}) and not quiet:
        show_table(frame)
        click.echo(f"{path} and {len(results)} result files beside it", err=True)
