"""Generate samples: latents from a network, mapped back and decoded, as one file with a record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ssdd_bench.data.npz import write_npz
from ssdd_bench.data.statistics import ChannelSums
from ssdd_bench.errors import OptionError, UserError
from ssdd_bench.evaluation.environment import describe_environment, describe_execution, hide_home
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.evaluation.memory import keep_freed_memory
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
    on_images: Callable[[int], None] = lambda count: None,
) -> GeneratedRecord | None:
    """Make the samples that are not on disk yet, then join them.

    Args:
        model: network of latents; it is moved to ``device``.
        loaded: tokenizer on ``device``; its decoder is used.
        config: samples to generate, and their folder.
        device: to compute on.
        on_images: called with the number of samples that were finished, kept ones included.

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
        on_images(config.samples)
        return done
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        batches.claim()
        for start in batches.starts(config.shard):
            batches.load(start)
            on_images(min(batches.size, config.samples - start))
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
    seen = _Summary(batches.labels, min(GRID[1], model.config.classes))
    images = seen.watch(batches.load(start) for start in batches.starts())
    shape = (config.samples, side, side, 3)
    write_npz(config.out / "samples.npz", images, shape, batches.labels)
    picture = Image.fromarray(seen.picture())
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
            model_time=seen.timing(0, batches.size, network_work),
            decoder_time=seen.timing(1, batches.size, decoder_work),
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
        warnings=(*check_latents(seen.latents), *check_colours(seen.colours, facts.pixels)),
        execution=describe_execution(
            batches.device, [model.network, *batches.tokenizer.networks().values()]
        ),
        environment=describe_environment(batches.device),
        command=hide_home(config.command),
    )
    write_json(config.out / "generated.json", asdict(result))
    return result


class _Summary:
    """Facts about the batches, collected while their images are written.

    Attributes:
        latents: sums of the sampled latents, in the network's space.
        colours: sums of the decoded images, 0 to 255.
    """

    latents: ChannelSums
    colours: ChannelSums

    def __init__(self, labels: NDArray[np.int64], columns: int) -> None:
        self._wanted = [np.flatnonzero(labels == label)[: GRID[0]] for label in range(columns)]
        self._needed = {int(number) for numbers in self._wanted for number in numbers}
        self._shown: dict[int, NDArray[np.uint8]] = {}
        self._seconds: list[NDArray[np.float64]] = []
        self._fresh: list[NDArray[np.bool_]] = []

    def watch(self, batches: Iterable[dict[str, NDArray[Any]]]) -> Iterator[NDArray[np.uint8]]:
        """Pass the images on."""
        start = 0
        for batch in batches:
            images = batch["images"]
            latents = ChannelSums(len(images), int(batch["latent_count"]), batch["latent_sums"])
            colours = ChannelSums.of(images.transpose(0, 3, 1, 2))
            self.latents = self.latents + latents if start else latents
            self.colours = self.colours + colours if start else colours
            self._seconds.append(batch["seconds"])
            self._fresh.append(batch["fresh"])
            numbers = self._needed & set(range(start, start + len(images)))
            self._shown |= {number: images[number - start] for number in numbers}
            start += len(images)
            yield images

    def timing(self, column: int, batch: int, gmac: float | None) -> Timing:
        """Summarise the seconds per batch, without those that include the warm-up if possible."""
        seconds = np.stack(self._seconds)[:, column]
        warm = ~np.stack(self._fresh)[:, column]
        used = seconds[warm] if warm.any() else seconds
        return summarise(used.tolist(), len(seconds) - len(used), batch, gmac)

    def picture(self) -> NDArray[np.uint8]:
        """Draw the first samples of the first classes, a column for each class."""
        side = next(iter(self._shown.values())).shape[0]
        rows = max(map(len, self._wanted))
        picture = np.full((rows * side, len(self._wanted) * side, 3), 255, np.uint8)
        for column, numbers in enumerate(self._wanted):
            for row, number in enumerate(numbers):
                area = np.s_[row * side : (row + 1) * side, column * side : (column + 1) * side]
                picture[area] = self._shown[int(number)]
        return picture
