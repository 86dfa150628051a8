"""Generation from images to scores: encode, train, sample with every decoder, and score."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import torch

from ssdd_bench.data.latents import LatentSet
from ssdd_bench.data.source import ImageSource
from ssdd_bench.evaluation.environment import hide_home
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.evaluation.progress import progress_bar
from ssdd_bench.evaluation.result import Evaluation
from ssdd_bench.evaluation.samples import evaluate_samples
from ssdd_bench.generation.batches import SamplesConfig
from ssdd_bench.generation.identity import check_encoder, encoder_sha256
from ssdd_bench.generation.latents import configure_latents, encode_latents
from ssdd_bench.generation.model import load_latent_model, shipped_for
from ssdd_bench.generation.sampler import Method, default_method
from ssdd_bench.generation.samples import generate_samples
from ssdd_bench.train.loop import Trainer
from ssdd_bench.train.pipeline import make_dit_trainer
from ssdd_bench.train.recipe import DiTRecipe


@dataclass(frozen=True)
class TrainConfig:
    """Training of a new DiT.

    Attributes:
        source: training images, in class folders.
        resolution: side of the images in pixels.
        recipe: of the DiT.
        recipe_name: for its card.
        run: trains, for example under a progress bar.
    """

    source: ImageSource
    resolution: int
    recipe: DiTRecipe
    recipe_name: str
    run: Callable[[Trainer], None]


@dataclass(frozen=True)
class PipelineConfig:
    """Samples to generate, and their scores.

    Attributes:
        out: folder that gets ``latents``, ``dit``, ``sampled``, ``samples`` and ``results``.
        samples: template of the samples; folder, sampler, guidance scale and seed are replaced.
        method: sampler; None for the usual one of the network.
        scales: of guidance.
        seeds: of the samples.
        reference: images to compare with, or an npz with moments.
        protocol: id of a protocol of generation.
        metrics: keys; empty for the default ones.
        reference_limit: number of reference images to use; None for all.
    """

    out: Path
    samples: SamplesConfig
    method: Method | None
    scales: tuple[float, ...]
    seeds: tuple[int, ...]
    reference: Path
    protocol: str = "gfid-v1"
    metrics: tuple[str, ...] = ()
    reference_limit: int | None = None


def run_pipeline(
    encoder: LoadedTokenizer,
    decoders: Sequence[LoadedTokenizer],
    dit: Path | TrainConfig | None,
    config: PipelineConfig,
    device: torch.device,
    progress: bool = True,
) -> tuple[Path, list[Evaluation]]:
    """Encode and train where asked to, then sample with every decoder, scale and seed, and score.

    Files that are there are kept, so a run that was stopped continues.

    Args:
        encoder: tokenizer that encodes the training images.
        decoders: tokenizers with the same encoder.
        dit: weights of a DiT, or how to train one; None for the one that comes with the package.
        config: samples and scores.
        device: of the tokenizers.
        progress: True shows a bar of each step on standard error.

    Returns:
        The weights of the DiT, and the results, which are saved.

    Raises:
        UserError: a decoder has another encoder, or ``config.out`` holds other files.
        WeightsError: no DiT comes with the package for this encoder.
    """
    sha256 = encoder_sha256(encoder)
    for decoder in decoders:  # before hours of training
        check_encoder(decoder, sha256, encoder.record.label, "--decoders")
    if isinstance(dit, TrainConfig):
        dit = _train(encoder, dit, config, device, progress)
    elif dit is None:
        dit = shipped_for(sha256)
    model = load_latent_model(dit)
    method = config.method or default_method(model.facts.objective)
    results = []
    for decoder, scale, seed in product(decoders, config.scales, config.seeds):
        name = f"{decoder.record.label} cfg {scale:g} seed {seed}"
        folder = config.out / "samples" / re.sub(r"[^A-Za-z0-9.]+", "-", name)
        samples = replace(
            config.samples,
            out=folder,
            seed=seed,
            settings=replace(config.samples.settings, method=method, cfg=scale),
            shared=config.out / "sampled",
        )
        with progress_bar(name, samples.samples, quiet=not progress) as bar:
            generate_samples(model, decoder, samples, device, bar.images_done)
        results.append(
            evaluate_samples(
                folder,
                config.reference,
                protocol=config.protocol,
                metrics=config.metrics,
                limit=config.reference_limit,
                device=device,
                progress=progress,
                out=config.out / "results",
                command=samples.command,
            )
        )
    return dit, results


def _train(
    encoder: LoadedTokenizer,
    config: TrainConfig,
    pipeline: PipelineConfig,
    device: torch.device,
    progress: bool,
) -> Path:
    """Encode the training images and train a DiT; return its weights."""
    source, folder, command = config.source, pipeline.out / "latents", pipeline.samples.command
    latents = configure_latents(source, encoder, config.resolution)
    with progress_bar("latents", len(source), quiet=not progress) as bar:
        encode_latents(
            source,
            encoder.tokenizer,
            latents,
            folder,
            device,
            pipeline.samples.batch_size,
            command=command,
            on_images=bar.images_done,
        )
    trainer = make_dit_trainer(
        LatentSet(folder),
        config.recipe,
        pipeline.out / "dit",
        device,
        recipe_name=config.recipe_name,
        command=hide_home(command),
    )
    config.run(trainer)
    return trainer.weights_path
