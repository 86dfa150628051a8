"""Generate samples: latents from a network, mapped back and decoded, as one file with a record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ssdd_bench.api.formats import tf32
from ssdd_bench.data.npz import write_npz
from ssdd_bench.data.statistics import ChannelSums
from ssdd_bench.errors import OptionError, UserError
from ssdd_bench.evaluation.environment import describe_environment, describe_execution, hide_home
from ssdd_bench.evaluation.launch_groups import IN_PROCESS, Files, launch_groups
from ssdd_bench.evaluation.launch_settings import Launch
from ssdd_bench.evaluation.loading import LoadedTokenizer, label_of, load_once
from ssdd_bench.evaluation.memory import keep_freed_memory
from ssdd_bench.evaluation.timing import summarise
from ssdd_bench.generation.batches import SampleBatches, SamplesConfig, other_samples
from ssdd_bench.generation.check import check_colours, check_latents
from ssdd_bench.generation.identity import check_encoder, encoder_sha256
from ssdd_bench.generation.model import LatentModel, find_network, load_latent_model, shipped_for
from ssdd_bench.generation.picture import draw_columns
from ssdd_bench.generation.sampler import Objective, default_method
from ssdd_bench.launch.tasks import Group, Opened, Progress, Worker
from ssdd_bench.plugins.guard import changed_warning
from ssdd_bench.plugins.spec import TokenizerRequest
from ssdd_bench.results.files import write_atomically, write_json
from ssdd_bench.results.schema import GeneratedRecord, GenerationRecord, LatentRecord, Timing
from ssdd_bench.results.store import read_generated

GRID = (4, 10)  # rows and most columns of the sample picture


@dataclass(frozen=True)
class SamplingPlan:
    """Samples to generate with one network and one decoder.

    Attributes:
        tokenizer: what to load, or loaded already, which no other process can take.
        configs: the samples, each set in a folder of its own.
        dit: network of latents, or its path; None for the one that comes with the package.
        objective: of a published network, see
            :func:`ssdd_bench.generation.model.load_latent_model`.
        default_sampler: True replaces the method of all settings by that of the objective.
    """

    tokenizer: str | TokenizerRequest | LoadedTokenizer
    configs: tuple[SamplesConfig, ...]
    dit: Path | LatentModel | None = None
    objective: Objective | None = None
    default_sampler: bool = False


def generate_samples(
    plans: Sequence[SamplingPlan],
    device: torch.device,
    launch: Launch = IN_PROCESS,
    progress: bool = False,
) -> dict[Path, GeneratedRecord]:
    """Make the samples that are not on disk yet, and join each set.

    Args:
        plans: one for each decoder. Where sampled latents are shared, the first decoder's samples
            are made before all others.
        device: to compute on.
        launch: where to compute.
        progress: True shows a bar on standard error.

    Returns:
        The records that were written to ``generated.json``, by folder; of a share those that were
        there, and none at ranks but the first.

    Raises:
        OptionError: the settings do not fit the network.
        UserError: a tokenizer has another encoder, a folder holds other samples, or a network is
            missing.
        PluginError: decoded pixels are not finite.
    """
    for plan in plans:
        if isinstance(plan.dit, Path):
            find_network(plan.dit)  # a mistake is told before a tokenizer is loaded
    if any(config.shared for plan in plans for config in plan.configs):
        turns = [plans[:1], plans[1:]]
    else:
        turns = [plans]
    made: dict[Path, GeneratedRecord] = {}
    for turn in filter(None, turns):
        made |= _generate(turn, device, launch, progress)
    return made


def _generate(
    plans: Sequence[SamplingPlan], device: torch.device, launch: Launch, progress: bool
) -> dict[Path, GeneratedRecord]:
    configs = {
        (group, job): config
        for group, plan in enumerate(plans)
        for job, config in enumerate(plan.configs)
    }
    found = launch_groups(
        [SamplingGroup(plan, launch.crowds(device)) for plan in plans],
        [Files(config.out, "batches/*/*.npz") for config in configs.values()],
        lambda: {
            task: [
                float(count * config.settings.evaluations()) for count in config.grid(device).sizes
            ]
            for task, config in configs.items()
        },
        device,
        launch,
        "samples",
        sum(config.samples for config in configs.values()),
        quiet=not progress,
    )
    return {configs[task].out: record for task, record in found.items()}


class SamplingGroup(Group[GeneratedRecord]):
    """Sets of samples of one network and one decoder; their chunks are batches.

    With ``crowded``, several workers share a device, and clocks are read when all are done.
    """

    def __init__(self, plan: SamplingPlan, crowded: bool) -> None:
        self.plan = plan
        self.crowded = crowded
        self.name = label_of(plan.tokenizer)
        self.jobs = tuple(config.out.name for config in plan.configs)

    def load(self, device: str) -> SamplingWorker:
        """Load both networks onto a device."""
        keep_freed_memory()
        plan, chosen = self.plan, torch.device(device)
        loaded = load_once(plan.tokenizer, chosen)
        model = plan.dit or shipped_for(encoder_sha256(loaded))
        if isinstance(model, Path):
            model = load_latent_model(model, loaded.tokenizer.latent.f, plan.objective)
        return SamplingWorker(plan, model, loaded, chosen, self.crowded)


class SamplingWorker(Worker[GeneratedRecord]):
    """Makes batches of samples; for its arguments see :class:`SampleBatches`."""

    def __init__(
        self,
        plan: SamplingPlan,
        model: LatentModel,
        loaded: LoadedTokenizer,
        device: torch.device,
        crowded: bool,
    ) -> None:
        self._plan, self._model, self._loaded, self._device = plan, model, loaded, device
        self._crowded = crowded
        self._batches: dict[int, SampleBatches] = {}

    def open(self, job: int) -> Opened[GeneratedRecord]:
        """Look up which batches are there.

        Raises:
            UserError: see :func:`generate_samples`.
        """
        config, objective = self._plan.configs[job], self._model.facts.objective
        if self._plan.default_sampler:
            settings = replace(config.settings, method=default_method(objective))
            config = replace(config, settings=settings)
        config.settings.check(objective)
        if config.samples < 1:
            raise OptionError(f"samples is {config.samples}: give 1 or more")
        _check_latent(self._model, self._loaded)
        batches = SampleBatches(self._model, self._loaded, config, self._device, self._crowded)
        done = read_generated(config.out)
        if done is not None:
            if done.fingerprint != batches.identity:
                raise other_samples(config.out)
            batches.discard()  # those that a launch left which was killed when it had joined them
            return Opened(result=done)
        batches.claim()
        self._batches[job] = batches
        untimed = self._crowded and batches.clock() is None
        return Opened(batches.grid.sizes, batches.missing(), untimed)

    @tf32(False)
    def work(self, job: int, chunks: Sequence[int], progress: Progress) -> None:
        """Make some batches."""
        batches = self._batches[job]
        for chunk in chunks:
            batches.load(chunk)
            progress.images_done(batches.grid.sizes[chunk])
            progress.chunk_done(chunk)

    @tf32(False)
    def time(self, job: int, progress: Progress) -> None:
        """Time some batches again, of which several workers made the others."""
        self._batches[job].measure(progress)

    @tf32(False)
    def finish(self, job: int, progress: Progress) -> GeneratedRecord:
        """Join all batches; one that is damaged is made again."""
        made = _join(self._batches[job])
        self._batches[job].discard()
        return made


def _check_latent(model: LatentModel, loaded: LoadedTokenizer) -> None:
    facts, spec, channels = model.facts, loaded.tokenizer.latent, model.config.channels
    if facts.encoder_sha256:
        what = next(iter(model.weights))
        check_encoder(loaded, facts.encoder_sha256, facts.tokenizer, what)
    elif (spec.kind, spec.channels, spec.f) != ("continuous", channels, facts.f):
        raise UserError(
            f"the network samples f{facts.f}c{channels} latents and '{loaded.record.label}' "
            f"decodes {spec.name}: use another tokenizer"
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
            *(changed_warning(batches.guard.name, "decoding", one) for one in seen.changed),
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
    """Draw the first samples of the first classes, a labelled column for each class."""
    names = batches.model.facts.classes[: GRID[1]]
    columns: list[list[NDArray[np.uint8]]] = []
    for label in range(len(names)):
        numbers = np.flatnonzero(batches.labels == label)[: GRID[0]].tolist()
        places = [divmod(number, batches.size) for number in numbers]
        columns.append([batches.load(batch)["images"][row] for batch, row in places])
    return draw_columns(columns, names, batches.model.resolution)


class _Summary:
    """Facts about the batches, collected while their images are written.

    Attributes:
        latents: sums of the sampled latents, in the network's space.
        colours: sums of the decoded images, 0 to 255.
        changed: global settings that the tokenizer changed, each once.
    """

    def __init__(self, batches: SampleBatches) -> None:
        self._batches = batches
        self.latents = ChannelSums(0, 0, np.zeros((2, batches.model.config.channels)))
        self.colours = ChannelSums(0, 0, np.zeros((2, 3)))
        self.changed: dict[str, None] = {}
        self._seconds: list[NDArray[np.float64]] = []
        self._fresh: list[NDArray[np.bool_]] = []

    def images(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the images of all batches."""
        for number in range(len(self._batches.grid)):
            batch = self._batches.load(number)
            images = batch["images"]
            count = int(batch["latent_count"])
            self.latents += ChannelSums(len(images), count, batch["latent_sums"])
            self.colours += ChannelSums.of(images.transpose(0, 3, 1, 2))
            self._seconds.append(batch["seconds"])
            self._fresh.append(batch["fresh"])
            self.changed |= dict.fromkeys(batch["changed"].tolist())
            yield images

    def timing(self, column: int, gmac: float | None) -> Timing | None:
        """Summarise the seconds per batch, without those that include the warm-up if possible.

        Returns:
            None if there are none: several workers made the batches, and the clock was not read.
        """
        if (clock := self._batches.clock()) is None:
            clock = {"seconds": np.stack(self._seconds), "fresh": np.stack(self._fresh)}
        seconds, fresh = clock["seconds"][:, column], clock["fresh"][:, column]
        known = ~np.isnan(seconds)
        if not known.any():
            return None
        seconds, warm = seconds[known], ~fresh[known]
        used = seconds[warm] if warm.any() else seconds
        return summarise(used.tolist(), len(seconds) - len(used), self._batches.size, gmac)
