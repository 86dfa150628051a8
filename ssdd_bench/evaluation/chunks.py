"""Chunks of a job's images, and what is found of one: arrays and plain facts.

Chunks are a function of the number of images alone, and their states are merged in the order of
their numbers: so no number of workers, no order and no restart changes a bit of a result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ssdd_bench.evaluation.examples import Examples
from ssdd_bench.evaluation.latent_size import LatentCounts
from ssdd_bench.metrics.state import SuiteState

SMALLEST, LARGEST = 64, 512
"""Images of a chunk, where a job has fewer than two million."""
MOST = 4096
"""Chunks of a job, however large it is."""
METRICS = "metrics/"
"""Prefix of the names of the metrics' arrays."""
HASH_BYTES = 16
"""Length of :func:`ssdd_bench.metrics.features.cache.pixel_hashes`."""


@dataclass(frozen=True)
class Grid:
    """The chunks of a job: consecutive images, so that members of an archive stay together.

    Attributes:
        images: of the job.
        size: images of each chunk but the last, which may have fewer.
    """

    images: int
    size: int

    @classmethod
    def of(cls, images: int, whole: bool = False) -> Grid:
        """Choose the size of the chunks.

        Sixteen of them keep several workers busy; chunks of 64 to 512 images take seconds, and
        their states are small beside the images.

        Args:
            images: of the job, 1 or more.
            whole: True makes a single chunk: for noise in the order of the set, which no worker can
                begin in the middle.
        """
        if whole:
            return cls(images, images)
        size = 1 << max(0, (images // 16).bit_length() - 1)
        size = min(LARGEST, max(SMALLEST, size))
        while size * MOST < images:
            size *= 2
        return cls(images, size)

    def __len__(self) -> int:
        return -(-self.images // self.size)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of images in each chunk."""
        return tuple(part.stop - part.start for part in map(self.part, range(len(self))))

    def part(self, chunk: int) -> slice:
        """Return the places of a chunk's images among those of the job."""
        return slice(chunk * self.size, min(self.images, (chunk + 1) * self.size))


@dataclass(frozen=True)
class ChunkState:
    """All that is kept of the images of a chunk.

    Attributes:
        ids: of the images that were scored, in order.
        hashes: uint8 (N, 16), :func:`ssdd_bench.metrics.features.cache.pixel_hashes` of their
            crops.
        skipped: ids that could not be decoded, with the reason.
        enlarged: number of images smaller than the resolution.
        latent: size of the latents.
        metrics: state of the metrics.
        examples: the first images, in the first chunk alone.
        warnings: one line each.
        decoded: least and largest value of decoded images before rounding, or (0, 1) if all lie
            within.
    """

    ids: tuple[str, ...]
    hashes: NDArray[np.uint8]
    skipped: Mapping[str, str]
    enlarged: int
    latent: LatentCounts
    metrics: SuiteState
    examples: Examples | None = None
    warnings: tuple[str, ...] = ()
    decoded: tuple[float, float] = (0.0, 1.0)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays, by name."""
        found: dict[str, NDArray[Any]] = {"hashes": self.hashes, "codes": self.latent.codes}
        if self.examples is not None:
            found["references"] = self.examples.references.numpy()
            found["reconstructions"] = self.examples.reconstructions.numpy()
        return found | {METRICS + name: one for name, one in self.metrics.arrays.items()}

    def facts(self) -> dict[str, Any]:
        """Return everything else, as plain data."""
        return {
            "ids": self.ids,
            "skipped": dict(self.skipped),
            "enlarged": self.enlarged,
            "latent": [self.latent.pixels, self.latent.values, self.latent.bytes],
            "metrics": self.metrics.facts,
            "examples": None if self.examples is None else self.examples.ids,
            "warnings": self.warnings,
            "decoded": self.decoded,
        }

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> ChunkState:
        """Restore a state from :meth:`arrays` and :meth:`facts`."""
        examples = None
        if facts["examples"] is not None:
            pictures = (torch.from_numpy(arrays[n]) for n in ("references", "reconstructions"))
            examples = Examples(tuple(facts["examples"]), *pictures)
        metrics = {
            name.removeprefix(METRICS): one
            for name, one in arrays.items()
            if name.startswith(METRICS)
        }
        pixels, values, streams = facts["latent"]
        low, high = facts["decoded"]
        ids, scored = facts["ids"], facts["metrics"]["ids"]["candidate"]
        return cls(
            tuple(scored if ids == scored else ids),  # the same texts, once in memory
            arrays["hashes"],
            facts["skipped"],
            facts["enlarged"],
            LatentCounts(pixels, values, streams, arrays["codes"]),
            SuiteState(metrics, facts["metrics"]),
            examples,
            tuple(facts["warnings"]),
            (low, high),
        )


class PixelDigest:
    """SHA-256 over the ids and the hashes of the pixels of images, in order."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def update(self, ids: Sequence[str], hashes: Iterator[bytes] | Sequence[bytes]) -> None:
        """Add images, with :func:`ssdd_bench.metrics.features.cache.pixel_hashes`."""
        for image_id, one in zip(ids, hashes, strict=True):
            name = image_id.encode("utf-8", "surrogateescape")  # a file name may not be UTF-8
            self._digest.update(len(name).to_bytes(8, "big") + name + one)

    def hexdigest(self) -> str:
        """Return 64 hexadecimal digits."""
        return self._digest.hexdigest()
