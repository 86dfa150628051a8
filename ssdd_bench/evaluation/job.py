"""One job of a run and its outcome; the hash of its images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ssdd_bench.data.decode import MAX_IMAGE_MB
from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import DataError, printable
from ssdd_bench.launch.tasks import Problem
from ssdd_bench.plugins.spec import TokenizerRequest
from ssdd_bench.protocols.schema import Protocol
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.schema import Result

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
        return name_job(self.request.label, self.resolution, self.protocol.id, self.seed)


def name_job(label: str, resolution: int, protocol: str, seed: int) -> str:
    """Name a job by its tokenizer, its resolution, the id of its protocol and its seed."""
    return f"{label} at {resolution} px, {protocol}" + (f", seed {seed}" if seed else "")


@dataclass(frozen=True)
class Finished:
    """A job whose result is on disk, and was there before this run if it is ``reused``."""

    result: Result
    path: Path
    reused: bool


@dataclass(frozen=True)
class Failure:
    """A job that failed, or all jobs of a tokenizer that could not be loaded.

    Attributes:
        name: of the job or the tokenizer.
        jobs: number of them.
        problem: the error, as text, so that it can come from another process.
    """

    name: str
    jobs: int
    problem: Problem

    def __str__(self) -> str:
        return f"{self.name}: {self.problem}"

    @property
    def line(self) -> str:
        """The line that tells of it in Python, where no flag shows its traceback."""
        problem = self.problem.describe("its problem.trace shows where")
        return printable(f"failed: {self.name}: {problem}")


def data_fingerprint(source: ImageSource) -> str:
    """Hash a set of images before it is read: every id, and the pixels of a few.

    Ids alone would not do: every npz numbers its images alike.
    """
    return fingerprint(
        {
            "ids": source.ids,
            "pixels": probe_pixels(source),
            # Another limit may leave other images out.
            **({} if source.max_mb == MAX_IMAGE_MB else {"max_image_mb": source.max_mb}),
        }
    )


def probe_pixels(source: ImageSource) -> list[str]:
    """Hash the pixels of a few images, spread over the set."""
    stride = max(1, len(source) // PROBES)
    return [_probe(source, image_id) for image_id in source.ids[::stride][:PROBES]]


def _probe(source: ImageSource, image_id: str) -> str:
    try:
        image = source.read(image_id)
    except DataError:
        return "cannot be decoded"
    return f"{image.width}x{image.height} {hashlib.sha256(image.tobytes()).hexdigest()}"
