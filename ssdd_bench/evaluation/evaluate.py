"""Evaluate one tokenizer: the quality pass, then the clock, put together as a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from ssdd_bench.api import Tokenizer
from ssdd_bench.data.loader import ImageLoader
from ssdd_bench.data.memory import Images, as_source
from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import ResolutionError, UserError
from ssdd_bench.evaluation.environment import (
    choose_device,
    choose_workers,
    describe_execution,
    device_name,
)
from ssdd_bench.evaluation.execution import (
    DEFAULT_EXECUTION,
    ExecutionSettings,
    LayoutChoice,
    prepare,
)
from ssdd_bench.evaluation.job import data_fingerprint
from ssdd_bench.evaluation.loading import LoadedTokenizer, load
from ssdd_bench.evaluation.memory import keep_freed_memory
from ssdd_bench.evaluation.progress import Callbacks, progress_bar
from ssdd_bench.evaluation.reconstruct import ReconstructionStats, reconstruct
from ssdd_bench.evaluation.result import Evaluation, Provenance
from ssdd_bench.evaluation.timing import Batches, measure_speed
from ssdd_bench.metrics.catalog import metric_keys
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.plugins.spec import TokenizerRequest
from ssdd_bench.protocols.registry import get_protocol
from ssdd_bench.protocols.schema import Protocol
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.schema import Compilation, DataRecord, LatentRecord, NumberFormat

NUMBERS_VERSION = 4
"""Raised by any change of this package's code that changes a number of an unchanged job."""
CPU_BATCH = 1
"""Images per call on a CPU for the scores, and for the clock unless told otherwise.

Its kernels round differently for batches of different sizes, which moves scores in the fifth
digit, and a larger batch is no faster there.
"""
GPU_BATCH = 64
"""Images per call on a GPU for the scores unless told otherwise."""

BatchSize = int | Sequence[int] | Literal["auto"] | None


@dataclass(frozen=True)
class Settings:
    """Everything that an evaluation depends on besides the tokenizer and the images.

    See :func:`evaluate` for the meaning of each.
    """

    resolution: int
    protocol: Protocol
    metrics: tuple[str, ...]
    device: torch.device
    seed: int = 0
    batch_size: BatchSize = None
    speed: bool = False
    intervals: bool = False
    strict: bool = False
    execution: ExecutionSettings = DEFAULT_EXECUTION
    workers: int | None = None


