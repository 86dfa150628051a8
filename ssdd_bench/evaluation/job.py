"""One job of a run, its outcome, and the fingerprints that tell if it was done before."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import DataError, UserError
from ssdd_bench.plugins.spec import TokenizerRequest
from ssdd_bench.protocols.schema import Protocol
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.schema import Result, TokenizerRecord

NUMBERS_VERSION = 3
"""Raised by any change of this package's code that changes a number of an unchanged job."""

PROBES = 8
"""Images whose pixels tell two sets with the same ids apart."""


@dataclass(frozen=True)
class Job:
    """One tokenizer with its options, at one resolution, under one protocol, with one seed."""

    request: TokenizerRequest
    resolution: int
    protocol: Protocol
    seed: int = 0

    @property
    def name(self) -> str:
        """Name for progress bars and messages."""
        seed = f", seed {self.seed}" if self.seed else ""
        return f"{self.request.label} at {self.resolution} px, {self.protocol.id}{seed}"


@dataclass(frozen=True)
class Finished:
    """A job whose result is on disk, and was there before this run if it is ``reused``."""

    result: Result
    path: Path
    reused: bool


@dataclass(frozen=True)
class Failure:
    """A job that failed, or all jobs of a tokenizer that could not be loaded."""

    name: str
    jobs: int
    error: Exception

    def __str__(self) -> str:
        lines = str(self.error).splitlines()
        reason = lines[0] if lines else ""
        if not isinstance(self.error, UserError):
            reason = f"{type(self.error).__name__}: {reason} (--debug shows where)"
        return f"{self.name}: {reason}"


def job_fingerprint(
    tokenizer: TokenizerRecord,
    resolution: int,
    protocol_sha256: str,
    seed: int,
    data: str,
    device: str,
) -> str:
    """Hash everything that decides the numbers of a job.

    The metrics are left out: each is computed on its own, and the result file lists its metrics.

    Args:
        tokenizer: with every option's value and the weights' hashes.
        resolution: side of the crops in pixels.
        protocol_sha256: hash of the protocol.
        seed: of the noise.
        data: from :func:`data_fingerprint`.
        device: model of the device, on which speed depends.
    """
    return fingerprint(
        {
            "numbers": NUMBERS_VERSION,
            "tokenizer": tokenizer.id,
            "adapter": tokenizer.version,
            "options": tokenizer.options,
            "weights": sorted(tokenizer.weights.values()),
            "resolution": resolution,
            "protocol": protocol_sha256,
            "data": data,
            "seed": seed,
            "device": device,
        }
    )


def data_fingerprint(source: ImageSource) -> str:
    """Hash a set of images before it is read: every id, and the pixels of a few.

    Ids alone would not do: every npz numbers its images alike.
    """
    stride = max(1, len(source) // PROBES)
    return fingerprint(
        {
            "ids": source.ids,
            "pixels": [_probe(source, image_id) for image_id in source.ids[::stride][:PROBES]],
        }
    )


def _probe(source: ImageSource, image_id: str) -> str:
    try:
        image = source.read(image_id)
    except DataError:
        return "cannot be decoded"
    return f"{image.width}x{image.height} {hashlib.sha256(image.tobytes()).hexdigest()}"
