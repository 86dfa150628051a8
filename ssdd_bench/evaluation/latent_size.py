"""The contents of latents: how many values or bytes, and which codes, over many images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssdd_bench.api import Latent, LatentSpec
from ssdd_bench.errors import PluginError

MAX_CODE_BITS = 24.0
"""Codes are counted in codebooks of up to 2^24 entries (16.8 million)."""


def codebook_size(spec: LatentSpec) -> int:
    """Return the number of codes that are counted; 0 if none are.

    The levels of pixels and the like are codes too.
    """
    bits = spec.bits_per_value or 0.0
    return round(2**bits) if spec.kind == "discrete" and bits <= MAX_CODE_BITS else 0


@dataclass(frozen=True)
class LatentCounts:
    """Integers over the latents of some images; those of others add up with them.

    Attributes:
        pixels: of the images.
        values: of latents that are tensors.
        bytes: of latents that are byte streams.
        codes: int64 (K, 2), the codes that occurred and how often, in ascending order.
    """

    pixels: int
    values: int
    bytes: int
    codes: NDArray[np.int64]


class LatentCounter:
    """Count the contents of latents, whose shapes and types are checked already."""

    def __init__(self, spec: LatentSpec) -> None:
        self._reset(torch.zeros(codebook_size(spec), dtype=torch.int64))

    def _reset(self, codes: Tensor) -> None:
        self._pixels = self._values = self._bytes = 0
        self._codes = codes

    def add(self, latent: Latent) -> None:
        """Count the latent of a batch.

        Raises:
            PluginError: a code is outside the codebook that the tokenizer's spec describes.
        """
        height, width = latent.size
        self._pixels += len(latent) * height * width
        if not isinstance(latent.data, Tensor):
            self._bytes += sum(len(stream) for stream in latent.data)
            return
        self._values += latent.data.numel()
        if len(self._codes):
            codes = latent.data.flatten().long()
            least, largest = torch.stack(codes.aminmax()).tolist()
            if least < 0 or largest >= len(self._codes):
                raise PluginError(
                    f"encode returned code {least if least < 0 else largest}, its LatentSpec "
                    f"allows {len(self._codes)} codes: fix bits_per_value in the plugin"
                )
            self._codes = self._codes.to(codes.device)  # where they stay
            self._codes.scatter_add_(0, codes, torch.ones_like(codes))

    def take(self) -> Callable[[], LatentCounts]:
        """Return what was counted since the last call, once a GPU has counted all codes."""
        found = partial(_counts, self._pixels, self._values, self._bytes, self._codes)
        self._reset(torch.zeros_like(self._codes))
        return found


def _counts(pixels: int, values: int, bytes: int, codes: Tensor) -> LatentCounts:
    used = codes.nonzero()[:, 0]
    pairs = torch.stack((used, codes[used]), dim=1).cpu().numpy()
    return LatentCounts(pixels, values, bytes, pairs)


@dataclass
class LatentTotals:
    """Counts of the latents of all images.

    Args:
        spec: of the latents.
    """

    spec: LatentSpec
    pixels: int = 0
    values: int = 0
    bytes: int = 0
    codes: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.codes = np.zeros(codebook_size(self.spec), np.int64)

    def add(self, counts: LatentCounts) -> None:
        """Add those of further images."""
        self.pixels += counts.pixels
        self.values += counts.values
        self.bytes += counts.bytes
        self.codes[counts.codes[:, 0]] += counts.codes[:, 1]

    @property
    def bits_per_pixel(self) -> float | None:
        """Mean over the set; None for continuous latents."""
        if self.spec.kind == "bytes":
            return 8 * self.bytes / self.pixels
        if self.spec.kind == "discrete" and self.spec.bits_per_value is not None:
            return self.values * self.spec.bits_per_value / self.pixels
        return None

    @property
    def floats_per_pixel(self) -> float | None:
        """Mean over the set of continuous latents; None for others."""
        return self.values / self.pixels if self.spec.kind == "continuous" else None

    @property
    def code_use(self) -> dict[str, float]:
        """Use of the codebook of a discrete latent; empty for others.

        ``code_usage`` is the fraction of all codes that occurred, and ``code_entropy_bits`` the
        entropy of their frequencies.
        """
        total = int(self.codes.sum())
        if not total:
            return {}
        used = self.codes[self.codes > 0] / total
        return {
            "code_usage": len(used) / len(self.codes),
            "code_entropy_bits": max(0.0, -float((used * np.log2(used)).sum())),
        }