def evaluate(
    tokenizer: str | TokenizerRequest | Tokenizer | Any,
    *,
    data: Images | None,
    resolution: int,
    protocol: str | Protocol = "default-v1",
    metrics: str | Sequence[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    batch_size: BatchSize = None,
    dtype: NumberFormat | None = None,
    compile: Compilation = "off",
    memory_format: LayoutChoice = "auto",
    cuda_graphs: bool = False,
    speed: bool = False,
    intervals: bool = False,
    strict: bool = False,
    workers: int | None = None,
    progress: bool = True,
    label: str = "",
) -> Evaluation:
    """Evaluate one tokenizer at one resolution.

    The numbers are those of ``ssdd-bench run`` with the same settings, to the last bit.

    Args:
        tokenizer: an id with options as on the command line (``"ssdd:steps=1"``), an object of
            :class:`ssdd_bench.api.Tokenizer`, or any diffusers autoencoder.
        data: the name of a data set (``"sample"``), a path, or images in memory; see
            :func:`ssdd_bench.data.memory.as_source`.
        resolution: side of the square crops in pixels, a multiple of the tokenizer's f.
        protocol: id of a protocol of reconstructions, path of a protocol file, or an object.
        metrics: keys; by default those of the protocol.
        limit: use only that many images.
        seed: of the noise of encoder and decoder.
        device: ``auto``, or as torch names it.
        batch_size: images per call: a number, a list of them for the clock to try, or ``auto``
            to double them while throughput grows by 5%. Scores on a CPU always take one, on a GPU
            the largest of the list, by default :data:`GPU_BATCH`. The clock also takes one, and by
            default ``auto`` on a GPU.
        dtype: of the networks' weights: ``float32``, ``bfloat16`` or ``float16``; by default that
            of the protocol.
        compile: ``off``, or a mode of ``torch.compile``: ``default`` or ``max-autotune``.
        memory_format: ``channels_last`` or ``contiguous`` of the networks; ``auto`` is the faster.
        cuda_graphs: replay compiled networks as CUDA graphs.
        speed: True times encoding and decoding too.
        intervals: True adds intervals of Fréchet distances, at twenty times their cost.
        strict: an image that cannot be decoded or an unavailable metric is an error.
        workers: threads that load images; by default as many as take no core from the networks, see
            :func:`ssdd_bench.evaluation.environment.choose_workers`. No number depends on it.
        progress: True shows a bar on standard error.
        label: name in tables; by default the id with its options, or the name of the class.

    Returns:
        The complete result: ``result.metrics["psnr"].value``, ``result.to_frame()``.

    Raises:
        UserError: a name is unknown, the resolution does not fit, the images cannot be read, the
            tokenizer cannot be loaded or breaks its contract.

    Example:
        >>> result = evaluate("jpeg:quality=50", data="sample", resolution=64, limit=2)
        >>> result.metrics["psnr"].n
        2
    """
    chosen = choose_device(device)
    execution = ExecutionSettings(dtype, compile, memory_format, cuda_graphs)
    execution.check(chosen)
    keep_freed_memory()
    protocol = get_protocol(protocol) if isinstance(protocol, str) else protocol
    source = as_source(data, limit)
    loaded = load(tokenizer, chosen, label)
    settings = Settings(
        resolution=resolution,
        protocol=protocol,
        metrics=metric_keys(metrics) or protocol.metric_keys,
        device=chosen,
        seed=seed,
        batch_size=batch_size,
        speed=speed,
        intervals=intervals,
        strict=strict,
        execution=execution,
        workers=workers,
    )
    with progress_bar(loaded.record.label, len(source), quiet=not progress) as bar:
        return evaluate_loaded(loaded, source, settings, callbacks=bar)


def evaluate_loaded(
    loaded: LoadedTokenizer,
    source: ImageSource,
    settings: Settings,
    *,
    data_hash: str = "",
    environment: dict[str, Any] | None = None,
    command: str = "",
    callbacks: Callbacks | None = None,
) -> Evaluation:
    """Evaluate a tokenizer that is loaded; see :func:`evaluate`.

    Args:
        loaded: the tokenizer with its description.
        source: the images.
        settings: how to evaluate.
        data_hash: from :func:`data_fingerprint`, where it is known already.
        environment: from :func:`describe_environment`, where it is known already.
        command: that the user typed, for the record.
        callbacks: receive the progress.

    Raises:
        ResolutionError: the tokenizer cannot take the resolution; no image was read.
        UserError: see :func:`ssdd_bench.evaluation.reconstruct.reconstruct`.
    """
    tokenizer, protocol = loaded.tokenizer, settings.protocol
    check_resolution(tokenizer, settings.resolution)
    callbacks = callbacks or Callbacks()
    device = tokenizer_device(tokenizer, settings.device)
    execution = settings.execution.for_tokenizer(tokenizer)
    used = execution.applied_to(protocol)
    batches = choose_batches(settings.batch_size, device)
    provenance = Provenance(device, command, environment)
    loader = ImageLoader(
        source,
        settings.resolution,
        protocol.crop,
        batches.scores,
        settings.strict,
        choose_workers(settings.workers, device, bool(tokenizer.networks())),
        pin=device.type == "cuda",
    )
    timed = None
    with prepare(
        tokenizer, used, device, execution, settings.resolution, batches.scores
    ) as prepared:
        with MetricSuite(
            settings.metrics,
            settings.device,
            protocol.metric_batch,
            protocol.metric_options,
            settings.strict,
            settings.intervals,
            expected=len(source),
        ) as suite:
            seen = reconstruct(
                tokenizer, loader, suite, used, settings.seed, device, callbacks.images_done
            )
            callbacks.stage("scores")
            scores = suite.compute()
        if settings.speed:
            callbacks.stage("speed")
            timed = measure_speed(
                tokenizer,
                seen.examples,
                batches.clock,
                used,
                settings.seed,
                device,
                prepared=prepared,
            )
        executed = replace(
            describe_execution(device, tokenizer.networks().values(), used.number_format),
            compile=execution.compile,
            cuda_graphs=execution.cuda_graphs,
            compile_s=prepared.compile_s,
            suffix=execution.name(protocol),
        )
    return Evaluation(
        tokenizer=replace(
            loaded.record,
            label=job_label(loaded, settings),
            extra={**loaded.record.extra, **seen.codes},
        ),
        resolution=settings.resolution,
        protocol=protocol.record(),
        seed=settings.seed,
        steps=tokenizer.steps,
        latent=_latent_record(tokenizer, settings.resolution, seen),
        data=DataRecord(
            name=source.name,
            n=len(seen.ids),
            ids_sha256=fingerprint(seen.ids),
            pixels_sha256=seen.pixels_sha256,
            skipped=tuple(loader.skipped),
        ),
        metrics=dict(scores.values),
        speed=timed,
        execution=executed,
        fingerprint=job_fingerprint(loaded, settings, data_hash or data_fingerprint(source)),
        warnings=(*execution.warnings(protocol), *seen.warnings),
        per_image=scores.per_image,
        examples=seen.examples,
        **provenance.fields(),
    )


def job_fingerprint(loaded: LoadedTokenizer, settings: Settings, data_hash: str) -> str:
    """Hash everything that decides the numbers of :func:`evaluate_loaded`.

    The metrics are left out: each is computed on its own, and the result file lists its metrics.
    """
    device = tokenizer_device(loaded.tokenizer, settings.device)
    execution = settings.execution.for_tokenizer(loaded.tokenizer)
    changed = execution.differences(settings.protocol)
    return fingerprint(
        {
            "numbers": NUMBERS_VERSION,
            "tokenizer": loaded.record.id,
            "adapter": loaded.record.version,
            "options": loaded.record.options,
            "weights": sorted(loaded.record.weights.values()),
            "resolution": settings.resolution,
            "protocol": settings.protocol.sha256,
            "data": data_hash,
            "seed": settings.seed,
            "device": device_name(device),
            **({"execution": changed} if changed else {}),
            **({} if device == settings.device else {"metrics": device_name(settings.device)}),
        }
    )


def job_label(loaded: LoadedTokenizer, settings: Settings) -> str:
    """Return the tokenizer's label, with the settings of execution that are not the usual ones."""
    execution = settings.execution.for_tokenizer(loaded.tokenizer)
    suffix = execution.name(settings.protocol)
    return f"{loaded.record.label} ({suffix})" if suffix else loaded.record.label


def tokenizer_device(tokenizer: Tokenizer, device: torch.device) -> torch.device:
    """Return the device that a tokenizer works on: codecs, which have no network, on the CPU."""
    return device if tokenizer.networks() else torch.device("cpu")


@dataclass(frozen=True)
class BatchChoice:
    """Images per call for the scores, and for the clock."""

    scores: int
    clock: Batches


def choose_batches(batch_size: BatchSize, device: torch.device) -> BatchChoice:
    """Choose the batches that suit a device; see :func:`evaluate`.

    Raises:
        UserError: a batch is smaller than one.
    """
    gpu = device.type == "cuda"
    if batch_size is None or batch_size == "auto":
        clock: Batches = "auto" if gpu or batch_size else (CPU_BATCH,)
        return BatchChoice(GPU_BATCH if gpu else CPU_BATCH, clock)
    sizes = (batch_size,) if isinstance(batch_size, int) else tuple(batch_size)
    if not sizes or min(sizes) < 1:
        raise UserError(f"batch_size is {batch_size}: give 1 or more, a list of such, or 'auto'")
    return BatchChoice(max(sizes) if gpu else CPU_BATCH, sizes)


def check_resolution(tokenizer: Tokenizer, resolution: int) -> None:
    """Refuse a resolution that is not a whole number of latent cells.

    Raises:
        ResolutionError: names the nearest resolutions that fit.
    """
    f = tokenizer.latent.f
    if resolution < 1 or resolution % f:
        below = resolution - resolution % f
        near = f"{below} or {below + f}" if below > 0 else f"{f}"
        raise ResolutionError(f"{resolution} px is not a multiple of f = {f}: choose {near}")


def _latent_record(
    tokenizer: Tokenizer, resolution: int, seen: ReconstructionStats
) -> LatentRecord:
    spec = tokenizer.latent
    shape = spec.shape(resolution, resolution)
    return LatentRecord(
        kind=spec.kind,
        f=spec.f,
        channels=spec.channels,
        shape=shape,
        tokens=shape[1] * shape[2] if shape else None,
        floats_per_pixel=seen.floats_per_pixel,
        bits_per_pixel=seen.bits_per_pixel,
    )
