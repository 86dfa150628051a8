"""Make the result of a job from its folder alone: no tokenizer, no network and no weights."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import torch

from ssdd_bench.data.loader import nothing_decoded
from ssdd_bench.errors import UserError, counted
from ssdd_bench.evaluation.chunks import PixelDigest
from ssdd_bench.evaluation.examples import Examples
from ssdd_bench.evaluation.folder import Executed, JobFolder, JobRecord, missing_images
from ssdd_bench.evaluation.latent_size import LatentTotals
from ssdd_bench.evaluation.result import Evaluation
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.plugins.outputs import range_fault
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.schema import DataRecord, LatentRecord


def merge_job(folder: JobFolder, record: JobRecord) -> Evaluation:
    """Add up the chunks of a job, in the order of their numbers, and compute its scores.

    Args:
        folder: of the job.
        record: of the job, as the folder has it too.

    Raises:
        UserError: a chunk is missing; names the images.
        DamagedChunkError: a chunk is damaged.
        DataError: no image could be decoded, or two chunks have the same image.
    """
    started = time.perf_counter()
    if missing := folder.missing():
        raise UserError(
            f"{record.tokenizer.label} at {record.resolution} px lacks "
            f"{missing_images(record, missing)}: give the same command again, then merge"
        )
    totals = _Totals(record)
    with MetricSuite(
        record.identity.metrics,
        torch.device("cpu"),
        options=record.options,
        strict=record.identity.strict,
        intervals=record.identity.intervals,
        expected=record.identity.images,
        only_merges=True,
    ) as suite:
        for chunk in range(len(folder.grid)):
            state, executed = folder.load(chunk)
            totals.executed.append(executed)
            totals.ids += state.ids
            totals.pixels.update(state.ids, map(bytes, state.hashes))
            totals.skipped |= state.skipped
            totals.enlarged += state.enlarged
            totals.latent.add(state.latent)
            totals.warnings |= dict.fromkeys(state.warnings)
            totals.decoded.extend(state.decoded)
            totals.examples = totals.examples or state.examples
            suite.merge(state.metrics)
        if not totals.ids:
            raise nothing_decoded(
                record.data, record.identity.images, *next(iter(totals.skipped.items()))
            )
        scores = suite.compute()
    clock = folder.load_clock()
    seconds = sum(one.seconds for one in totals.executed) + (clock.seconds if clock else 0.0)
    return Evaluation(
        tokenizer=replace(
            record.tokenizer, extra={**record.tokenizer.extra, **totals.latent.code_use}
        ),
        resolution=record.resolution,
        protocol=record.protocol,
        seed=record.seed,
        steps=record.steps,
        latent=_latent_record(record, totals.latent),
        data=DataRecord(
            name=record.data,
            n=len(totals.ids),
            ids_sha256=fingerprint(totals.ids),
            pixels_sha256=totals.pixels.hexdigest(),
            skipped=tuple(totals.skipped),
        ),
        metrics=dict(scores.values),
        speed=clock.speed if clock else None,
        execution=totals.executed[0].execution,
        # Speed depends on the machine more than scores do.
        environment=clock.environment if clock else record.environment,
        command=record.command,
        created=record.created,
        numbers_version=record.numbers_version,
        seconds=seconds + time.perf_counter() - started,
        fingerprint=record.identity.job,
        warnings=(*record.warnings, *totals.all_warnings(), *execution_warnings(totals.executed)),
        per_image=scores.per_image,
        examples=totals.examples,
    )


class _Totals:
    """Sums over the chunks, apart from the scores."""

    def __init__(self, record: JobRecord) -> None:
        self.ids: list[str] = []
        self.pixels = PixelDigest()
        self.skipped: dict[str, str] = {}
        self.enlarged = 0
        self.latent = LatentTotals(record.latent)
        self.warnings: dict[str, None] = {}
        self.decoded: list[float] = []
        self.examples: Examples | None = None
        self.executed: list[Executed] = []

    def all_warnings(self) -> Iterator[str]:
        """Yield those about the images, then those of the chunks, each once."""
        if self.skipped:
            first, reason = next(iter(self.skipped.items()))
            images, were = _images_were(len(self.skipped))
            yield f"{images} could not be decoded and {were} left out, first {first}: {reason}"
        if self.enlarged:
            images, were = _images_were(self.enlarged)
            yield f"{images} smaller than the resolution {were} enlarged"
        if fault := range_fault(min(self.decoded), max(self.decoded)):
            yield fault
        yield from self.warnings


def _images_were(count: int) -> tuple[str, str]:
    return counted(count, "image"), "was" if count == 1 else "were"


def execution_warnings(chunks: Sequence[Executed]) -> Iterator[str]:
    """Name the settings of execution in which the workers of a job differed."""
    settings = [asdict(one.execution) | {"batch size": one.batch} for one in chunks]
    different = {
        name: values
        for name in settings[0]
        if name != "compile_s" and len(values := {str(one[name]) for one in settings}) > 1
    }
    if different:
        texts = (f"{name} {' and '.join(sorted(values))}" for name, values in different.items())
        yield (
            f"computed with different settings of execution ({', '.join(texts)}): the last digits "
            "of the scores depend on them"
        )


def _latent_record(record: JobRecord, latent: LatentTotals) -> LatentRecord:
    spec = record.latent
    shape = spec.shape(record.resolution, record.resolution)
    return LatentRecord(
        kind=spec.kind,
        f=spec.f,
        channels=spec.channels,
        shape=shape,
        tokens=shape[1] * shape[2] if shape else None,
        floats_per_pixel=latent.floats_per_pixel,
        bits_per_pixel=latent.bits_per_pixel,
    )
