"""Everything that an evaluation depends on besides the tokenizer and the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from ssdd_bench.api import Tokenizer
from ssdd_bench.arguments import whole_numbers
from ssdd_bench.errors import ResolutionError, UserError
from ssdd_bench.evaluation.environment import device_name
from ssdd_bench.evaluation.execution import DEFAULT_EXECUTION, ExecutionSettings
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.evaluation.timing import Batches
from ssdd_bench.protocols.schema import Protocol
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.schema import NUMBERS_VERSION

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

    See :func:`ssdd_bench.evaluation.evaluate.evaluate` for the meaning of each.
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
    load_threads: int | None = None


def job_fingerprint(loaded: LoadedTokenizer, settings: Settings, data_hash: str) -> str:
    """Hash everything that decides the numbers of an evaluation.

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


def parse_batch_size(batch_size: BatchSize) -> tuple[int, ...]:
    """Return the sizes that a user asked for; none where the device decides.

    Raises:
        UserError: one is no whole number from 1 on.
    """
    if batch_size is None or batch_size == "auto":
        return ()
    try:
        sizes = whole_numbers("batch_size", batch_size)
    except UserError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise UserError(f"batch_size is {batch_size!r}: give 1 or more, a list of such, or 'auto'")
    return sizes


def choose_batches(batch_size: BatchSize, device: torch.device) -> BatchChoice:
    """Choose the batches that suit a device.

    See :func:`ssdd_bench.evaluation.evaluate.evaluate`.

    Raises:
        UserError: see :func:`parse_batch_size`.
    """
    gpu, sizes = device.type == "cuda", parse_batch_size(batch_size)
    if not sizes:
        clock: Batches = "auto" if gpu or batch_size else (CPU_BATCH,)
        return BatchChoice(GPU_BATCH if gpu else CPU_BATCH, clock)
    return BatchChoice(max(sizes) if gpu else CPU_BATCH, sizes)


def check_resolution(tokenizer: Tokenizer, resolution: int) -> None:
    """Refuse a resolution that is not a whole number of latent cells.

    Raises:
        ResolutionError: names the nearest resolutions that fit.
    """
    f = tokenizer.latent.multiple
    if resolution < 1 or resolution % f:
        below = resolution - resolution % f
        near = f"{below} or {below + f}" if below > 0 else f"{f}"
        raise ResolutionError(f"{resolution} px is not a multiple of f = {f}: choose {near}")
