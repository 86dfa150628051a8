"""Notice latents that were scaled by the wrong numbers: the samples look like no training image.

Forgetting to map latents back, or doing it with another set's statistics, ruins every score and
raises no error. It does show in the colours of the decoded images and in the latents' spread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssdd_bench.data.latents import PixelStatistics

LEAST_SAMPLES = 16
LATENT_OFFSET = 0.5  # in standard deviations of the training latents
LATENT_RATIO = 1.6
COLOUR_OFFSET = 0.12  # of the range of colours
COLOUR_RATIO = 1.5


@dataclass
class Spread:
    """Sums of values by channel; those of two processes add up.

    Attributes:
        n: images.
        count: values per channel.
        sums: of the values and of their squares, float64 (2, channels).
    """

    n: int
    count: int
    sums: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.floating] | NDArray[np.uint8]) -> Spread:
        """Sums of a batch (B, channels, h, w)."""
        wide = values.astype(np.float64)
        sums = np.stack([wide.sum((0, 2, 3)), (wide**2).sum((0, 2, 3))])
        return cls(len(wide), wide.size // wide.shape[1], sums)

    def __add__(self, other: Spread) -> Spread:
        return Spread(self.n + other.n, self.count + other.count, self.sums + other.sums)

    @property
    def mean(self) -> NDArray[np.float64]:
        """By channel."""
        mean: NDArray[np.float64] = self.sums[0] / self.count
        return mean

    @property
    def std(self) -> NDArray[np.float64]:
        """By channel."""
        std: NDArray[np.float64] = np.sqrt(np.maximum(self.sums[1] / self.count - self.mean**2, 0))
        return std


def check_latents(drawn: Spread) -> Iterator[str]:
    """Compare drawn latents, in the network's space, with what it was trained on: N(0, 1).

    Yields:
        One line for what is far off.
    """
    if drawn.n < LEAST_SAMPLES:
        return
    offset, ratio = float(np.abs(drawn.mean).max()), _worst_ratio(drawn.std)
    if offset > LATENT_OFFSET or ratio > LATENT_RATIO:
        yield (
            f"drawn latents are unlike the training set's: a channel's mean is off by {offset:.2f} "
            f"and its spread by a factor of {ratio:.2f}; the network is undertrained, guided too "
            "hard, or was trained on latents of another scale"
        )


def check_colours(decoded: Spread, expected: PixelStatistics | None) -> Iterator[str]:
    """Compare decoded samples, uint8, with the colours of the training images.

    Yields:
        One line for what is far off.
    """
    if decoded.n < LEAST_SAMPLES or expected is None:
        return
    mean, std = decoded.mean / 255, decoded.std / 255
    offset = float(np.abs(mean - np.array(expected.mean)).max())
    ratio = _worst_ratio(std / np.array(expected.std))
    if offset > COLOUR_OFFSET or ratio > COLOUR_RATIO:
        yield (
            f"decoded samples are unlike the training images: mean colour off by {offset:.2f} of "
            f"1, contrast by a factor of {ratio:.2f}; latents may be scaled by the wrong "
            "statistics, or the network is undertrained"
        )


def _worst_ratio(ratios: NDArray[np.float64]) -> float:
    safe = np.maximum(ratios, 1e-6)
    return float(np.maximum(safe, 1 / safe).max())
