"""The work on one job: its images, chunk by chunk, and its clock."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from typing import Any

import torch

from ssdd_bench.data.loader import ImageLoader
from ssdd_bench.data.source import ImageSource
from ssdd_bench.evaluation.chunk_files import DamagedChunkError
from ssdd_bench.evaluation.chunks import ChunkState, Grid
from ssdd_bench.evaluation.environment import choose_load_threads, describe_execution
from ssdd_bench.evaluation.examples import EXAMPLES, Examples
from ssdd_bench.evaluation.execution import PreparedTokenizer, prepare
from ssdd_bench.evaluation.folder import (
    ClockRecord,
    Executed,
    JobFolder,
    JobIdentity,
    JobRecord,
)
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.evaluation.reconstruct import reconstruct
from ssdd_bench.evaluation.result import describe_origin
from ssdd_bench.evaluation.settings import (
    Settings,
    choose_batches,
    job_fingerprint,
    job_label,
    tokenizer_device,
)
from ssdd_bench.evaluation.timing import measure_speed
from ssdd_bench.launch.tasks import Progress
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.metrics.features import cache as reference_cache
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.plugins.guard import Guard, changed_warning
from ssdd_bench.protocols.schema import Protocol
from ssdd_bench.results.pictures import LOSSLESS
from ssdd_bench.results.schema import ExecutionRecord
from ssdd_bench.weights.assets import cached_path


def job_grid(images: int, protocol: Protocol) -> Grid:
    """Return the chunks of a job: one for noise in the order of the set, see :class:`Grid`."""
    return Grid.of(images, whole=protocol.decoder_noise == "ordered")


def describe_job(
    loaded: LoadedTokenizer,
    source: ImageSource,
    settings: Settings,
    data_hash: str,
    environment: dict[str, Any] | None = None,
    command: str = "",
    pictures: bool = True,
    picture_quality: int = LOSSLESS,
) -> JobRecord:
    """Put together what is known of a job before its images.

    Args:
        loaded: the tokenizer with its description.
        source: the images.
        settings: how to evaluate.
        data_hash: from :func:`ssdd_bench.evaluation.job.data_fingerprint`.
        environment: from :func:`ssdd_bench.evaluation.environment.describe_environment`, where it
            is known already.
        command: that the user typed, for the record.
        pictures: True if sample pictures are to be saved.
        picture_quality: of these, 0 to 100.
    """
    protocol, tokenizer = settings.protocol, loaded.tokenizer
    device = tokenizer_device(tokenizer, settings.device)
    grid = job_grid(len(source), protocol)
    known = find_metrics("pairs")
    assets = {name for key in settings.metrics if key in known for name in known[key].assets}
    identity = JobIdentity(
        job=job_fingerprint(loaded, settings, data_hash),
        metrics=settings.metrics,
        weights=tuple(name for name in sorted(assets) if cached_path(name)),
        intervals=settings.intervals,
        strict=settings.strict,
        images=grid.images,
        size=grid.size,
    )
    execution = settings.execution.for_tokenizer(tokenizer)
    return JobRecord(
        identity=identity,
        tokenizer=replace(loaded.record, label=job_label(loaded, settings)),
        resolution=settings.resolution,
        protocol=protocol.record(),
        seed=settings.seed,
        steps=tokenizer.steps,
        latent=tokenizer.latent,
        data=source.name,
        borders=source.ids[:: grid.size],
        options=protocol.metric_options,
        warnings=(
            *tokenizer.warnings,
            *map(partial(changed_warning, loaded.record.id, "loading"), tokenizer.changed),
            *execution.warnings(protocol),
        ),
        speed=settings.speed,
        pictures=pictures,
        picture_quality=picture_quality,
        **describe_origin(device, command, environment),
    )


class JobWork:
    """Computes chunks of a job and reads its clock; use it as a context manager.

    The tokenizer's networks are in the formats of the job until it is closed. Metrics are loaded
    for the first chunk.

    Args:
        loaded: the tokenizer.
        source: the images.
        settings: how to evaluate.
    """

    def __init__(self, loaded: LoadedTokenizer, source: ImageSource, settings: Settings) -> None:
        self._tokenizer, self._source, self._settings = loaded.tokenizer, source, settings
        self._guard = Guard(loaded.record.id)
        self._device = tokenizer_device(loaded.tokenizer, settings.device)
        self._execution = settings.execution.for_tokenizer(loaded.tokenizer)
        self._used = self._execution.applied_to(settings.protocol)
        self._batches = choose_batches(settings.batch_size, self._device)
        self._tokenizer_stack, self._suite_stack = ExitStack(), ExitStack()
        self._prepared: PreparedTokenizer | None = None
        self._suite: MetricSuite | None = None

    def __enter__(self) -> JobWork:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the networks as they were, and free the metrics."""
        self._close_suite()
        self._prepared = None
        self._tokenizer_stack.close()

    def compute(self, folder: JobFolder, chunks: Sequence[int], progress: Progress) -> None:
        """Compute chunks in this order, and save each as soon as it is done.

        Raises:
            UserError: see :func:`ssdd_bench.evaluation.reconstruct.reconstruct`.
        """
        started = time.perf_counter()
        settings, prepared, suite = self._settings, self._prepare(), self._open_suite()
        executed = self._describe(prepared)
        loader = ImageLoader(
            self._source,
            settings.resolution,
            settings.protocol.crop,
            self._batches.scores,
            settings.strict,
            choose_load_threads(
                settings.load_threads, self._device, bool(self._tokenizer.networks())
            ),
            pin=self._device.type == "cuda",
            groups=[self._source.ids[folder.grid.part(chunk)] for chunk in chunks],
        )

        def save(chunk: int, state: ChunkState) -> None:
            nonlocal started
            now = time.perf_counter()
            spent, batch = now - started, self._batches.scores
            folder.save(chunk, state, Executed(executed, worker_name(), spent, batch))
            started = now

        reconstruct(
            prepared,
            loader,
            suite,
            settings.seed,
            self._guard,
            chunks,
            save,
            progress,
            # Alone, an image would compile the networks anew.
            repeat=self._execution.compile == "off",
        )

    def time(self, record: JobRecord, examples: Examples) -> ClockRecord:
        """Measure the speed with some images, in the environment of the record."""
        self._close_suite()  # its networks may be in the memory of the same device
        started = time.perf_counter()
        prepared = self._prepare()
        with self._guard.calls():
            speed = measure_speed(prepared, examples, self._batches.clock, self._settings.seed)
        seconds = time.perf_counter() - started
        return ClockRecord(record.identity, speed, record.environment, seconds)

    def examples(self, folder: JobFolder) -> Examples:
        """Return the first images: from the first chunk, or read again if it is not there."""
        with suppress(DamagedChunkError):
            kept = folder.load(0)[0].examples
            if kept is not None:
                return kept.first(EXAMPLES)
        return first_images(self._source, self._settings)

    def _prepare(self) -> PreparedTokenizer:
        if self._prepared is None:
            self._prepared = self._tokenizer_stack.enter_context(
                prepare(
                    self._tokenizer,
                    self._used,
                    self._device,
                    self._execution,
                    self._settings.resolution,
                    self._batches.scores,
                    self._guard,
                )
            )
        return self._prepared

    def _open_suite(self) -> MetricSuite:
        if self._suite is None:
            settings, protocol = self._settings, self._settings.protocol
            self._suite = self._suite_stack.enter_context(
                MetricSuite(
                    settings.metrics,
                    settings.device,
                    protocol.metric_batch,
                    protocol.metric_options,
                    settings.strict,
                    settings.intervals,
                    expected=len(self._source),
                )
            )
        return self._suite

    def _close_suite(self) -> None:
        if self._suite is not None:
            reference_cache.prune()
        self._suite = None
        self._suite_stack.close()

    def _describe(self, prepared: PreparedTokenizer) -> ExecutionRecord:
        networks = self._tokenizer.networks().values()
        return replace(
            describe_execution(self._device, networks, self._used.number_format),
            compile=self._execution.compile,
            cuda_graphs=self._execution.cuda_graphs,
            compile_s=prepared.compile_s,
            suffix=self._execution.name(self._settings.protocol),
        )


def first_images(source: ImageSource, settings: Settings) -> Examples:
    """Read the images that a clock needs, without reconstructions."""
    loader = ImageLoader(source, settings.resolution, settings.protocol.crop, 1, settings.strict)
    batches = [*islice(loader, EXAMPLES)]
    images = torch.cat([batch.images for batch in batches])
    ids = tuple(chain.from_iterable(batch.ids for batch in batches))
    return Examples(ids, images, images[:0])


def worker_name() -> str:
    """Name this process, by its machine and its number."""
    return f"{platform.node()}:{os.getpid()}"
