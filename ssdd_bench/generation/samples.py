"""Generate samples: latents from a network, mapped back and decoded, as one file with a record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ssdd_bench.api.formats import tf32
from ssdd_bench.data.npz import write_npz
from ssdd_bench.data.statistics import ChannelSums
from ssdd_bench.errors import OptionError, UserError
from ssdd_bench.evaluation.environment import describe_environment, describe_execution, hide_home
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.evaluation.memory import keep_freed_memory
from ssdd_bench.evaluation.progress import progress_bar
from ssdd_bench.evaluation.timing import summarise
from ssdd_bench.generation.batches import SampleBatches, SamplesConfig, other_samples
from ssdd_bench.generation.check import check_colours, check_latents
from ssdd_bench.generation.identity import check_encoder
from ssdd_bench.generation.model import LatentModel
from ssdd_bench.results.files import write_atomically, write_json
from ssdd_bench.results.schema import GeneratedRecord, GenerationRecord, LatentRecord, Timing
from ssdd_bench.results.store import read_generated

GRID = (4, 10)  # rows and most columns of the sample picture


def generate_samples(
    model: LatentModel,
    loaded: LoadedTokenizer,
    config: SamplesConfig,
    device: torch.device,
    progress: bool = False,
) -> GeneratedRecord | None:
    """Make the samples that are not on disk yet, then join them.

    Args:
        model: network of latents; it is moved to ``device``.
        loaded: tokenizer on ``device``; its decoder is used.
        config: samples to generate, and their folder.
        device: to compute on.
        progress: True shows a bar on standard error.

    Returns:
        The record that was written to ``generated.json``; None for one shard of several.

    Raises:
        OptionError: the settings do not fit the network.
        UserError: the tokenizer has another encoder, or ``out`` holds other samples.
        PluginError: decoded pixels are not finite.
    """
    config.settings.check(model.facts.objective)
    if config.samples < 1:
        raise OptionError(f"samples is {config.samples}: give 1 or more")
    _check_latent(model, loaded)
    keep_freed_memory()
    batches = SampleBatches(model, loaded, config, device)
    done = read_generated(config.out)
    if done is not None:
        if done.fingerprint != batches.identity:
            raise other_samples(config.out)
        return done
    total = config.samples // config.shard[1]
    with (
        tf32(False),
        progress_bar(config.out.name, total, quiet=not progress) as bar,
    ):
        batches.claim()
        for start in batches.starts(config.shard):
            batches.load(start)
            bar.images_done(min(batches.size, config.samples - start))
        if config.shard[1] > 1:
            return None
        made = _join(batches)
    batches.discard()
    return made


def _check_latent(model: LatentModel, loaded: LoadedTokenizer) -> None:
    facts, spec, channels = model.facts, loaded.tokenizer.latent, model.config.channels
    if facts.encoder_sha256:
        what = next(iter(model.weights))
        check_encoder(loaded, facts.encoder_sha256, facts.tokenizer, what)
    elif (spec.kind, spec.channels, spec.f) != ("continuous", channels, facts.f):
        raise UserError(
            f"the network samples f{facts.f}c{channels} latents and '{loaded.record.label}' "
            f"decodes f{spec.f}c{spec.channels}: use another tokenizer"
        )


def _join(batches: SampleBatches) -> GeneratedRecord:
    """Write the samples as one file, a picture of the first, and the record."""
    model, config, spec = batches.model, batches.config, batches.tokenizer.latent
    facts, settings, side = model.facts, config.settings, model.resolution
    seen = _Summary(batches)
    shape = (config.samples, side, side, 3)
    write_npz(config.out / "samples.npz", seen.images(), shape, batches.labels)
    picture = _draw_first(batches)
    write_atomically(config.out / "samples.png", lambda path: picture.save(path, format="PNG"))
    network_work, decoder_work = batches.count_work()
    result = GeneratedRecord(
        fingerprint=batches.identity,
        generation=GenerationRecord(
            model=model.config.name,
            weights=model.weights,
            params=sum(one.numel() for one in model.network.parameters()),
            objective=facts.objective,
            sampler=settings.method,
            steps=settings.steps,
            evaluations=settings.evaluations(),
            guidance_scale=float(settings.cfg),
            guidance_interval=settings.interval,
            guided_channels=min(settings.cfg_channels or spec.channels, spec.channels),
            labels=config.labels,
            classes=model.config.classes,
            statistics="per channel" if facts.encoder_sha256 else "by the tokenizer",
            model_time=seen.timing(0, network_work),
            decoder_time=seen.timing(1, decoder_work),
            training=model.training,
        ),
        tokenizer=batches.record,
        decoder_steps=batches.tokenizer.steps,
        latent=LatentRecord(
            kind=spec.kind,
            f=spec.f,
            channels=spec.channels,
            shape=(spec.channels, side // spec.f, side // spec.f),
            tokens=(side // spec.f) ** 2,
            floats_per_pixel=spec.channels / spec.f**2,
            bits_per_pixel=None,
        ),
        resolution=side,
        samples=config.samples,
        seed=config.seed,
        classes=facts.classes,
        warnings=(
            *([] if config.dtype == "float32" else [f"model of latents in {config.dtype}"]),
            *check_latents(seen.latents),
            *check_colours(seen.colours, facts.pixels),
        ),
        execution=describe_execution(
            batches.device, [model.network, *batches.tokenizer.networks().values()]
        ),
        environment=describe_environment(batches.device),
        command=hide_home(config.command),
    )
    write_json(config.out / "generated.json", asdict(result))
    return result


def _draw_first(batches: SampleBatches) -> Image.Image:
    """Draw the first samples of the first classes, a column for each class."""
    side = batches.model.resolution
    columns = min(GRID[1], batches.model.config.classes)
    shown = [np.flatnonzero(batches.labels == label)[: GRID[0]] for label in range(columns)]
    picture = Image.new("RGB", (columns * side, max(map(len, shown)) * side), "white")
    for column, numbers in enumerate(shown):
        for row, number in enumerate(numbers.tolist()):
            start = number - number % batches.size
            pixels = batches.load(start)["images"][number - start]
            picture.paste(Image.fromarray(pixels), (column * side, row * side))
    return picture


class _Summary:
    """Facts about the batches, collected while their images are written.

    Attributes:
        latents: sums of the sampled latents, in the network's space.
        colours: sums of the decoded images, 0 to 255.
    """

    def __init__(self, batches: SampleBatches) -> None:
        self._batches = batches
        self.latents = ChannelSums(0, 0, np.zeros((2, batches.model.config.channels)))
        self.colours = ChannelSums(0, 0, np.zeros((2, 3)))
        self._seconds: list[NDArray[np.float64]] = []
        self._fresh: list[NDArray[np.bool_]] = []

    def images(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the images of all batches."""
        for start in self._batches.starts():
            batch = self._batches.load(start)
            images = batch["images"]
            count = int(batch["latent_count"])
            self.latents += ChannelSums(len(images), count, batch["latent_sums"])
            self.colours += ChannelSums.of(images.transpose(0, 3, 1, 2))
            self._seconds.append(batch["seconds"])
            self._fresh.append(batch["fresh"])
            yield images

    def timing(self, column: int, gmac: float | None) -> Timing:
        """Summarise the seconds per batch, without those that include the warm-up if possible."""
        seconds = np.stack(self._seconds)[:, column]
        warm = ~np.stack(self._fresh)[:, column]
        used = seconds[warm] if warm.any() else seconds
        return summarise(used.tolist(), len(seconds) - len(used), self._batches.size, gmac)
