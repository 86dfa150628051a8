"""Evaluate one tokenizer, in memory: the same work as in a run, in a temporary folder."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ssdd_bench.api import Tokenizer
from ssdd_bench.arguments import whole
from ssdd_bench.data.decode import MAX_IMAGE_MB
from ssdd_bench.data.memory import Images, as_source
from ssdd_bench.data.source import ImageSource
from ssdd_bench.evaluation.environment import choose_device
from ssdd_bench.evaluation.execution import ExecutionSettings, LayoutChoice, format_name
from ssdd_bench.evaluation.folder import JobFolder
from ssdd_bench.evaluation.job import data_fingerprint
from ssdd_bench.evaluation.loading import LoadedTokenizer, load
from ssdd_bench.evaluation.memory import keep_freed_memory
from ssdd_bench.evaluation.merge import merge_job
from ssdd_bench.evaluation.progress import progress_bar
from ssdd_bench.evaluation.result import Evaluation
from ssdd_bench.evaluation.settings import BatchSize, Settings, check_resolution
from ssdd_bench.evaluation.work import JobWork, describe_job
from ssdd_bench.launch.tasks import Progress
from ssdd_bench.metrics.catalog import metric_keys
from ssdd_bench.plugins.spec import TokenizerRequest
from ssdd_bench.protocols.registry import get_protocol
from ssdd_bench.protocols.schema import Protocol
from ssdd_bench.results.schema import Compilation, NumberFormat


def evaluate(
    tokenizer: str | TokenizerRequest | Tokenizer | Any,
    *,
    data: Images | None,
    resolution: int,
    protocol: str | Path | Protocol = "default-v1",
    metrics: str | Sequence[str] | None = None,
    limit: int | None = None,
    sample: int | None = None,
    sample_seed: int = 0,
    max_image_mb: int = MAX_IMAGE_MB,
    seed: int = 0,
    device: str | torch.device = "auto",
    batch_size: BatchSize = None,
    dtype: NumberFormat | torch.dtype | None = None,
    compile: Compilation = "off",
    memory_format: LayoutChoice = "auto",
    cuda_graphs: bool = False,
    speed: bool = False,
    intervals: bool = False,
    strict: bool = False,
    load_threads: int | None = None,
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
        sample: draw that many before ``limit`` is applied.
        sample_seed: of the draw: each seed has other images, and 0 those of ``limit``.
        max_image_mb: largest image file that is decoded, in MB as 8-bit RGB.
        seed: of the noise of encoder and decoder.
        device: ``auto``, or as torch names it.
        batch_size: images per call: a number, a list of them to time, or ``auto``
            to double them while throughput grows by 5%. Scores on a CPU always take one, on a GPU
            the largest of the list, by default 64. Timings also take one, and by
            default ``auto`` on a GPU.
        dtype: of the networks' weights: ``float32``, ``bfloat16`` or ``float16``, or these of
            torch; by default that of the protocol.
        compile: ``off``, or a mode of ``torch.compile``: ``default`` or ``max-autotune``.
        memory_format: ``channels_last`` or ``contiguous`` of the networks; ``auto`` is the faster.
        cuda_graphs: replay compiled networks as CUDA graphs.
        speed: True times encoding and decoding too.
        intervals: True adds intervals of Fréchet distances, at twenty times their cost.
        strict: an image that cannot be decoded or an unavailable metric is an error.
        load_threads: threads that load images; by default as many as take no core from the
            networks, see :func:`ssdd_bench.evaluation.environment.choose_load_threads`. No number
            depends on it.
        progress: True shows a bar on standard error.
        label: name in tables; by default the id with its options, or the name of the class.

    Returns:
        The complete result: ``result.metrics["psnr"].value``, ``result.to_frame()``.

    Raises:
        UserError: a name is unknown, the resolution does not fit, the images cannot be read, the
            tokenizer cannot be loaded or breaks its contract.

    Examples:
        >>> result = evaluate("jpeg:quality=50", data="sample", resolution=64, limit=2)
        >>> result.metrics["psnr"].n
        2
    """
    resolution, seed = whole("resolution", resolution), whole("seed", seed)
    chosen = choose_device(device)
    execution = ExecutionSettings(format_name(dtype), compile, memory_format, cuda_graphs)
    execution.check(chosen)
    keep_freed_memory()
    protocol = get_protocol(protocol)
    source = as_source(
        data, limit, sample=sample, sample_seed=sample_seed, max_image_mb=max_image_mb
    )
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
        load_threads=load_threads,
    )
    with progress_bar(loaded.record.label, len(source), quiet=not progress) as bar:
        return evaluate_loaded(loaded, source, settings, bar)


def evaluate_loaded(
    loaded: LoadedTokenizer,
    source: ImageSource,
    settings: Settings,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a tokenizer that is loaded; see :func:`evaluate`.

    Args:
        loaded: the tokenizer with its description.
        source: the images.
        settings: how to evaluate.
        progress: receives the progress.

    Raises:
        ResolutionError: the tokenizer cannot take the resolution; no image was read.
        UserError: see :func:`ssdd_bench.evaluation.reconstruct.reconstruct`.
    """
    check_resolution(loaded.tokenizer, settings.resolution)
    progress = progress or Progress()
    progress.images_done(0)  # a bar is there before the first batch
    record = describe_job(loaded, source, settings, data_fingerprint(source))
    with tempfile.TemporaryDirectory(prefix="ssdd-bench-") as path:
        folder = JobFolder(Path(path), record.identity)
        with JobWork(loaded, source, settings) as work:
            work.compute(folder, range(len(folder.grid)), progress)
            if settings.speed:
                progress.stage("speed")
                folder.save_clock(work.time(record, work.examples(folder)))
        progress.stage("scores")
        return merge_job(folder, record)
