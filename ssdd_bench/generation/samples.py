"""Generated samples as a whole: what was asked for, and the files that hold what was drawn."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ssdd_bench.api import Tokenizer
from ssdd_bench.data.npz import write_npz
from ssdd_bench.data.statistics import ChannelSums
from ssdd_bench.evaluation.environment import describe_environment, describe_execution, hide_home
from ssdd_bench.generation.check import check_colours, check_latents
from ssdd_bench.generation.labels import LabelRule
from ssdd_bench.generation.latents import CPU_BATCH
from ssdd_bench.generation.model import LatentModel
from ssdd_bench.generation.sampler import SamplerSettings
from ssdd_bench.results.files import write_atomically
from ssdd_bench.results.samples import GeneratedRecord
from ssdd_bench.results.schema import (
    GenerationRecord,
    LatentRecord,
    Timing,
    TokenizerRecord,
)

GRID = (4, 10)  # rows and most columns of the sample picture


@dataclass(frozen=True)
class DrawPlan:
    """Which samples to draw.

    Attributes:
        out: folder of the samples.
        samples: how many.
        seed: of their noise, and of random labels.
        labels: how classes are chosen.
        settings: of the sampler.
        batch_size: samples a call on a GPU; a CPU takes ``CPU_BATCH``.
        part: (i, n) draws every n-th batch from the i-th, for several processes; a run with
            (0, 1) fills in what is missing and puts everything together.
        shared: folder in which drawn latents are kept for other decoders; None keeps none.
        command: what the user typed.
    """

    out: Path
    samples: int
    seed: int = 0
    labels: LabelRule = "equal"
    settings: SamplerSettings = field(default_factory=SamplerSettings)
    batch_size: int = CPU_BATCH
    part: tuple[int, int] = (0, 1)
    shared: Path | None = None
    command: str = ""


def put_together(
    plan: DrawPlan,
    model: LatentModel,
    tokenizer: Tokenizer,
    record: TokenizerRecord,
    labels: NDArray[np.int64],
    batches: Iterable[dict[str, NDArray[Any]]],
    batch_size: int,
    work: tuple[float, float | None],
    identity: str,
    device: torch.device,
) -> GeneratedRecord:
    """Write the samples as one file, a picture of the first, and the record.

    Args:
        plan: what was asked for.
        model: the network and its facts.
        tokenizer: whose decoder was used.
        record: its description.
        labels: of all samples.
        batches: in order; see :meth:`ssdd_bench.generation.draw._Drawing._decode`.
        batch_size: samples in each but the last.
        work: GMAC per image of the network and of the decoder.
        identity: hash of whatever decides the samples.
        device: that they were drawn on.
    """
    facts, spec = model.facts, tokenizer.latent
    side = model.resolution
    seen = _Totals(labels, min(GRID[1], model.config.classes))
    write_npz(plan.out / "samples.npz", seen.watch(batches), (plan.samples, side, side, 3), labels)
    picture = Image.fromarray(seen.picture())
    write_atomically(plan.out / "samples.png", lambda path: picture.save(path, format="PNG"))
    result = GeneratedRecord(
        fingerprint=identity,
        generation=GenerationRecord(
            model=model.config.name,
            weights=model.weights,
            params=sum(one.numel() for one in model.network.parameters()),
            objective=facts.objective,
            sampler=plan.settings.method,
            steps=plan.settings.steps,
            evaluations=plan.settings.evaluations(),
            guidance_scale=float(plan.settings.cfg),
            guidance_interval=plan.settings.interval,
            guided_channels=min(plan.settings.cfg_channels or spec.channels, spec.channels),
            labels=plan.labels,
            classes=model.config.classes,
            statistics="per channel" if facts.encoder_sha256 else "by the tokenizer",
            model_time=seen.timing(0, batch_size, work[0]),
            decoder_time=seen.timing(1, batch_size, work[1]),
            training=model.training,
        ),
        tokenizer=record,
        decoder_steps=tokenizer.steps,
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
        samples=plan.samples,
        seed=plan.seed,
        classes=facts.classes,
        warnings=(*check_latents(seen.latents()), *check_colours(seen.colours(), facts.pixels)),
        execution=describe_execution(device, [model.network, *tokenizer.networks().values()]),
        environment=describe_environment(device),
        command=hide_home(plan.command),
    )
    text = json.dumps(asdict(result), indent=2, sort_keys=True) + "\n"
    path = plan.out / "generated.json"
    write_atomically(path, lambda target: target.write_text(text, "utf-8"))
    return result


class _Totals:
    """What is kept of the batches while they pass by: sums, times and a few images."""

    def __init__(self, labels: NDArray[np.int64], columns: int) -> None:
        self._wanted = [np.flatnonzero(labels == label)[: GRID[0]] for label in range(columns)]
        self._needed = {int(number) for numbers in self._wanted for number in numbers}
        self._shown: dict[int, NDArray[np.uint8]] = {}
        self._latents: list[ChannelSums] = []
        self._colours: list[ChannelSums] = []
        self._seconds: list[NDArray[np.float64]] = []
        self._fresh: list[NDArray[np.bool_]] = []

    def watch(self, batches: Iterable[dict[str, NDArray[Any]]]) -> Iterator[NDArray[np.uint8]]:
        """Pass the images on."""
        start = 0
        for batch in batches:
            images = batch["images"]
            count = int(batch["latent_count"])
            self._latents.append(ChannelSums(len(images), count, batch["latent_sums"]))
            self._colours.append(ChannelSums.of(images.transpose(0, 3, 1, 2)))
            self._seconds.append(batch["seconds"])
            self._fresh.append(batch["fresh"])
            numbers = self._needed & set(range(start, start + len(images)))
            self._shown |= {number: images[number - start] for number in numbers}
            start += len(images)
            yield images

    def latents(self) -> ChannelSums:
        """Of the latents drawn, in the network's space."""
        return sum(self._latents[1:], self._latents[0])

    def colours(self) -> ChannelSums:
        """Of the decoded images, 0 to 255."""
        return sum(self._colours[1:], self._colours[0])

    def timing(self, column: int, batch: int, gmac: float | None) -> Timing:
        """Seconds of a batch; those that warmed up are left out where there are others."""
        seconds = np.stack(self._seconds)[:, column]
        warm = ~np.stack(self._fresh)[:, column]
        used = seconds[warm] if warm.any() else seconds
        q1, median, q3 = (float(q) for q in np.quantile(used, (0.25, 0.5, 0.75)))
        return Timing(
            median_s=median,
            q1_s=q1,
            q3_s=q3,
            repeats=len(used),
            warmup=len(seconds) - len(used),
            batch=batch,
            images_per_s=batch / median,
            gmac_per_image=gmac,
            peak_memory_bytes=None,
            peak_memory_kind="",
        )

    def picture(self) -> NDArray[np.uint8]:
        """The first samples of the first classes, a column for each class."""
        side = next(iter(self._shown.values())).shape[0]
        rows = max(map(len, self._wanted))
        picture = np.full((rows * side, len(self._wanted) * side, 3), 255, np.uint8)
        for column, numbers in enumerate(self._wanted):
            for row, number in enumerate(numbers):
                area = np.s_[row * side : (row + 1) * side, column * side : (column + 1) * side]
                picture[area] = self._shown[int(number)]
        return picture
