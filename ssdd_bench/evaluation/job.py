"""One cell of the grid, and the hash that tells whether it was measured before."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import DataError
from ssdd_bench.plugins.registry import TokenizerRequest
from ssdd_bench.protocols.schema import Protocol
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.schema import TokenizerRecord

NUMBERS_VERSION = 3
"""Raised by any change of this package's code that changes a number of an unchanged cell."""

PROBES = 8  # images whose pixels tell two sets with the same ids apart


@dataclass(frozen=True)
class Cell:
    """One tokenizer with its options, at one resolution, under one protocol, with one seed."""

    request: TokenizerRequest
    resolution: int
    protocol: Protocol
    seed: int = 0

    @property
    def name(self) -> str:
        """For progress and messages."""
        seed = f", seed {self.seed}" if self.seed else ""
        return f"{self.request.label} at {self.resolution} px, {self.protocol.id}{seed}"


def cell_fingerprint(tokenizer: TokenizerRecord, cell: Cell, data: str, device: str) -> str:
    """Hash whatever decides the numbers of a cell; the worker count does not.

    The metrics asked for are left out, since each is computed on its own: the result file says
    which ones it holds.

    Args:
        tokenizer: with every option's value and the weights' hashes.
        cell: resolution, protocol and seed.
        data: from :func:`data_fingerprint`.
        device: its model, on which speed depends.
    """
    return fingerprint(
        {
            "numbers": NUMBERS_VERSION,
            "tokenizer": tokenizer.id,
            "adapter": tokenizer.version,
            "options": tokenizer.options,
            "weights": sorted(tokenizer.weights.values()),
            "resolution": cell.resolution,
            "protocol": cell.protocol.sha256,
            "data": data,
            "seed": cell.seed,
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
